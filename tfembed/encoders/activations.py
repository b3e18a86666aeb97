"""Activation functions by the names that config.json gives them."""

from collections.abc import Callable
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tfembed")
def gelu_tanh(x: Any) -> Any:
    """GELU by its formula with tanh, which differs from the exact one by up to 5e-4."""
    return keras.activations.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "gelu": keras.activations.gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
    "swish": keras.activations.silu,
    "tanh": keras.activations.tanh,
}


def activation(name: str) -> Callable[[Any], Any]:
    """The function of a name.

    Raises:
        ValueError: If there is none.

    Example:
        >>> activation("swish").__name__
        'silu'
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"config.json asks for the activation {name!r}: expected one of {', '.join(ACTIVATIONS)}.")
    return ACTIVATIONS[name]
