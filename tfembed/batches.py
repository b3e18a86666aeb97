"""Batches for training: features, labels and weights of examples, of like length together."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.data import Dataset
from tfembed.features import Source
from tfembed.supervised_contrastive import draw_by_class

# Examples are shuffled, then sorted by length within so many batches: little padding (5 to 8 % on Banking77 with its
# length limit, 8 to 14 % on the mean without one), and batches that differ.
_BATCHES_PER_SORTING = 24


def targets(labels: np.ndarray, data: Dataset) -> np.ndarray:
    """What the logits should become: classes as rows with a single 1, float32 `(n, num_outputs)`."""
    if data.task == "classification":
        return np.eye(len(data.class_names), dtype="float32")[labels]
    return labels.astype("float32").reshape(len(labels), -1)


def order(lengths: np.ndarray, batch_size: int, rng: np.random.Generator | None) -> list[np.ndarray]:
    """Rows in batches: examples of like length together, in random order where there is a generator.

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

    sample = features.batch(np.arange(1))
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
    """The rows of each batch, drawn anew each time it is gone through."""

    def __init__(self, lengths: np.ndarray, batch_size: int, rng: np.random.Generator | None) -> None:
        self._lengths, self._batch_size, self._rng = lengths, batch_size, rng

    def __len__(self) -> int:
        return -(-len(self._lengths) // self._batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(order(self._lengths, self._batch_size, self._rng))


class Drawn:
    """The rows of so many batches drawn by class."""

    def __init__(self, labels: np.ndarray, batch_size: int, steps: int, rng: np.random.Generator) -> None:
        self._steps, self._drawn = steps, draw_by_class(labels, batch_size, rng)

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[np.ndarray]:
        return islice(self._drawn, self._steps)


def inputs_of(features: Source) -> dict[str, keras.KerasTensor]:
    """Keras inputs for features: of any length where lengths vary."""
    inputs = {}
    for name, value in features.batch(np.arange(1)).items():
        lengths_vary = features.lengths.max() > 1 and value.ndim > 1 and value.shape[1] == features.lengths[0]
        shape = (None, *value.shape[2:]) if lengths_vary else value.shape[1:]
        inputs[name] = keras.Input(shape, dtype=dtype_name(value), name=name.replace("/", "_"))
    return inputs


def dtype_name(value: np.ndarray) -> str:
    """The name TensorFlow has for an array's type."""
    return "string" if value.dtype.kind in "OSU" else value.dtype.name
