"""Batches for training: features, labels and weights of examples, in parts of like length."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.features import Source
from tfembed.predict import ModelParts
from tfembed.supervised_contrastive import classes_in_batch, draw_by_class

# Examples are shuffled, then sorted by length within so many batches, so that neighbours need little padding. Larger
# groups need less of it, but mix the batches less: length tells something of the class.
_BATCHES_PER_SORTING = 12
# A batch has parts, each of like length and padded for itself: less padding than in batches of like length throughout,
# and batches that are as mixed as the examples. Parts of a few rows would cost more than their padding.
_MOST_PARTS, _ROWS_IN_PART = 4, 8
# Phases with batches drawn by class have few steps: tracing another part takes as long as several of them.
_ROWS_IN_DRAWN_PART = 16
_ANY_EXAMPLES = np.zeros(_MOST_PARTS, np.int64)  # to see what tensors there are


def targets(labels: np.ndarray, parts: ModelParts) -> np.ndarray:
    """Targets of a head, float32 `(n, num_outputs)`: classes as rows with a single 1; values standardized."""
    if parts.task == "classification":
        return np.eye(len(parts.class_names), dtype="float32")[labels]
    if parts.target_scale is not None:
        mean, scale = parts.target_scale
        labels = (labels.astype("float64") - mean) / scale
    return labels.astype("float32").reshape(len(labels), -1)


def order(
    lengths: np.ndarray, batch_size: int, rng: np.random.Generator | None, *, parts: int = 1, smallest: int = 1
) -> list[np.ndarray]:
    """Rows in batches, in random order where there is a generator; those of each part are of like length.

    Args:
        lengths: Of the examples.
        batch_size: Rows in a batch; the last has what is left.
        rng: Draws; without one, batches are of like length throughout.
        parts: Of a batch, each of other lengths, shortest first.
        smallest: A last batch that has fewer rows, or fewer than parts, becomes part of the one before it.

    Example:
        >>> [rows.tolist() for rows in order(np.array([5, 1, 4, 2]), 2, None)]
        [[1, 3], [2, 0]]
    """
    if rng is None:
        drawn = np.argsort(lengths, kind="stable")
    else:
        chunk, group = batch_size * _BATCHES_PER_SORTING, max(1, batch_size // parts)
        drawn = rng.permutation(len(lengths))
        chunks = [drawn[start : start + chunk] for start in range(0, len(drawn), chunk)]
        drawn = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in chunks])
        whole = len(drawn) // group * group
        drawn = np.concatenate([rng.permutation(drawn[:whole].reshape(-1, group)).ravel(), drawn[whole:]])
    batches = [drawn[start : start + batch_size] for start in range(0, len(drawn), batch_size)]
    if len(batches) > 1 and len(batches[-1]) < max(smallest, parts):
        batches[-2:] = [np.concatenate(batches[-2:])]
    if parts > 1:
        batches = [rows[np.argsort(lengths[rows], kind="stable")] for rows in batches]
    return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]


def batches(features: Source, wanted: np.ndarray, shares: np.ndarray, rows: "Epochs | Drawn") -> tf.data.Dataset:
    """Batches of features, targets and weights.

    Args:
        features: Of all examples.
        wanted: What the model should say of each, `(n, ...)`.
        shares: How much each counts, float32 `(n,)`.
        rows: Which examples each batch has; begun anew for each epoch.
    """

    def epoch() -> Iterator[Any]:
        for chosen in rows:
            yield features.batch(chosen), wanted[chosen], shares[chosen]

    sample = features.batch(_ANY_EXAMPLES)
    signature = {
        name: tf.TensorSpec((None, *([None] * (value.ndim > 1)), *value.shape[2:]), dtype_name(value))
        for name, value in sample.items()
    }
    specs = (
        signature,
        tf.TensorSpec((None, *wanted.shape[1:]), wanted.dtype),
        tf.TensorSpec((None,), "float32"),
    )
    dataset = tf.data.Dataset.from_generator(epoch, output_signature=specs)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(rows))).prefetch(tf.data.AUTOTUNE)


def resident(
    features: Source, wanted: np.ndarray, shares: np.ndarray, *, batch_size: int, seed: int
) -> tf.data.Dataset:
    """Batches of embeddings that are kept in memory as tensors, shuffled anew for each epoch; see `batches`.

    Where only the head trains, a step takes less time than it takes to fetch a batch any other way.
    """
    tensors = ({n: tf.constant(v) for n, v in features.batch(np.arange(len(wanted))).items()}, wanted, shares)
    shuffled = tf.data.Dataset.from_tensor_slices(tensors).shuffle(len(wanted), seed=seed)
    return shuffled.batch(batch_size).prefetch(tf.data.AUTOTUNE)


class Epochs:
    """The rows of each batch, drawn anew each time it is gone through; see `order`."""

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        rng: np.random.Generator | None,
        *,
        parts: int = 1,
        smallest: int = 1,
    ) -> None:
        self._lengths, self._batch_size, self._rng = lengths, batch_size, rng
        self._parts, self._smallest = parts, max(smallest, parts)

    def __len__(self) -> int:
        whole, rest = divmod(len(self._lengths), self._batch_size)
        return max(1, whole + (rest >= self._smallest)) if len(self._lengths) else 0

    def __iter__(self) -> Iterator[np.ndarray]:
        drawn = order(self._lengths, self._batch_size, self._rng, parts=self._parts, smallest=self._smallest)
        return iter(drawn)


class Drawn:
    """The rows of so many batches drawn by class, shortest texts first."""

    def __init__(
        self, labels: np.ndarray, lengths: np.ndarray, batch_size: int, steps: int, rng: np.random.Generator
    ) -> None:
        self._steps, self._lengths, self._drawn = steps, lengths, draw_by_class(labels, batch_size, rng)

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[np.ndarray]:
        for rows in islice(self._drawn, self._steps):
            yield rows[np.argsort(self._lengths[rows], kind="stable")]


class InParts:
    """Features whose batches come in parts, each padded to its own longest text; rows must come shortest first.

    Args:
        features: Of all examples.
        num_parts: In each batch, which must have so many rows at the least.

    Attributes:
        lengths: Number of tokens of each example.
        num_parts: In each batch.
    """

    def __init__(self, features: Source, num_parts: int) -> None:
        self._features, self.lengths, self.num_parts = features, features.lengths, num_parts

    @classmethod
    def by_class(cls, features: Source, labels: np.ndarray, batch_size: int) -> "InParts":
        """In as many parts as batches drawn by class are worth, one where all examples have the same length."""
        if features.lengths.min() == features.lengths.max():
            return cls(features, 1)
        worth = max(1, min(batch_size, len(labels)) // _ROWS_IN_DRAWN_PART)
        return cls(features, min(_MOST_PARTS, worth, classes_in_batch(labels, batch_size)))

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The features of some examples; each tensor's name is followed by the number of the part."""
        parts = np.array_split(rows, self.num_parts)
        return {f"{name}_{i}": v for i, part in enumerate(parts) for name, v in self._features.batch(part).items()}

    def parts(self, tensors: dict[str, Any]) -> list[dict[str, Any]]:
        """The tensors of each part, under the names that the features have."""
        found: list[dict[str, Any]] = [{} for _ in range(self.num_parts)]
        for name, tensor in tensors.items():
            feature, _, part = name.rpartition("_")
            found[int(part)][feature] = tensor
        return found


def in_parts(features: Sequence[Source], batch_size: int) -> list[Source]:
    """Features of training and validation part, with as many parts in each of their batches where lengths vary."""
    training, *_ = features
    fewest = min(len(each.lengths) for each in features if len(each.lengths))
    parts = min(_MOST_PARTS, batch_size // _ROWS_IN_PART, fewest)
    if parts < 2 or training.lengths.min() == training.lengths.max():
        return list(features)
    return [InParts(each, parts) if len(each.lengths) else each for each in features]


def inputs_of(features: Source) -> dict[str, keras.KerasTensor]:
    """Keras inputs for features: of any length where lengths vary."""
    inputs = {}
    for name, value in features.batch(_ANY_EXAMPLES).items():
        lengths_vary = features.lengths.max() > 1 and value.ndim > 1 and value.shape[1] == features.lengths[0]
        shape = (None, *value.shape[2:]) if lengths_vary else value.shape[1:]
        inputs[name] = keras.Input(shape, dtype=dtype_name(value), name=name.replace("/", "_"))
    return inputs


def dtype_name(value: np.ndarray) -> str:
    """The name TensorFlow has for an array's type."""
    return "string" if value.dtype.kind in "OSU" else value.dtype.name
