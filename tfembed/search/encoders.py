"""The encoders of a search: each loaded once, and given its own weights back for each trial."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tfembed.encoders.encoder import Encoder
from tfembed.saved_model.blocks import variable_name

_ONES = ("gamma", "scale", "variance")
_ZEROS = ("beta", "bias", "biases", "offset", "mean", "b")


class Encoders:
    """Encoders by name.

    Args:
        load: How to get each one.
    """

    def __init__(self, load: Mapping[str, Callable[[], Encoder]]) -> None:
        self.load = dict(load)
        self._known: dict[str, tuple[Encoder, list[Any], int | None]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The encoders' names."""
        return tuple(self.load)

    def fresh(self, name: str) -> Encoder:
        """An encoder as it was when it was loaded: frozen, with its own weights."""
        if name not in self._known:
            encoder = self.load[name]()
            self._known[name] = (encoder, [v.numpy() for v in _variables(encoder)], encoder.sequence_length)
        encoder, values, length = self._known[name]
        for variable, value in zip(_variables(encoder), values, strict=True):
            if not np.array_equal(variable.numpy(), value):
                variable.assign(value)
        encoder.unfreeze(False)
        encoder.join(())
        encoder.sequence_length, encoder.trained_with = length, None
        return encoder

    def restore(self) -> None:
        """Give all encoders their own weights back."""
        for name in self._known:
            self.fresh(name)


def _variables(encoder: Encoder) -> list[Any]:
    return [variable for block in encoder.blocks for variable in block.variables]


def randomize(encoder: Encoder, seed: int) -> None:
    """Give an encoder weights as if it had never been trained.

    Matrices are drawn by Glorot's rule, convolutions by He's, embeddings from a narrow normal distribution; vectors are
    0 or 1, as their names say: biases, offsets and means are 0, scales and variances 1.

    Args:
        encoder: Its weights are changed.
        seed: Of what is drawn.

    Raises:
        ValueError: If a vector's name does not say what it is; nothing is changed then.

    Example:
        >>> from tfembed import load_encoder
        >>> randomize(load_encoder("glyphs"), seed=0)
    """
    variables = _variables(encoder)
    values = [_initial(variable, seed * 10_000 + i) for i, variable in enumerate(variables)]
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _initial(variable: Any, seed: int) -> Any:
    name, shape = variable_name(variable), tuple(variable.shape)
    last = name.replace(".", "/").split("/")[-1].lower()
    if not np.issubdtype(np.asarray(variable.numpy()).dtype, np.floating):
        return variable.numpy()  # a flag or a count, and no weight
    ending = last.rsplit("_", 1)[-1]
    if ending in _ONES:
        return np.ones(shape, "float32")
    if ending in _ZEROS:
        return np.zeros(shape, "float32")
    if len(shape) in (1, 2) and "embedding" in name.lower():
        return keras.initializers.RandomNormal(stddev=0.02, seed=seed)(shape)
    if len(shape) > 1:
        return (keras.initializers.HeNormal if len(shape) > 2 else keras.initializers.GlorotUniform)(seed=seed)(shape)
    raise ValueError(f"cannot be begun from scratch: the name of {name} does not say how its values begin")
