"""Activation functions by the names that config.json gives them."""

from collections.abc import Callable
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tfembed")
class TanhGelu(keras.layers.Layer):
    """GELU by its formula with tanh, which differs from the exact one by up to 5e-4.

    A layer and no function, since `tfembed.registration` has Keras find layers.

    Example:
        >>> import tensorflow as tf
        >>> round(float(TanhGelu()(tf.constant(1.0))), 4)
        0.8412
    """

    def call(self, x: Any) -> Any:
        """Apply it to every number."""
        return keras.activations.gelu(x, approximate=True)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same shape."""
        return input_shape


# Each is a function, or the class of a layer.
_ACTIVATIONS: dict[str, Any] = {
    "gelu": keras.activations.gelu,
    "gelu_new": TanhGelu,
    "gelu_pytorch_tanh": TanhGelu,
    "gelu_fast": TanhGelu,
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
    if name not in _ACTIVATIONS:
        raise ValueError(f"config.json asks for the activation {name!r}: expected one of {', '.join(_ACTIVATIONS)}.")
    found = _ACTIVATIONS[name]
    return found() if isinstance(found, type) else found
