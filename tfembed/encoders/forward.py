"""Run an encoder between two cuts: frozen stretches in inference mode, the others as training wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tfembed.encoders.parts import runs
from tfembed.encoders.pooling import pool, pool_depth
from tfembed.encoders.preprocessing import mask_name
from tfembed.saved_model.layer import HubLayer

if TYPE_CHECKING:
    from tfembed.encoders.encoder import Encoder

# What the inputs of a module are called at cut 0 if it takes one tensor, and the padding mask behind it.
INPUTS, MASK = "inputs", "mask"


def forward(encoder: Encoder, features: dict[str, Any], start: int, stop: int, training: bool) -> Any:
    """See `Encoder.run`."""
    if stop < len(encoder.blocks):
        return _crossing(*_stretch(encoder, features, start, stop, training))
    vectors = []
    for depth in encoder.spec.depths:
        value, mask = _stretch(encoder, features, start, depth, training)
        vectors.append(pool_depth(value, mask))
        features, start = _crossing(value, mask), depth
    embedding = pool(*_stretch(encoder, features, start, stop, training), encoder.spec)
    if not vectors:
        return embedding
    # Of length 1 like what is joined to it (Head2Toe): the longest of several vectors would hide the others.
    return tf.concat([*vectors, tf.math.l2_normalize(embedding, axis=-1, epsilon=1e-12)], axis=1)


def check_cut(encoder: Encoder) -> None:
    """Check that an encoder can be cut where it is frozen now, and run in parts behind that.

    Raises:
        CutError: If it cannot; it can still be run whole.
    """
    cut, stretches = encoder.num_frozen, runs(encoder.flags, encoder.num_frozen)
    if cut < len(encoder.blocks) and (cut > 0 or len(stretches) > 1):  # else it is run whole, which always works
        for start, stop, trains in [(0, cut, False)] * (cut > 0) + stretches:
            encoder.parts.segment(start, stop, trains)


def _crossing(value: dict[str, Any], mask: Any) -> dict[str, Any]:
    return value if mask is None else value | {MASK: mask}


def _stretch(encoder: Encoder, features: dict[str, Any], start: int, stop: int, training: bool) -> tuple[Any, Any]:
    """What the blocks between two cuts make of features, and the padding mask."""
    name = mask_name(features) if start == 0 else MASK
    mask = features.get(name) if name else None
    value: Any = _given(features, start)
    flags = [training and trains for trains in encoder.flags[:stop]]
    parts = encoder.parts
    own_call = isinstance(encoder.body, HubLayer) and not parts.has_copies  # it reads its own variables
    is_all = start == 0 and stop == len(encoder.blocks) and parts.is_whole
    if is_all and (own_call or not (True in flags or parts.has_copies)):
        return encoder.body(value, training=True in flags), mask
    for first, last, trains in runs(flags, start):
        value = parts.segment(first, last, trains)(value)
    return value, mask


def _given(features: dict[str, Any], start: int) -> Any:
    if start == 0:
        return features[INPUTS] if set(features) == {INPUTS} else features
    return {name: value for name, value in features.items() if name != MASK}
