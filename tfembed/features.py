"""Features: what crosses the freeze boundary, computed once per example and used in every epoch and phase."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfembed.data import fingerprint, read_images
from tfembed.encoders.encoder import MASK, Encoder
from tfembed.encoders.preprocessing import mask_name
from tfembed.progress import progress

_TOKENS_PER_BATCH = 2048
_IMAGES_PER_BATCH = 32
_TEXTS_PER_TOKENIZING = 256
_KEPT_BYTES = 256 * 2**20


class Source(Protocol):
    """Where batches of features come from."""

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each example; 1 where there are no tokens."""

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The features of some examples, padded to the longest of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One tensor of all examples: rows of one shape, or sequences one behind the other.

    Attributes:
        values: `(n, ...)`, or `(total length, ...)` for sequences.
        offsets: Where each sequence begins, and where the last one ends, `int64 (n + 1,)`; None for rows.
    """

    values: np.ndarray
    offsets: np.ndarray | None = None

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """Some rows; sequences are padded with zeros to the longest."""
        if self.offsets is None:
            return self.values[rows]
        starts, stops = self.offsets[rows], self.offsets[rows + 1]
        batch = np.zeros((len(rows), int((stops - starts).max()), *self.values.shape[1:]), self.values.dtype)
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            batch[i, : stop - start] = self.values[start:stop]
        return batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Features of all examples, in memory.

    Attributes:
        columns: By the name they have at the cut.
        lengths: Number of tokens of each example; 1 where there are no tokens.
    """

    columns: dict[str, Column]
    lengths: np.ndarray

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """See Source."""
        return {name: column.batch(rows) for name, column in self.columns.items()}


class RawImages:
    """Images that are read and prepared anew for each batch, for training from the very first block."""

    def __init__(self, encoder: Encoder, examples: np.ndarray) -> None:
        self._encoder, self._examples = encoder, examples
        self.lengths = np.ones(len(examples), np.int64)

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """See Source."""
        return _numpy(self._encoder.prepare(_readable(self._examples[rows])))


class FeatureCache:
    """Features computed so far, by all that they depend on: weights in front of the cut, cut, spec and examples."""

    def __init__(self) -> None:
        self._known: dict[str, Source] = {}

    def get(self, encoder: Encoder, examples: np.ndarray, cut: int) -> Source:
        """Features at a cut, computed if they are not known yet.

        Args:
            encoder: The encoder as it is now.
            examples: As in `Split.examples`.
            cut: Number of frozen blocks.

        Raises:
            CutError: If the encoder cannot be cut there.
        """
        digest = hashlib.blake2b(f"{encoder.spec} {encoder.body.name} cut {cut} {fingerprint(examples)}".encode())
        for block in encoder.blocks[:cut]:
            for variable in block.variables:
                digest.update(np.ascontiguousarray(variable.numpy()).data)
        key = digest.hexdigest()
        if key not in self._known:
            self._known[key] = encode(encoder, examples, cut)
        return self._known[key]


def encode(encoder: Encoder, examples: np.ndarray, cut: int) -> Source:
    """Compute what crosses a cut for all examples. Texts are batched by length, about 2,048 tokens at a time.

    Args:
        encoder: The encoder; its first `cut` blocks run in inference mode.
        examples: As in `Split.examples`.
        cut: Number of frozen blocks; the embedding itself behind the last one.

    Raises:
        CutError: If the encoder cannot be cut there.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder = load_encoder("glyphs")
        >>> features = encode(encoder, np.zeros([3, 8, 8], "uint8"), len(encoder.blocks))
        >>> features.batch(np.array([0, 2]))["inputs"].shape == (2, encoder.dim)
        True
    """
    if encoder.spec.kind == "image" and cut == 0:
        return _kept_if_small(RawImages(encoder, examples))
    inputs: Source = _tokenized(encoder, examples) if encoder.spec.kind == "text" else RawImages(encoder, examples)
    if cut == 0:
        return inputs
    order, parts = np.argsort(inputs.lengths, kind="stable"), []
    with progress("Encoding", len(order)) as advance:
        for rows in _batches(inputs.lengths, order):
            given = inputs.batch(rows)
            tensors = encoder.traced(cut, _is_padded(given))({name: tf.constant(each) for name, each in given.items()})
            parts.append(_Part(rows, _numpy(tensors), inputs.lengths[rows], _is_padded(given)))
            advance(len(rows))
    return _joined(parts, len(examples))


def _kept_if_small(images: RawImages) -> Source:
    """Prepared images in memory, where there is room for them; else prepared anew for each batch."""
    count = len(images.lengths)
    first = images.batch(np.arange(min(1, count)))
    if count == 0 or count * sum(value.nbytes for value in first.values()) > _KEPT_BYTES:
        return images
    batches = [images.batch(rows) for rows in _batches(images.lengths, np.arange(count))]
    columns = {name: Column(values=np.concatenate([batch[name] for batch in batches])) for name in first}
    return Features(columns=columns, lengths=images.lengths)


@dataclass(frozen=True, slots=True)
class _Part:
    """Features of one batch: which rows, their tensors, their lengths, and whether there is padding to leave out."""

    rows: np.ndarray
    tensors: dict[str, np.ndarray]
    lengths: np.ndarray
    padded: bool


def _tokenized(encoder: Encoder, examples: np.ndarray) -> Features:
    parts = []
    for start in range(0, len(examples), _TEXTS_PER_TOKENIZING):
        texts = tf.constant(examples[start : start + _TEXTS_PER_TOKENIZING].tolist(), tf.string)
        tensors = _numpy(encoder.prepare(texts))
        name = mask_name(tensors)
        rows = np.arange(start, start + len(texts))
        lengths = tensors[name].sum(axis=1) if name else np.ones(len(texts), np.int64)
        parts.append(_Part(rows, tensors, np.maximum(lengths, 1), name is not None))
    return _joined(parts, len(examples))


def _joined(parts: list[_Part], count: int) -> Features:
    """Put batches back in the order of the examples, without padding."""
    lengths = np.ones(count, np.int64)
    for part in parts:
        lengths[part.rows] = part.lengths
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    columns = {}
    for name, first in parts[0].tensors.items() if parts else ():
        is_sequence = (
            parts[0].padded
            and first.ndim > 1
            and all(part.tensors[name].shape[1] == part.lengths.max() for part in parts)
        )
        if is_sequence:
            values = np.zeros((int(offsets[-1]), *first.shape[2:]), first.dtype)
            for part in parts:
                for row, length, value in zip(part.rows, part.lengths, part.tensors[name], strict=True):
                    values[offsets[row] : offsets[row] + length] = value[:length]
            columns[name] = Column(values=values, offsets=offsets)
        else:
            values = np.zeros((count, *first.shape[1:]), first.dtype)
            for part in parts:
                values[part.rows] = part.tensors[name]
            columns[name] = Column(values=values)
    return Features(columns=columns, lengths=lengths)


def _batches(lengths: np.ndarray, order: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in batches of about as many tokens each; images, and texts without tokens, in batches of 32."""
    most, start = _IMAGES_PER_BATCH if lengths.max(initial=1) == 1 else len(order), 0
    for stop in range(1, len(order) + 1):
        is_full = stop - start == most or stop == len(order)
        if is_full or (stop + 1 - start) * lengths[order[stop]] > _TOKENS_PER_BATCH:
            yield order[start:stop]
            start = stop


def _is_padded(inputs: dict[str, np.ndarray]) -> bool:
    return mask_name(inputs) is not None or MASK in inputs


def _numpy(tensors: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(tensor) for name, tensor in tensors.items()}


def _readable(examples: np.ndarray) -> Any:
    """Pixels, or encoded images as a tensor."""
    return tf.constant(read_images(list(examples)) if examples.dtype == object else examples)
