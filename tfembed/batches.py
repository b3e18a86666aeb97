"""Batches for training: features, labels and weights of examples, of like length together."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.data import Dataset
from tfembed.features import Source
from tfembed.supervised_contrastive import classes_in_batch, draw_by_class

# Examples are shuffled, then sorted by length within so many batches: little padding (5 to 8 % on Banking77 with its
# length limit, 8 to 14 % on the mean without one), and batches that differ.
_BATCHES_PER_SORTING = 24
# A batch that is drawn by class has texts of all lengths: in four parts of like length, half of the padding is gone.
_MOST_PARTS = 4
_ANY_EXAMPLES = np.zeros(_MOST_PARTS, np.int64)  # to see what tensors there are


def targets(labels: np.ndarray, data: Dataset) -> np.ndarray:
    """What the logits should become: classes as rows with a single 1, float32 `(n, num_outputs)`."""
    if data.task == "classification":
        return np.eye(len(data.class_names), dtype="float32")[labels]
    return labels.astype("float32").reshape(len(labels), -1)


def order(lengths: np.ndarray, batch_size: int, rng: np.random.Generator | None, smallest: int = 1) -> list[np.ndarray]:
    """Rows in batches: examples of like length together, in random order where there is a generator.

    A last batch that is smaller than `smallest` becomes part of the one before it.

    Example:
        >>> [rows.tolist() for rows in order(np.array([5, 1, 4, 2]), 2, None)]
        [[1, 3], [2, 0]]
    """
    if rng is None:
        drawn = np.argsort(lengths, kind="stable")
    else:
        chunk = batch_size * _BATCHES_PER_SORTING
        drawn = rng.permutation(len(lengths))
        chunks = [drawn[start : start + chunk] for start in range(0, len(drawn), chunk)]
        drawn = np.concatenate([rows[np.argsort(lengths[rows], kind="stable")] for rows in chunks])
    batches = [drawn[start : start + batch_size] for start in range(0, len(drawn), batch_size)]
    if len(batches) > 1 and len(batches[-1]) < smallest:
        batches[-2:] = [np.concatenate(batches[-2:])]
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
        self, lengths: np.ndarray, batch_size: int, rng: np.random.Generator | None, smallest: int = 1
    ) -> None:
        self._lengths, self._batch_size, self._rng, self._smallest = lengths, batch_size, rng, smallest

    def __len__(self) -> int:
        whole, rest = divmod(len(self._lengths), self._batch_size)
        return max(1, whole + (rest >= self._smallest)) if len(self._lengths) else 0

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(order(self._lengths, self._batch_size, self._rng, self._smallest))


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
        """In as many parts as batches drawn by class can have, one where all examples have the same length."""
        same_length = features.lengths.min() == features.lengths.max()
        return cls(features, 1 if same_length else min(_MOST_PARTS, classes_in_batch(labels, batch_size)))

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
