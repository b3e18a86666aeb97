"""Batches: every example once, those of like length together."""

import numpy as np
import pytest

from tfembed.batches import Drawn, Epochs, InParts, order
from tfembed.features.columns import Column, Features


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("seed", [None, 0])
def test_every_example_is_in_one_batch(seed, parts):
    """Shuffled or not, an epoch has each row once, and all batches but the last short one are full."""
    lengths = np.random.default_rng(1).integers(1, 30, 50)
    rng = None if seed is None else np.random.default_rng(seed)
    found = order(lengths, 8, rng, parts=parts)
    assert sorted(np.concatenate(found).tolist()) == list(range(50))
    assert sorted(map(len, found)) == ([2, *[8] * 6] if parts < 3 else [*[8] * 5, 10])
    assert len(found) == len(Epochs(lengths, 8, rng, parts=parts))


def test_batches_in_parts_are_mixed_and_need_little_padding():
    """Their parts are of like length; the batches have all lengths, which batches of like length have not."""
    lengths = np.random.default_rng(0).integers(1, 100, 1600)
    means, padded = {}, {}
    for parts in (1, 4):
        found = order(lengths, 32, np.random.default_rng(0), parts=parts)
        means[parts] = np.std([lengths[rows].mean() for rows in found])
        split = [part for rows in found for part in np.array_split(rows, parts)]
        padded[parts] = sum(len(rows) * lengths[rows].max() for rows in split) - lengths.sum()
    assert means[4] < means[1] * 0.7
    assert padded[4] < padded[1]


def test_epochs_differ_and_are_settled_by_the_seed():
    """Each epoch draws other batches; the same generator draws the same ones."""
    lengths = np.arange(40) % 7 + 1

    def two(seed):
        epochs = Epochs(lengths, 4, np.random.default_rng(seed))
        return [[rows.tolist() for rows in epochs] for _ in range(2)]

    first, second = two(0)
    assert first != second
    assert two(0) == [first, second]
    assert two(1)[0] != first
    assert len(Epochs(lengths, 7, None)) == 6


def test_like_lengths_share_a_batch():
    """Padding to the longest of a batch costs little: less than a third of what random batches would cost."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 100, 400)
    padded = sum(len(rows) * lengths[rows].max() for rows in order(lengths, 8, rng)) - lengths.sum()
    at_random = sum(len(rows) * lengths[rows].max() for rows in rng.permutation(400).reshape(-1, 8)) - lengths.sum()
    assert padded < at_random / 3


def test_drawn_batches_come_in_the_number_that_was_asked_for():
    """An epoch of drawn batches has as many as it says."""
    drawn = Drawn(np.arange(12) % 3, np.ones(12, int), 4, 5, np.random.default_rng(0))
    assert len(drawn) == len(list(drawn)) == 5


def sequences(lengths):
    """Features of so many tokens each: the number of the example, everywhere."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = np.repeat(np.arange(len(lengths)), lengths).astype("float32")
    return Features(columns={"ids": Column(values=values, offsets=offsets)}, lengths=np.asarray(lengths))


def test_drawn_batches_come_in_parts_of_like_length():
    """Every example of a batch is in one part, in the order of its rows, and half of the padding is gone."""
    rng = np.random.default_rng(0)
    labels, features = np.arange(192) % 16, sequences(rng.integers(1, 40, 192))
    parted = InParts.by_class(features, labels, 64)
    for rows in Drawn(labels, features.lengths, 64, 5, rng):
        tensors = [part["ids"] for part in parted.parts(parted.batch(rows))]
        assert len(tensors) == 4
        assert np.concatenate([tensor[:, 0] for tensor in tensors]).tolist() == rows.tolist()
        padding = sum(tensor.size for tensor in tensors) - features.lengths[rows].sum()
        assert padding < (features.batch(rows)["ids"].size - features.lengths[rows].sum()) / 2


@pytest.mark.parametrize(
    ("lengths", "num_classes", "parts"),
    [([3] * 64, 2, 1), ([1, 2] * 8, 2, 1), ([1, 2] * 16, 2, 2), ([1, 2] * 32, 1, 1), ([1, 2] * 32, 16, 4)],
)
def test_a_batch_has_no_more_parts_than_it_needs(lengths, num_classes, parts):
    """One where all are of one length, such as images, or few; never more than classes, which may have one each."""
    labels = np.arange(len(lengths)) % num_classes
    assert InParts.by_class(sequences(lengths), labels, 64).num_parts == parts
