"""Computing features: tokens or pixels batch by batch, and what the frozen blocks make of them."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.encoders.encoder import INPUTS, Encoder
from tfembed.encoders.preprocessing import mask_name
from tfembed.features.arrays import Array, DiskArray, Spool, Workplace
from tfembed.features.columns import Column, Features, Source
from tfembed.features.lengths import TEXTS_PER_TOKENIZING
from tfembed.features.raw import RawExamples
from tfembed.progress import progress
from tfembed.saved_model.graph import CutError

# Two batches are on their way at a time, so that one computes while the other waits for a small op to end: a quarter
# faster than one batch of twice the size on two cores, and what lies between two layers stays in the processor's cache.
_AT_A_TIME = 2
_TOKENS_PER_BATCH = 1024
_TOKENS_WORTH_A_BATCH = 256
_MOST_PADDING = 0.15
_IMAGES_PER_BATCH = 32
_KEPT_BYTES = 256 * 2**20

Tensors = dict[str, np.ndarray]


def encode(encoder: Encoder, examples: np.ndarray, cut: int, workplace: Workplace | None = None) -> Source:
    """Compute what crosses a cut for all examples. Texts are batched by length, about 2,048 tokens
    at a time in two batches.

    Args:
        encoder: The encoder; its first `cut` blocks run in inference mode.
        examples: As in `Split.examples`.
        cut: Number of frozen blocks; the embedding itself behind the last one.
        workplace: Where the results are written as they come; memory if None. In a folder, no more than a batch is in
            memory at any time.

    Raises:
        CutError: If the encoder cannot be cut there.
        FolderError: If the workplace is full.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder = load_encoder("glyphs")
        >>> features = encode(encoder, np.zeros([3, 8, 8], "uint8"), len(encoder.blocks))
        >>> features.batch(np.array([0, 2]))["inputs"].shape == (2, encoder.dim)
        True
    """
    workplace = workplace or Workplace()
    if not len(examples):
        return Features(columns={}, lengths=np.ones(0, np.int64))
    inputs = _prepared(encoder, examples, workplace)
    if cut == 0:
        return inputs if encoder.spec.kind == "text" else _kept_if_small(inputs)
    order = np.argsort(inputs.lengths, kind="stable")
    compute = encoder.traced(cut, _is_padded(inputs.batch(order[:1])))

    def run(given: Tensors) -> Tensors:
        return _numpy(compute({name: tf.constant(value) for name, value in given.items()}))

    writer = _Writer(inputs.lengths, workplace, _sequences(run, inputs.batch(order[:1])))
    with progress("Encoding", len(order)) as advance:
        for rows, results in _in_turn(lambda rows: run(inputs.batch(rows)), batches(inputs.lengths, order)):
            writer.write(rows, results)
            advance(len(rows))
    return writer.features()


def _in_turn(
    compute: Callable[[np.ndarray], Tensors], batches: Iterator[np.ndarray]
) -> Iterator[tuple[np.ndarray, Tensors]]:
    """Compute some batches at a time, each in a thread; in their order, and no more than these are in memory."""
    waiting: deque[tuple[np.ndarray, Future[Tensors]]] = deque()
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        for rows in batches:
            waiting.append((rows, pool.submit(compute, rows)))
            if len(waiting) > _AT_A_TIME:
                done, results = waiting.popleft()
                yield done, results.result()
        for done, results in waiting:
            yield done, results.result()


def encode_behind(encoder: Encoder, features: Source, start: int, workplace: Workplace | None = None) -> Source:
    """Compute embeddings from what crosses a cut, in float32.

    Args:
        encoder: The encoder; its blocks behind the cut run in inference mode.
        features: At the cut.
        start: The cut.
        workplace: See `encode`.

    Example:
        >>> from tfembed import load_encoder
        >>> encoder, images = load_encoder("glyphs"), np.zeros([3, 8, 8], "uint8")
        >>> behind = encode_behind(encoder, encode(encoder, images, 2), 2)
        >>> behind.batch(np.array([0, 2]))["inputs"].shape == (2, encoder.dim)
        True
    """
    lengths = features.lengths
    order = np.argsort(lengths, kind="stable")
    writer = _Writer(lengths, workplace or Workplace(), frozenset())
    if not len(order):
        return writer.features()
    # One graph for batches of every size: traced again with each, TensorFlow warns of it from the fifth time on.
    embed = tf.function(lambda given: encoder.run(given, start, len(encoder.blocks)), autograph=False)
    embed = embed.get_concrete_function(_specs(features.batch(order[:1]), features.batch(order[-1:])))
    with progress("Encoding", len(order)) as advance:
        for rows in batches(lengths, order):
            given = {name: tf.constant(value) for name, value in features.batch(rows).items()}
            writer.write(rows, {INPUTS: np.asarray(embed(given))})
            advance(len(rows))
    return writer.features()


def _prepared(encoder: Encoder, examples: np.ndarray, workplace: Workplace) -> Source:
    """What crosses cut 0: tokens, or examples that are prepared batch by batch."""
    if encoder.spec.kind == "text" and mask_name(encoder.tokenize(_texts(examples[:1]))[0]) is not None:
        return _tokens(encoder, examples, workplace)
    return RawExamples(encoder, examples)


def _tokens(encoder: Encoder, examples: np.ndarray, workplace: Workplace) -> Features:
    """Tokens without padding. They are not stored beyond this run: making them takes a fraction of the first block."""
    spools: dict[str, Spool] = {}
    lengths = []
    for start in range(0, len(examples), TEXTS_PER_TOKENIZING):
        tensors = _numpy(encoder.tokenize(_texts(examples[start : start + TEXTS_PER_TOKENIZING]))[0])
        is_real = tensors[mask_name(tensors) or ""].astype(bool)
        is_real[:, 0] = True  # nothing can be computed of no token
        lengths.append(is_real.sum(axis=1))
        for name, value in tensors.items():
            spools.setdefault(name, workplace.spool()).append(value[is_real])
    joined = np.concatenate(lengths)
    offsets = np.concatenate([[0], np.cumsum(joined)])
    columns = {name: Column(values=_finished(spool.done()), offsets=offsets) for name, spool in spools.items()}
    return Features(columns=columns, lengths=joined)


def _kept_if_small(source: Source) -> Source:
    """Prepared images in memory, where there is room for them; else as they are, prepared anew for each batch."""
    count = len(source.lengths)
    first = source.batch(np.arange(min(1, count)))
    if count == 0 or count * sum(value.nbytes for value in first.values()) > _KEPT_BYTES:
        return source
    parts = [source.batch(rows) for rows in batches(source.lengths, np.arange(count))]
    columns = {name: Column(values=np.concatenate([part[name] for part in parts])) for name in first}
    return Features(columns=columns, lengths=source.lengths)


def batches(lengths: np.ndarray, order: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in batches of at most 1,024 tokens; images, and texts without tokens, in batches of 32.

    Where texts of very different lengths meet, a batch ends before more than 15 % of it are padding.

    Args:
        lengths: Tokens of each example.
        order: The rows, shortest first.
    """
    most, start, real = _IMAGES_PER_BATCH if lengths.max(initial=1) == 1 else len(order), 0, 0
    for stop, length in enumerate(lengths[order].tolist()):
        total = (stop + 1 - start) * length
        is_padding = real >= _TOKENS_WORTH_A_BATCH and total > (1 + _MOST_PADDING) * (real + length)
        if stop > start and (stop - start == most or total > _TOKENS_PER_BATCH or is_padding):
            yield order[start:stop]
            start, real = stop, 0
        real += length
    if len(order):
        yield order[start:]


class _Writer:
    """Puts batches in the order of the examples, without padding."""

    def __init__(self, lengths: np.ndarray, workplace: Workplace, sequences: frozenset[str]) -> None:
        self._lengths, self._workplace, self._sequences = lengths, workplace, sequences
        self._offsets = np.concatenate([[0], np.cumsum(lengths)])
        self._arrays: dict[str, Array] = {}

    def write(self, rows: np.ndarray, tensors: Tensors) -> None:
        """Write a batch: one row for each of `rows`."""
        for name, values in tensors.items():
            if name not in self._arrays:
                is_sequence = name in self._sequences
                length = int(self._offsets[-1]) if is_sequence else len(self._lengths)
                self._arrays[name] = self._workplace.create((length, *values.shape[1 + is_sequence :]), values.dtype)
            if name in self._sequences:
                self._arrays[name].put(self._offsets[rows].tolist(), self._lengths[rows].tolist(), values)
            else:
                self._arrays[name].put(rows.tolist(), [1] * len(rows), values[:, np.newaxis])

    def features(self) -> Features:
        """What was written."""
        columns = {
            name: Column(values=_finished(array), offsets=self._offsets if name in self._sequences else None)
            for name, array in self._arrays.items()
        }
        return Features(columns=columns, lengths=self._lengths)


def _sequences(run: Callable[[Tensors], Tensors], given: Tensors) -> frozenset[str]:
    """Which results have one value per token: those that grow when one more place of padding is given.

    Raises:
        CutError: If one grows otherwise, such as a mask of tokens by tokens, which cannot be put together again.
    """
    if not _is_padded(given):
        return frozenset()
    longer = {name: np.pad(value, [(0, 0), (0, 1)] + [(0, 0)] * (value.ndim - 2)) for name, value in given.items()}
    short, long = run(given), run(longer)
    found = {}
    for name, value in short.items():
        found[name] = [axis for axis, length in enumerate(value.shape) if length != long[name].shape[axis]]
        if found[name] not in ([], [1]):
            raise CutError(
                f"Tensor {name!r} crosses the cut with the text's length in axes {found[name]}, expected axis 1 alone. "
                "Train the encoder whole."
            )
    return frozenset(name for name, axes in found.items() if axes)


def _specs(shortest: Tensors, longest: Tensors) -> dict[str, tf.TensorSpec]:
    """Of batches of any size, with any length where the shortest and the longest example differ."""
    return {
        name: tf.TensorSpec(
            [None] + [n if n == m else None for n, m in zip(value.shape[1:], longest[name].shape[1:], strict=True)],
            value.dtype,
        )
        for name, value in shortest.items()
    }


def _is_padded(inputs: Tensors) -> bool:
    return mask_name(inputs) is not None


def _finished(array: Array) -> np.ndarray | DiskArray:
    return array if isinstance(array, DiskArray) else array.read()


def _texts(examples: np.ndarray) -> Any:
    return tf.constant(examples.tolist(), tf.string)


def _numpy(tensors: dict[str, Any]) -> Tensors:
    return {name: np.asarray(tensor) for name, tensor in tensors.items()}
