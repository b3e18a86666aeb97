"""Supervised contrastive learning: its loss and its batches."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.supervised_contrastive import contrastive_loss, draw_by_class


def by_hand(labels, embeddings, temperature):
    """The loss as its paper writes it (equation 2), one example at a time."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    losses = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        shares = np.exp([unit[i] @ unit[j] / temperature for j in others])
        same = [k for k, j in enumerate(others) if labels[j] == label]
        losses.append(-np.mean([np.log(shares[k] / shares.sum()) for k in same]) if same else 0.0)
    return losses


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_is_that_of_the_paper(temperature):
    """Each example is compared with all others, never with itself; without another of its class it costs nothing."""
    rng = np.random.default_rng(0)
    labels, embeddings = np.array([0, 1, 0, 2, 1, 0]), rng.normal(size=(6, 4)).astype("float32")
    found = contrastive_loss(temperature)(labels[:, np.newaxis], tf.constant(embeddings)).numpy()
    np.testing.assert_allclose(found, by_hand(labels, embeddings, temperature), rtol=1e-4, atol=1e-5)
    assert found[3] == 0


@pytest.mark.parametrize(
    ("num_classes", "shots", "batch_size", "classes_in_batch", "rows"),
    [(77, 10, 64, 16, 64), (2, 8, 64, 2, 16), (2, 50, 64, 2, 64), (5, 1, 8, 2, 2), (3, 9, 2, 1, 2)],
)
def test_batches_have_several_of_a_class(num_classes, shots, batch_size, classes_in_batch, rows):
    """A batch has at least four of each of its classes where there are so many, and no example twice."""
    labels = np.repeat(np.arange(num_classes), shots)
    drawn, seen = draw_by_class(labels, batch_size, np.random.default_rng(0)), set()
    for _ in range(60):
        batch = next(drawn)
        assert len(batch) == len(set(batch.tolist())) == rows
        assert len(np.unique(labels[batch])) == classes_in_batch
        seen |= set(labels[batch].tolist())
    assert len(seen) == num_classes


@pytest.mark.parametrize(("counts", "batch_size"), [((9, 9, 9), 12), ((20, 20), 8), ((3, 12, 30), 12), ((6,) * 10, 8)])
def test_every_example_is_drawn(counts, batch_size):
    """Over many batches every example is drawn, about as often as the others of its class; classes as often as others.

    Each batch takes as many of a class as of any other, fewer only where a class has no more.
    """
    labels = np.repeat(np.arange(len(counts)), counts)
    drawn, times, batches = draw_by_class(labels, batch_size, np.random.default_rng(1)), np.zeros(len(labels)), 600
    for _ in range(batches):
        batch = next(drawn)
        times[batch] += 1
        present = np.unique(labels[batch])
        per_class = batch_size // len(present)
        assert np.bincount(labels[batch])[present].tolist() == [min(per_class, counts[c]) for c in present]
    for label in range(len(counts)):
        own = times[labels == label]
        assert own.min() > 0
        assert own.max() < 1.4 * own.min() + 5
    classes = [times[labels == c].sum() / min(batch_size // len(present), counts[c]) for c in range(len(counts))]
    assert max(classes) < 1.7 * min(classes)


def test_batches_follow_the_generator():
    """The same generator draws the same batches, another one draws others; one batch is not like the next."""
    labels = np.repeat([0, 1, 2], 12)

    def four(seed):
        drawn = draw_by_class(labels, 12, np.random.default_rng(seed))
        return [sorted(next(drawn).tolist()) for _ in range(4)]

    assert four(0) == four(0) != four(1)
    assert len({tuple(batch) for batch in four(0)}) == 4


def test_the_length_of_an_embedding_does_not_count():
    """Cosines are compared: the loss of embeddings of any lengths is that of their directions."""
    rng = np.random.default_rng(0)
    labels, embeddings = np.arange(8) % 2, rng.normal(size=(8, 3)).astype("float32")
    longer = embeddings * rng.uniform(0.1, 50, (8, 1)).astype("float32")
    found = [contrastive_loss(0.5)(labels, tf.constant(each)).numpy() for each in (embeddings, longer)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
