"""Layers of heads: made of a `Head`, drawn by a seed, rescaled in place."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfembed.heads import Head

_MOST_LAYERS = 1000  # seeds of the layers of one head; the next seed of a head begins behind them


@keras.saving.register_keras_serializable(package="tfembed")
class Cosine(keras.layers.Layer):
    """Cosines between its input and one learnt vector per unit, times a scale."""

    def __init__(
        self, units: int, scale: float, kernel_initializer: Any = "glorot_uniform", **layer_options: Any
    ) -> None:
        super().__init__(**layer_options)
        self.units, self.scale = units, scale
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Any) -> None:
        """Make the vectors, `(dim, units)`."""
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, name="kernel", initializer=self.kernel_initializer)

    def call(self, inputs: Any) -> Any:
        """Logits `(n, units)` of embeddings `(n, dim)`."""
        return self.scale * keras.ops.matmul(_unit(inputs, axis=-1), _unit(self.kernel, axis=0))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        initializer = keras.initializers.serialize(self.kernel_initializer)
        return super().get_config() | {"units": self.units, "scale": self.scale, "kernel_initializer": initializer}


def _unit(vectors: Any, axis: int) -> Any:
    """Vectors divided by their length; 0 stays 0 with a finite gradient, where that of `keras.ops.normalize` is NaN."""
    squares = keras.ops.sum(keras.ops.square(vectors), axis=axis, keepdims=True)
    return vectors * keras.ops.rsqrt(keras.ops.maximum(squares, 1e-12))


def build_head(head: Head, dim: int, num_outputs: int) -> keras.Sequential:
    """Make the layers of a head.

    Args:
        head: What to make.
        dim: Length of the embeddings.
        num_outputs: Number of classes, or of target values.

    Returns:
        A Keras layer from embeddings `(n, dim)` to logits `(n, num_outputs)`.
    """
    layers: list[Any] = [keras.Input((dim,))]
    for i, units in enumerate(head.units):
        layers.append(keras.layers.Dense(units, kernel_initializer=_initializer(i)))
        if head.normalization == "batch":
            layers.append(keras.layers.BatchNormalization())
        if head.normalization == "layer":
            layers.append(keras.layers.LayerNormalization())
        layers.append(keras.layers.Activation(head.activation))
    if head.dropout:
        layers.append(keras.layers.Dropout(head.dropout))
    layers.append(_LOGITS[head.kind](head, num_outputs))
    return keras.Sequential(layers, name="head")


def _dense(head: Head, num_outputs: int) -> keras.layers.Layer:
    return keras.layers.Dense(num_outputs, kernel_initializer=_initializer(len(head.units)), name="logits")


def _cosine(head: Head, num_outputs: int) -> keras.layers.Layer:
    return Cosine(num_outputs, head.scale, kernel_initializer=_initializer(len(head.units)), name="logits")


# The last layer of a head, by its kind.
_LOGITS: dict[str, Callable[[Head, int], keras.layers.Layer]] = {"linear": _dense, "mlp": _dense, "cosine": _cosine}


def rebuild_head(layers: keras.Sequential, dim: int) -> None:
    """Make a head anew where embeddings have another length than it was made for.

    Args:
        layers: From `build_head`; changed in place, so that the models that have it keep it.
        dim: Length of the embeddings now.
    """
    if layers.input_shape[-1] == dim:
        return
    fresh = [type(layer).from_config(layer.get_config()) for layer in layers.layers]
    layers._layers = []
    for layer in [keras.Input((dim,)), *fresh]:
        layers.add(layer)


def _initializer(place: int, seed: int = 0) -> Any:
    # A head begins the same way every time, so that the seed of `train` settles the whole result.
    return keras.initializers.GlorotUniform(seed=_MOST_LAYERS * seed + place)


def draw_untrained_head(layers: keras.Sequential, seed: int) -> None:
    """Draw the initial weights of a head that was never trained by a seed; a trained head keeps its weights.

    Without it, runs with different seeds would begin with the same head, and their spread would be too small.

    Args:
        layers: Head from `build_head`; its weights change.
        seed: Seed of the draw. Seed 0 gives the weights that `build_head` gives.
    """
    if not is_untrained(layers):
        return
    with_kernel = [layer for layer in layers.layers if hasattr(layer, "kernel_initializer")]
    for place, layer in enumerate(with_kernel):
        layer.kernel_initializer = _initializer(place, seed)
        layer.kernel.assign(layer.kernel_initializer(layer.kernel.shape))


def is_untrained(layers: keras.Sequential) -> bool:
    """Whether a head is as `build_head` made it, so that what it says is chance."""
    last = layers.get_layer("logits")
    return all(map(np.array_equal, last.get_weights(), _first_weights(last)))


def renew_directions(layers: keras.Sequential) -> None:
    """Give vectors of a cosine head that are 0 their first values: without a direction, no learning rate suits them."""
    last = layers.get_layer("logits")
    if isinstance(last, Cosine) and not last.kernel.numpy().any():
        last.set_weights(_first_weights(last))


def _first_weights(last: keras.layers.Layer) -> list[np.ndarray]:
    fresh = type(last).from_config(last.get_config())
    fresh.build(last.input.shape)
    return list(fresh.get_weights())


def rescale_outputs(layers: keras.Sequential, factor: float, offset: float) -> None:
    """Make a head's outputs `factor * output + offset`; those of a cosine head, which is bounded, stay as they are."""
    last = layers.get_layer("logits")
    if isinstance(last, keras.layers.Dense):
        kernel, bias = (weight.astype("float64") for weight in last.get_weights())
        last.set_weights([kernel * factor, bias * factor + offset])


def zero_outputs(layers: keras.Sequential) -> None:
    """Make a head's outputs 0, whatever its inputs are."""
    last = layers.get_layer("logits")
    last.set_weights([np.zeros_like(weight) for weight in last.get_weights()])


def is_linear(head: keras.Sequential) -> bool:
    """Whether a head is one dense layer, so that it can be solved."""
    weighted = [layer for layer in head.layers if layer.weights]
    return len(weighted) == 1 and isinstance(weighted[0], keras.layers.Dense)
