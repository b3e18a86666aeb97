"""Supervised contrastive learning: examples of a class near each other, drawn together (https://arxiv.org/abs/2004.11362)."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

_PER_CLASS = 4


def contrastive_loss(temperature: float) -> Callable[[Any, Any], Any]:
    """A loss for embeddings of a batch: how far those of the same class are from being the nearest.

    Args:
        temperature: Divides the cosines.

    Returns:
        A function of labels, whole numbers `(n,)` or `(n, 1)`, and embeddings `(n, dim)`: a loss `(n,)`, 0 for an
        example without another of its class in the batch.

    Example:
        >>> embeddings = tf.constant([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> [round(float(loss), 2) for loss in contrastive_loss(1.0)([0, 0, 1], embeddings)[:2]]
        [0.31, 0.31]
    """

    def loss(labels: Any, embeddings: Any) -> Any:
        vectors = tf.math.l2_normalize(embeddings, axis=1)
        count = tf.shape(vectors)[0]
        others = 1.0 - tf.eye(count)
        similar = tf.matmul(vectors, vectors, transpose_b=True) / temperature
        # an example is not compared with itself
        log_share = similar - tf.reduce_logsumexp(similar - 1e9 * tf.eye(count), axis=1, keepdims=True)
        labels = tf.reshape(tf.cast(labels, tf.int32), [-1])
        same = tf.cast(labels[:, tf.newaxis] == labels[tf.newaxis], tf.float32) * others
        return -tf.math.divide_no_nan(tf.reduce_sum(same * log_share, axis=1), tf.reduce_sum(same, axis=1))

    return loss


def draw_by_class(labels: np.ndarray, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Draw batches without end: some classes each, and some examples of each of these.

    Args:
        labels: Classes `(n,)`.
        batch_size: Rows in a batch, where there are enough; at least four of a class where it has them.
        rng: Draws.

    Returns:
        Rows of one batch after the other, none twice in a batch.

    Example:
        >>> rows = next(draw_by_class(np.arange(8) % 2, 4, np.random.default_rng(0)))
        >>> len(rows), len(set((rows % 2).tolist()))
        (4, 1)
    """
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    num_classes = classes_in_batch(labels, batch_size)
    while True:
        drawn = rng.choice(len(members), num_classes, replace=False)
        yield np.concatenate([rng.permutation(members[i])[: batch_size // num_classes] for i in drawn])


def classes_in_batch(labels: np.ndarray, batch_size: int) -> int:
    """How many classes each batch has that `draw_by_class` draws."""
    return max(1, min(len(np.unique(labels)), batch_size // _PER_CLASS))
