"""Folds: what trials learn from is never what they are measured on."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_encoders import pixels

import tfembed as te
from tfembed.data import Dataset, Split
from tfembed.search.folds import content_key, fewest_alike, make_folds, pooled

TEXTS = [f"text {i}" for i in range(40)]
LABELS = np.arange(40) % 2


def plain(**options: object) -> Dataset:
    return Dataset.from_arrays(TEXTS, LABELS, ["a", "b"], **{"validation": 0.1, "test": 0.2} | options)


def test_folds_hold_each_example_but_the_test_ones_once() -> None:
    """Parts of a fold are disjoint and stratified; together folds are measured on all but the test part."""
    data = plain()
    folds = make_folds(data, None, seed=0)
    assert len(folds.datasets) == 5
    assert sorted(np.concatenate(folds.rows)) == list(range(32))
    for each, rows in zip(folds.datasets, folds.rows, strict=True):
        train, held = set(each.train.examples), set(each.validation.examples)
        assert not train & held
        assert train | held == set(TEXTS) - set(data.test.examples)
        assert not len(each.test)
        assert np.abs(np.bincount(each.validation.labels, minlength=2) - 3.2).max() < 1
        assert pooled(data).examples[rows].tolist() == each.validation.examples.tolist()


def test_the_seed_draws_the_folds() -> None:
    """The same seed draws the same folds, another one others."""
    first, again, other = (make_folds(plain(), 4, seed).rows for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_augmented_copies_do_not_leak() -> None:
    """A copy is trained on where its original is, and never measured on."""
    data = Dataset.from_arrays(pixels(30), np.arange(30) % 2, ["a", "b"], validation=0.1, test=0.2)
    copied = te.augment(data, 2)
    folds = make_folds(copied, None, seed=0)
    pool = pooled(copied)
    originals = np.flatnonzero(~pool.is_derived)
    assert sorted(np.concatenate(folds.rows)) == originals.tolist()
    for each in folds.datasets:
        assert not set(each.train.groups) & set(each.validation.groups)
        assert each.validation.is_derived is None or not each.validation.is_derived.any()
        assert each.train.is_derived.any()


def test_descriptions_are_in_every_training_part() -> None:
    """What a class means is known in every fold, and measured in none."""
    data = plain().with_descriptions({"a": "the first", "b": "the second"})
    for each in make_folds(data, None, seed=0).datasets:
        assert {"the first", "the second"} <= set(each.train.examples)
        assert not {"the first", "the second"} & set(each.validation.examples)


def test_duplicates_and_named_groups_do_not_straddle_folds() -> None:
    """Equal texts are on one side also where the splits were made by hand, without groups."""
    data = plain(groups=np.arange(40) // 4)
    for each in make_folds(data, 3, seed=0).datasets:
        assert not set(each.train.groups) & set(each.validation.groups)
    twice = Split(examples=np.tile(np.array(TEXTS, object), 2), labels=np.tile(LABELS, 2))
    for each in make_folds(replace(plain(), train=twice, validation=twice.subset([])), 5, seed=0).datasets:
        assert not set(each.train.examples) & set(each.validation.examples)


def test_there_are_no_more_folds_than_a_class_has_groups() -> None:
    """Groups, not rows, bound the number of folds."""
    data = plain(groups=np.arange(40) % 2 + 2 * (np.arange(40) // 14), validation=0, test=0)
    assert len(make_folds(data, None, seed=0).datasets) == 3
    with pytest.raises(ValueError, match=r"folds=4: expected 1, or 2 to 3, for the smallest class has 3 groups"):
        make_folds(data, 4, seed=0)


def test_a_validation_split_of_ones_own_is_kept() -> None:
    """However small, it is what trials are measured on, unless folds are asked for."""
    data = plain(validation=(["x", "y"], [0, 1]), test=0)
    for each in (data, data.few_shot(5), data.with_descriptions({"a": "the first"})):
        folds = make_folds(each, None, seed=0)
        assert [len(fold.validation) for fold in folds.datasets] == [2]
        assert len(make_folds(each, 2, seed=0).datasets) == 2
    assert len(make_folds(plain(), None, seed=0).datasets) == 5


@pytest.mark.parametrize(("held_out", "count"), [(29, 5), (30, 1)])
def test_thirty_validation_examples_are_enough(held_out: int, count: int) -> None:
    """A drawn validation split of 30 examples or more is kept as it is, and the test split is left out all the same."""
    split = plain(validation=0, test=0.2)
    validation = Split(
        examples=np.array([f"more {i}" for i in range(held_out)], object), labels=np.arange(held_out) % 2
    )
    folds = make_folds(replace(split, validation=validation), None, seed=0)
    assert len(folds.datasets) == count
    assert not any(len(fold.test) for fold in folds.datasets)


def test_without_training_examples_no_class_has_any() -> None:
    """The largest class of an empty training split has 0 examples."""
    data = plain(validation=(["x", "y"], [0, 1]), test=0)
    assert fewest_alike(replace(data, train=data.train.subset([])), None, seed=0) == 0


def test_the_key_of_data_tells_labels_groups_and_copies() -> None:
    """Other labels, groups or marks of derived rows are other data; the same groups in other numbers are not."""
    split = Split(examples=np.array(list("abcd"), object), labels=np.array([0, 0, 1, 1]))
    others = [
        split,
        replace(split, labels=np.array([0, 1, 0, 1])),
        replace(split, groups=np.array([0, 0, 1, 1])),
        replace(split, groups=np.array([0, 1, 1, 0])),
        replace(split, is_derived=np.array([False, True, False, True])),
        replace(split, is_derived=np.array([False, True, False, False])),
    ]
    assert len({content_key(each) for each in others}) == len(others)
    assert content_key(replace(split, groups=np.array([7, 7, 3, 3]))) == content_key(others[2])
    trivial = replace(split, groups=np.arange(4), is_derived=np.zeros(4, bool))
    assert content_key(trivial) == content_key(split)
