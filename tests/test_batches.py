"""Batches: every example once, those of like length together."""

import numpy as np
import pytest

import tfembed as te
from tfembed.batches import Drawn, Epochs, InParts, batches, in_parts, inputs_of, order, resident, targets
from tfembed.features.columns import Column, Features
from tfembed.predict import parts_of
from tfembed.supervised_contrastive import draw_by_class


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


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize(
    ("count", "smallest", "parts", "sizes"),
    [
        (17, 1, 1, [1, 8, 8]),
        (17, 2, 1, [8, 9]),
        (19, 3, 1, [3, 8, 8]),
        (19, 4, 1, [8, 11]),
        (19, 1, 4, [8, 11]),
        (20, 1, 4, [4, 8, 8]),
        (16, 8, 1, [8, 8]),
        (3, 8, 1, [3]),
        (3, 1, 4, [3]),
    ],
)
def test_a_small_last_batch_joins_the_one_before(seed, count, smallest, parts, sizes):
    """A last batch with fewer rows than the smallest may have, or than parts, is none of its own; nothing is lost."""
    lengths = np.random.default_rng(1).integers(1, 30, count)

    def drawn():
        return None if seed is None else np.random.default_rng(seed)

    found = order(lengths, 8, drawn(), parts=parts, smallest=smallest)
    assert sorted(map(len, found)) == sizes
    assert sorted(np.concatenate(found).tolist()) == list(range(count))
    epochs = Epochs(lengths, 8, drawn(), parts=parts, smallest=smallest)
    assert len(epochs) == len(sizes)
    assert [rows.tolist() for rows in epochs] == [rows.tolist() for rows in found]


def test_a_short_batch_comes_anywhere():
    """A last batch of few rows is not always the last of its epoch."""
    places = {
        [len(rows) for rows in order(np.ones(17, int), 8, np.random.default_rng(seed))].index(1) for seed in range(20)
    }
    assert places == {0, 1, 2}


def test_nothing_makes_no_batches():
    """Of no examples there is no batch."""
    assert len(Epochs(np.zeros(0, int), 8, None)) == 0


def test_without_a_generator_rows_come_by_length():
    """Shortest first, those of the same length in their own order."""
    lengths = np.array([3, 1, 2, 1, 3, 2])
    assert [rows.tolist() for rows in order(lengths, 4, None)] == [[1, 3, 2, 5], [0, 4]]


@pytest.mark.parametrize("parts", [1, 4])
def test_rows_of_a_batch_in_parts_come_shortest_first(parts):
    """Parts are cut off from the front: their rows must be sorted; every batch is of other rows than before."""
    lengths = np.random.default_rng(0).integers(1, 90, 200)
    found = order(lengths, 16, np.random.default_rng(0), parts=parts)
    if parts > 1:
        assert all((np.diff(lengths[rows]) >= 0).all() for rows in found)
    longest = [lengths[rows].max() for rows in found]
    assert longest != sorted(longest)  # the batches themselves are in random order


def test_what_targets_are(glyphs):
    """Classes are rows with a single 1; several labels are as they are; targets are a standardized column."""

    def parts(**options):
        return parts_of(te.build_image_classifier(glyphs, ["a", "b"], **options))

    encoded = targets(np.array([1, 0, 1], "int32"), parts())
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [[0, 1], [1, 0], [0, 1]]
    several = np.array([[1, 1], [0, 1], [0, 0]], "float32")
    np.testing.assert_array_equal(targets(several, parts(multi_label=True)), several)
    values = parts_of(te.build_image_regressor(glyphs))
    values.last.mean.assign(3.0)
    values.last.scale.assign(2.0)
    assert targets(np.array([3.0, 7.0], "float32"), values).tolist() == [[0.0], [2.0]]


def numbered(count):
    """Features of one value each: the number of the example."""
    values = np.arange(count, dtype="float32")[:, np.newaxis]
    return Features(columns={"inputs": Column(values=values)}, lengths=np.ones(count, int))


def test_resident_batches_are_shuffled_anew():
    """Each epoch has every example once, with its own target and weight, in another order; the seed settles it."""
    wanted, weights = np.arange(40, dtype="float32")[:, np.newaxis] * 2, np.arange(40, dtype="float32") * 3

    def epochs(seed):
        dataset, found = resident(numbered(40), wanted, weights, batch_size=16, seed=seed), []
        for _ in range(3):
            seen = list(dataset.as_numpy_iterator())
            assert [len(each) for _, each, _ in seen] == [16, 16, 8]
            for features, target, weight in seen:
                np.testing.assert_array_equal(target, features["inputs"] * 2)
                np.testing.assert_array_equal(weight, features["inputs"][:, 0] * 3)
            found.append(np.concatenate([features["inputs"][:, 0] for features, _, _ in seen]).tolist())
        return found

    first = epochs(0)
    assert all(sorted(rows) == list(range(40)) for rows in first)
    assert len({tuple(rows) for rows in first}) == 3
    assert first[0] != sorted(first[0])
    assert epochs(0) == first != epochs(1)


def test_batches_carry_targets_and_weights():
    """Every row comes with its own target and weight; an epoch has as many batches as it says, each epoch others."""
    wanted, weights = np.arange(20, dtype="float32")[:, np.newaxis] * 2, np.arange(20, dtype="float32") * 3
    made = batches(numbered(20), wanted, weights, Epochs(np.ones(20, int), 8, np.random.default_rng(0)))
    assert int(made.cardinality()) == 3
    orders = []
    for _ in range(2):
        seen = list(made.as_numpy_iterator())
        orders.append(np.concatenate([features["inputs"][:, 0] for features, _, _ in seen]).tolist())
        for features, target, weight in seen:
            np.testing.assert_array_equal(target, features["inputs"] * 2)
            np.testing.assert_array_equal(weight, features["inputs"][:, 0] * 3)
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(20))
    assert orders[0] != orders[1]


def test_drawn_batches_come_shortest_first():
    """The rows of a batch are sorted by length, and are those that were drawn; another epoch draws others."""
    labels, lengths = np.arange(60) % 3, np.random.default_rng(0).integers(1, 50, 60)
    drawn = Drawn(labels, lengths, 12, 4, np.random.default_rng(7))
    epochs = [[rows.tolist() for rows in drawn] for _ in range(2)]
    assert all((np.diff(lengths[rows]) >= 0).all() for epoch in epochs for rows in epoch)
    assert epochs[0] != epochs[1]
    own = draw_by_class(labels, 12, np.random.default_rng(7))
    assert [sorted(rows) for rows in epochs[0]] == [sorted(next(own).tolist()) for _ in range(4)]


@pytest.mark.parametrize(
    ("lengths", "batch_size", "validation", "parts"),
    [
        ([1, 2] * 20, 32, 40, 4),
        ([1, 2] * 20, 64, 40, 4),
        ([1, 2] * 20, 31, 40, 3),
        ([1, 2] * 20, 64, 3, 3),
        ([1, 2] * 20, 16, 40, 2),
        ([1, 2] * 20, 15, 40, None),
        ([2, 2] * 20, 32, 40, None),
        ([1, 2] * 20, 32, 0, 4),
        ([1, 2] * 20, 32, 1, None),
    ],
)
def test_as_many_parts_as_a_batch_is_worth(lengths, batch_size, validation, parts):
    """At least eight rows a part, at most four parts, none more than the smaller split has rows; else none at all."""
    given = [sequences(lengths), sequences(lengths[:validation])]
    found = in_parts(given, batch_size)
    if parts is None:
        assert found == given
        return
    assert [type(each) for each in found] == [InParts, InParts if validation else Features]
    assert found[0].num_parts == parts
    assert not validation or found[1].num_parts == parts


def test_inputs_are_of_any_length_where_lengths_vary():
    """Sequences may have any length; images, vectors and raw texts keep the shape of a row, and their types."""
    lengths = np.array([2, 3, 3])
    offsets = np.array([0, 2, 5, 8])
    columns = {
        "ids": Column(values=np.zeros(8, "int32"), offsets=offsets),
        "vectors/all": Column(values=np.zeros((8, 5), "float32"), offsets=offsets),
        "image": Column(values=np.zeros((3, 7, 7), "uint8")),
        "text": Column(values=np.array(["a", "b", "c"], object)),
    }
    features = Features(columns=columns, lengths=lengths)
    found = {name: (each.shape, each.dtype, each.name) for name, each in inputs_of(features).items()}
    assert found == {
        "ids": ((None, None), "int32", "ids"),
        "vectors/all": ((None, None, 5), "float32", "vectors_all"),
        "image": ((None, 7, 7), "uint8", "image"),
        "text": ((None,), "string", "text"),
    }
    alike = Features(columns={"rows": Column(values=np.zeros((3, 1), "float32"))}, lengths=np.ones(3, int))
    assert inputs_of(alike)["rows"].shape == (None, 1)
    made = batches(features, np.zeros((3, 1), "float32"), np.ones(3, "float32"), Epochs(lengths, 2, None))
    ((first, _, _), (second, _, _)) = made.as_numpy_iterator()
    assert [first[name].shape for name in columns] == [(2, 3), (2, 3, 5), (2, 7, 7), (2,)]
    assert [second[name].shape for name in columns] == [(1, 3), (1, 3, 5), (1, 7, 7), (1,)]
    assert second["text"].tolist() == [b"c"]
