"""What it costs and what it saves to freeze an encoder up to each of its blocks."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfembed.encoders.encoder import INPUTS, Encoder, as_batch
from tfembed.encoders.preprocessing import mask_name
from tfembed.progress import progress
from tfembed.saved_model.graph import CutError

_SAMPLE_TEXT = "a " * 30


@dataclass(frozen=True, slots=True, kw_only=True)
class CutReport:
    """An encoder cut at one place.

    Attributes:
        num_frozen: Number of frozen blocks from the input end.
        bytes: Of the features of one example, for a text of `num_tokens`.
        num_tokens: Tokens of the text that was measured; None where there are no tokens.
        saved: Share of the multiplications of a forward pass that are done once instead of in every step, 0 to 1.
        error: Why the encoder cannot be cut there; bytes and share are None then.
    """

    num_frozen: int
    bytes: int | None = None
    num_tokens: int | None = None
    saved: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorReport:
    """A tensor that the body of an encoder takes or gives.

    Attributes:
        name: Its name; its place where it has none.
        dtype: Its type.
        shape: Its sizes; None for those that change.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


def tensors_of(encoder: Encoder) -> tuple[tuple[TensorReport, ...], tuple[TensorReport, ...]]:
    """What the body of an encoder takes, behind the preprocessing, and all that it gives.

    Example:
        >>> from tfembed import load_encoder
        >>> inputs, outputs = tensors_of(load_encoder("glyphs"))
        >>> inputs[0].shape, outputs[0].shape
        ((None, 32, 32, 3), (None, 192))
    """
    prepared = encoder.prepare(as_batch(_sample(encoder)))
    given: Any = prepared[INPUTS] if set(prepared) == {INPUTS} else prepared
    found = encoder.body(given)
    if mask_name(prepared) is None:
        return _reports(prepared), _reports(found)
    return _reports(prepared, length_from=2), _reports(found, length_from=3)


def _reports(tensors: Any, length_from: int | None = None) -> tuple[TensorReport, ...]:
    """Tensors by name; from a number of dimensions on, the second one is the length of a text."""
    reports = []
    for path, tensor in keras.tree.flatten_with_path(tensors):
        changes = 1 + (length_from is not None and len(tensor.shape) >= length_from)
        sizes = tuple(None if i < changes else size for i, size in enumerate(tensor.shape))
        name = "/".join(map(str, path)) or "output"
        reports.append(TensorReport(name=name, dtype=tensor.dtype.name, shape=sizes))
    return tuple(reports)


def _sample(encoder: Encoder) -> Any:
    size = encoder.spec.image_size or (32, 32)
    return [_SAMPLE_TEXT] if encoder.spec.kind == "text" else tf.zeros([1, *size, 3], tf.uint8)


def inspect_cuts(encoder: Encoder) -> tuple[CutReport, ...]:
    """Cut an encoder at every place, on a made-up example: from nothing frozen to everything.

    Example:
        >>> from tfembed import load_encoder
        >>> reports = inspect_cuts(load_encoder("glyphs"))
        >>> reports[0].saved, reports[-1].saved, reports[-1].bytes == 4 * 192
        (0.0, 1.0, True)
    """
    prepared = encoder.prepare(as_batch(_sample(encoder)))
    mask = mask_name(prepared)
    num_tokens = None if mask is None else int(tf.reduce_sum(tf.cast(prepared[mask], tf.int32)))
    reports = []
    with progress("Cutting behind every block", len(encoder.blocks) + 1) as advance:
        for cut in range(len(encoder.blocks) + 1):
            reports.append(_report(encoder, prepared, cut, num_tokens))
            advance(1)
    return tuple(reports)


def _report(encoder: Encoder, prepared: dict[str, Any], cut: int, num_tokens: int | None) -> CutReport:
    last = len(encoder.blocks)
    try:
        if 0 < cut < last:
            encoder.cut(cut)
        features = encoder.frozen_part(prepared, cut)
        saved = encoder.parts.cost_share(cut) if 0 < cut < last else float(cut > 0)
    except CutError as error:
        return CutReport(num_frozen=cut, error=str(error))
    num_bytes = sum(
        math.prod(tensor.shape[1:]) * tensor.dtype.size for tensor in map(tf.convert_to_tensor, features.values())
    )
    return CutReport(num_frozen=cut, bytes=num_bytes, num_tokens=num_tokens, saved=saved)
