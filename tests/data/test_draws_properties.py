"""Properties of splits and folds, for labels, groups and shares drawn at random."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tfembed.data import Split
from tfembed.data.draws import draw_folds, max_folds, stratified_split
from tfembed.data.groups import merge_groups

bounded = settings(max_examples=50, deadline=None, derandomize=True)


@st.composite
def splits(draw: Any) -> Split:
    """Rows of some classes in groups of some sizes, of which some are derived."""
    size = draw(st.integers(6, 40))
    labels = np.array(draw(st.lists(st.integers(0, 2), min_size=size, max_size=size)))
    groups = np.array(draw(st.lists(st.integers(0, size), min_size=size, max_size=size)))
    derived = np.array(draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))) == 0
    return Split(examples=np.arange(size).astype(object), labels=labels, groups=groups, is_derived=derived)


@bounded
@given(splits(), st.sampled_from([0, 0.1, 0.3]), st.sampled_from([0, 0.2, 0.4]), st.integers(0, 5))
def test_splits_are_complete_and_disjoint_and_groups_whole(
    rows: Split, validation: float, test: float, seed: int
) -> None:
    """Each row is in one split, each group too; the same seed draws the same."""
    options: dict[str, Any] = {"validation": validation, "test": test, "seed": seed, "groups": rows.groups}
    parts = stratified_split(rows.labels, **options)
    assert sorted(np.concatenate(parts)) == list(range(len(rows)))
    held = [set(rows.groups[part]) for part in parts]
    assert sum(map(len, held)) == len(set(rows.groups))
    assert [bool(len(part)) for part in parts[1:]] <= [validation > 0, test > 0]
    assert all(np.array_equal(a, b) for a, b in zip(parts, stratified_split(rows.labels, **options), strict=True))


@bounded
@given(st.integers(2, 4), st.integers(6, 12), st.integers(1, 3), st.integers(0, 5))
def test_splits_into_groups_of_one_size_are_stratified(classes: int, groups: int, size: int, seed: int) -> None:
    """Where groups of one class have one size, each split has its share of each class, to one group."""
    labels = np.repeat(np.arange(classes), groups * size)
    parts = stratified_split(
        labels, validation=0.2, test=0.3, seed=seed, groups=np.repeat(np.arange(classes * groups), size)
    )
    for part, share in zip(parts, (0.5, 0.2, 0.3), strict=True):
        counts = np.bincount(labels[part], minlength=classes)
        assert counts.min() > 0
        assert np.abs(counts - share * groups * size).max() <= 2 * size


@bounded
@given(splits(), st.sampled_from(["classification", "regression"]), st.integers(2, 6), st.integers(0, 5))
def test_folds_are_complete_and_disjoint_over_the_originals(rows: Split, task: str, most: int, seed: int) -> None:
    """Each original is measured on once; no fold trains on a group that it is measured on, nor lacks a class."""
    folds = draw_folds(rows, task, most, seed)
    if not folds:
        assert task == "classification" or max_folds(rows, task) < 2
        return
    assert 2 <= len(folds) <= min(most, max_folds(rows, task))
    assert sorted(np.concatenate([held for _, held in folds])) == np.flatnonzero(~rows.is_derived).tolist()
    for train, held in folds:
        assert not set(rows.groups[train]) & set(rows.groups[held])
        assert set(rows.groups[train]) | set(rows.groups[held]) == set(rows.groups)
        assert task == "regression" or set(rows.labels[train]) == set(rows.labels)
    again = draw_folds(rows, task, most, seed)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(folds, again, strict=True))


@bounded
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=15))
def test_merged_groups_are_the_connected_components(pairs: list[tuple[int, int]]) -> None:
    """Two rows are in one group if a chain of rows leads from one to the other, each with a number of the next."""
    first, second = np.array(pairs).T
    linked = (first[:, None] == first) | (second[:, None] == second)
    for _ in pairs:
        linked = (linked.astype(int) @ linked.astype(int)) > 0
    merged = merge_groups(first, second)
    assert np.array_equal(merged[:, None] == merged, linked)
