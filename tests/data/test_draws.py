"""Seeded, stratified draws of indices."""

import numpy as np
import pytest

from tfembed.data import Split
from tfembed.data.draws import draw_per_class, strata_of, stratified_split

LABELS = np.repeat([0, 1, 2], [100, 50, 10])


def labelled(labels, **columns):
    return Split(examples=np.arange(len(labels)).astype(str).astype(object), labels=np.asarray(labels), **columns)


def split(strata=LABELS, seed=0, validation=0.1, test=0.2):
    return stratified_split(strata, validation=validation, test=test, seed=seed)


def test_the_parts_hold_each_index_once():
    """Train, validation and test together are all indices, and no index is in two parts."""
    assert sorted(np.concatenate(split())) == list(range(160))


def test_each_part_has_its_share_of_each_class():
    """A split of 100, 50 and 10 examples into 70, 10 and 20 % gives each class the same shares."""
    counts = [np.bincount(LABELS[part]).tolist() for part in split()]
    assert counts == [[70, 35, 7], [10, 5, 1], [20, 10, 2]]


def test_the_seed_decides_the_split():
    """The same seed draws the same parts, another seed draws others."""
    assert all(np.array_equal(a, b) for a, b in zip(split(seed=3), split(seed=3), strict=True))
    assert not np.array_equal(split(seed=3)[2], split(seed=4)[2])


def test_a_small_class_is_in_every_part():
    """A class of three examples has one in each part, although a tenth of three is none."""
    strata = np.repeat([0, 1], [97, 3])
    assert [int((strata[part] == 1).sum()) for part in split(strata)] == [1, 1, 1]


def test_rounding_does_not_change_the_total():
    """Classes whose tenth is no whole number still make a validation part of a tenth."""
    strata = np.repeat(np.arange(40), 26)
    train, validation, test = split(strata)
    assert (len(train), len(validation), len(test)) == (728, 104, 208)


@pytest.mark.parametrize(("validation", "test", "sizes"), [(0, 0, [160, 0, 0]), (0.5, 0, [80, 80, 0])])
def test_a_share_of_zero_is_an_empty_part(validation, test, sizes):
    """A part of which nothing is asked is empty, and nothing is lost."""
    assert [len(part) for part in split(validation=validation, test=test)] == sizes


def test_what_cannot_be_shared_out_stays_in_train():
    """A stratum of one example is in train."""
    train, _, _ = split(np.array([0] * 20 + [1]))
    assert 20 in train


def test_regression_is_split_by_quantiles():
    """The test part of a regression has targets from every tenth of the range, not only from its middle."""
    targets = np.random.default_rng(0).permutation(100).astype(np.float32)
    _, _, test = split(strata_of(targets, "regression"))
    assert sorted((targets[test] // 10).astype(int)) == sorted(list(range(10)) * 2)


def test_multi_label_examples_are_grouped_by_their_rarest_label():
    """A rare label is shared out even where a common one stands beside it in every row."""
    labels = np.zeros((100, 2), np.float32)
    labels[:, 0] = 1
    labels[:10, 1] = 1
    counts = [int(labels[part, 1].sum()) for part in split(strata_of(labels, "multi_label"))]
    assert counts == [7, 1, 2]


def test_a_small_draw_is_part_of_a_larger_one():
    """Five examples a class are among the ten that the same seed draws; another seed draws others."""
    five, ten = draw_per_class(labelled(LABELS), 5, seed=1), draw_per_class(labelled(LABELS), 10, seed=1)
    assert np.bincount(LABELS[five]).tolist() == [5, 5, 5]
    assert set(five) < set(ten)
    assert not np.array_equal(five, draw_per_class(labelled(LABELS), 5, seed=2))


def test_a_multi_label_draw_has_each_label_often_enough():
    """Rare labels are drawn first, and examples that bring two labels count for both."""
    labels = np.array([[1, 0]] * 20 + [[1, 1]] * 4, np.float32)
    drawn = labels[draw_per_class(labelled(labels), 3, seed=0)]
    assert drawn.tolist() == [[1, 1]] * 3


@pytest.mark.parametrize("n", [1, 3, 7])
def test_a_draw_has_so_many_of_each_class(n):
    """Exactly n of each class, ascending, none twice; over many seeds every example is drawn about as often."""
    times = np.zeros(60)
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 5], 20))
    for seed in range(400):
        drawn = draw_per_class(labelled(labels), n, seed=seed)
        assert drawn.tolist() == sorted(set(drawn.tolist()))
        assert np.bincount(labels[drawn]).tolist() == [n, n, 0, 0, 0, n]
        times[drawn] += 1
    assert times.min() > 0
    assert times.std() < 2 * np.sqrt(400 * n / 20)


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_a_multi_label_draw_has_what_it_needs(n):
    """Each label is there at least n times, by at most n examples a label, none without labels; what a smaller draw
    of the same seed has, a larger one has too.
    """
    rng = np.random.default_rng(0)
    labels = (rng.random((80, 4)) < [0.1, 0.3, 0.5, 0.7]).astype(np.float32)
    labels[:6] = np.eye(4, dtype=np.float32)[0]  # so that each label has at least six
    for seed in range(5):
        drawn = draw_per_class(labelled(labels), n, seed=seed)
        assert drawn.tolist() == sorted(set(drawn.tolist()))
        assert labels[drawn].sum(axis=0).min() >= n
        assert labels[drawn].any(axis=1).all()
        assert len(drawn) <= n * 4
        assert set(draw_per_class(labelled(labels), n - 1, seed=seed).tolist()) < set(drawn.tolist())


def test_a_rare_label_brings_common_ones_along():
    """Examples that have the rare label count for the common one, so that no others are drawn; the seed decides."""
    labels = np.ones((30, 2), np.float32)
    labels[:, 0] = 0
    labels[4:7, 0] = 1
    assert draw_per_class(labelled(labels), 3, seed=1).tolist() == [4, 5, 6]
    assert len(draw_per_class(labelled(labels), 2, seed=1)) == 2
    alike = np.ones((20, 1), np.float32)
    assert len(draw_per_class(labelled(alike), 3, seed=0)) == 3
    assert not np.array_equal(draw_per_class(labelled(alike), 3, seed=0), draw_per_class(labelled(alike), 3, seed=1))


def test_equal_targets_are_divided_in_their_order():
    """Of targets that are the same, the first come into the lower strata, on every machine."""
    assert strata_of(np.zeros(100, np.float32), "regression").tolist() == np.repeat(np.arange(10), 10).tolist()
    found = strata_of((np.arange(1000) % 2).astype(np.float32), "regression")
    assert found.tolist() == [row // 200 + 5 * (row % 2) for row in range(1000)]


@pytest.mark.parametrize("shares", [(0.2, 0), (0, 0.2)])
def test_one_example_stays_in_train_beside_a_single_part(shares):
    """Where only one part is drawn, a stratum of one example stays in train, and one of two gives one away."""
    validation, test = shares
    strata = np.array([0] * 20 + [1] + [2] * 2)
    train, *others = split(strata, validation=validation, test=test)
    assert np.bincount(strata[train], minlength=3)[1:].tolist() == [1, 1]
    assert sum((strata[part] == 2).sum() for part in others) == 1


def test_a_split_that_lacks_a_class_gets_a_group_of_it():
    """Groups of several classes may leave one out where each is best placed; then one of them is moved."""
    labels, groups = np.array([0, 0, 1, 1, 1, 0, 1, 0]), np.array([2, 4, 4, 2, 5, 1, 2, 4])
    parts = stratified_split(labels, validation=0.2, test=0.2, seed=0, groups=groups)
    assert [set(labels[part]) for part in parts] == [{0, 1}] * 3


def test_the_smallest_group_that_can_be_spared_is_moved():
    """Of two groups that fill the gap, the one with fewer examples goes; the largest split stays the largest."""
    labels, groups = np.array([0, 1, 0, 0, 0, 1, 1, 1, 0]), np.array([2, 6, 3, 2, 6, 1, 5, 2, 3])
    parts = stratified_split(labels, validation=0.2, test=0.2, seed=0, groups=groups)
    assert [set(labels[part]) for part in parts] == [{0, 1}] * 3
    assert [len(part) for part in parts] == [4, 2, 3]
