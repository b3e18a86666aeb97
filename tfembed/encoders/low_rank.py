"""LoRA: additions of a low rank to the attention's weights, trained in their place (https://arxiv.org/abs/2106.09685)."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.freezing import trained_as_before

# As KerasHub chooses them: the layers that make queries and values.
_TARGETS = ("query", "value", "query_dense", "value_dense")


@contextmanager
def low_rank(encoder: Encoder, rank: int) -> Iterator[None]:
    """Let additions of a low rank train in place of what is unfrozen; add them to the weights at the end.

    Afterwards what was unfrozen before is unfrozen again.

    Keras makes them: a weight `(384, 12, 32)` of an attention with 12 heads gets a product of `(384, 12, rank)` and
    `(rank, 32)`.

    Args:
        encoder: With the blocks unfrozen that should get them.
        rank: Rank of the update of each head, see `lora`; for 0 nothing is done.

    Raises:
        ValueError: If no layer there can have them.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder = load_encoder("minilm")
        >>> encoder.unfreeze(1)
        >>> with low_rank(encoder, 4):
        ...     print(sum(math.prod(variable.shape) for variable in encoder.trainable_variables))
        37120
    """
    if not rank:
        yield
        return
    layers = low_rank_layers(encoder)
    with trained_as_before(encoder):
        for layer in layers:
            layer.enable_lora(rank)
        encoder.parts.refresh()
        added = {id(v) for layer in layers for v in (layer.lora_kernel_a, layer.lora_kernel_b)}
        for variable in [v for block in encoder.blocks for v in block.variables]:
            variable.trainable = id(variable) in added
        try:
            yield
        finally:
            for layer in layers:
                _merge(layer)
            encoder.parts.refresh()


def low_rank_layers(encoder: Encoder) -> list[keras.layers.Layer]:
    """The layers of the unfrozen blocks that can have additions.

    Raises:
        ValueError: If there are none.
    """
    layers = [layer for layer in encoder.parts.trained_layers if layer.name in _TARGETS and layer.weights]
    if not layers:
        raise ValueError(
            f"Encoder {encoder.spec.name!r} has no layers of attention for LoRA in what is unfrozen: expected Keras "
            f"layers named {', '.join(_TARGETS)}. Take another strategy, such as lp_ft or biases."
        )
    return layers


def num_added(layer: keras.layers.Layer, rank: int) -> int:
    """How many values the addition to a layer has."""
    return rank * (math.prod(layer.kernel.shape[:-1]) + layer.kernel.shape[-1])


def _merge(layer: Any) -> None:
    """Add what was trained to the weights, and make the layer what it was."""
    kernel = keras.ops.convert_to_tensor(layer.kernel)
    layer.lora_enabled = False
    for variable in (layer.lora_kernel_a, layer.lora_kernel_b):
        layer._untrack_variable(variable)
    layer.lora_kernel_a = layer.lora_kernel_b = layer.lora_rank = layer.lora_alpha = None
    layer._kernel.assign(kernel)
