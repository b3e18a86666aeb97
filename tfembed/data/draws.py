"""Which example goes where: seeded, stratified draws of indices. Knows nothing of texts or images."""

from itertools import product

import numpy as np

from tfembed.data.groups import are_trivial
from tfembed.data.split import Split, derived_rows

Fold = tuple[np.ndarray, np.ndarray]
"""Ascending indices of the training rows of a fold, and of the rows that it is measured on."""


def strata_of(labels: np.ndarray, task: str) -> np.ndarray:
    """Number the groups that every part of a split should hold in equal shares.

    A classification has its classes; a multi-label task has, for each example, the rarest of its labels (so that
    rare labels are spread first); a regression has up to ten quantiles of at least ten examples.

    Args:
        labels: Encoded labels as `Split.labels` holds them.
        task: `"classification"`, `"multi_label"` or `"regression"`.

    Returns:
        Integers `(n,)`.

    Example:
        >>> strata_of(np.array([[1, 1], [1, 0], [1, 0], [0, 0]]), "multi_label").tolist()
        [1, 0, 0, -1]
    """
    if task == "classification":
        return labels
    if task == "multi_label":
        counts = np.where(labels > 0, labels.sum(axis=0), np.inf)
        return np.where(labels.any(axis=1), counts.argmin(axis=1), -1)
    num_bins = max(1, min(10, len(labels) // 10))
    return np.argsort(np.argsort(labels, kind="stable"), kind="stable") * num_bins // max(1, len(labels))


def stratified_split(
    strata: np.ndarray, *, validation: float, test: float, seed: int, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the indices of train, validation and test, each with its share of every stratum.

    A stratum large enough has at least one example in each part; what a small one cannot share out stays in train.

    Args:
        strata: Integers `(n,)`.
        validation: Share of all examples, 0 for an empty part.
        test: Share of all examples, 0 for an empty part.
        seed: The same seed draws the same parts.
        groups: Group of each example, integers `(n,)`; each group is in one split as a whole, and the shares are met as
            nearly as that allows. None if every example is a group of its own.

    Returns:
        Three ascending `int64` arrays that together hold each index once.

    Example:
        >>> train, validation, test = stratified_split(np.array([0, 1] * 10), validation=0.1, test=0.2, seed=0)
        >>> len(train), len(validation), len(test)
        (14, 2, 4)
    """
    _, strata = np.unique(strata, return_inverse=True)
    sizes = np.bincount(strata)
    num_test = _allot(sizes, test, keep=np.full_like(sizes, 2 if validation else 1))
    num_validation = _allot(sizes, validation, keep=num_test + 1)
    if groups is not None and not are_trivial(groups):
        targets = np.stack([sizes - num_validation - num_test, num_validation, num_test])
        places = _place_groups(strata, groups, targets, seed)
        return np.flatnonzero(places == 0), np.flatnonzero(places == 1), np.flatnonzero(places == 2)
    ranks = _ranks_within(strata, np.random.default_rng(seed).permutation(len(strata)))
    is_test = ranks < num_test[strata]
    is_train = ranks >= (num_test + num_validation)[strata]
    return np.flatnonzero(is_train), np.flatnonzero(~is_train & ~is_test), np.flatnonzero(is_test)


def draw_per_class(split: Split, n: int, seed: int) -> np.ndarray:
    """Draw n examples of each class; for multi-label rows, until each label is there at least n times.

    Derived rows, and a second row of a group, are drawn only where there are not enough others. The draw for a smaller
    n is part of the draw for a larger one with the same seed. Each class must have at least n examples.

    Args:
        split: Examples of a classification, or multi-hot ones.
        n: Examples of each class.
        seed: The same seed draws the same examples.

    Returns:
        Ascending indices.

    Example:
        >>> split = Split(examples=np.array(list("abcdef"), object), labels=np.array([0, 0, 1, 1, 2, 2]))
        >>> draw_per_class(split, 2, seed=0).tolist()
        [0, 1, 2, 3, 4, 5]
    """
    labels, order = split.labels, _preferred(split, seed)
    if labels.ndim == 1:
        return np.flatnonzero(_ranks_within(labels, order) < n)
    drawn = np.zeros(len(labels), bool)
    rare_first = np.argsort(labels.sum(axis=0), kind="stable")  # rare labels bring common ones along
    for enough, column in product(range(1, n + 1), rare_first):  # one more of each label: each draw is in the next
        candidates = order[(labels[order, column] > 0) & ~drawn[order]]
        num_missing = enough - int(labels[drawn, column].sum())
        drawn[candidates[: max(0, num_missing)]] = True
    return np.flatnonzero(drawn)


def draw_folds(split: Split, task: str, most: int, seed: int) -> list[Fold]:
    """Draw stratified folds of whole groups, as many as there can be up to a limit.

    The rows that the folds are measured on are, together, each row once that is not derived. A fold trains on all rows
    whose groups it is not measured on, derived ones too. Of a classification, it trains on every class.

    Args:
        split: Rows to divide.
        task: `"classification"`, `"multi_label"` or `"regression"`.
        most: Limit of the number of folds.
        seed: The same seed draws the same folds.

    Returns:
        Folds; none where there are not enough groups for two.

    Example:
        >>> labels, groups = np.array([0, 0, 1, 1, 1, 1]), np.array([0, 1, 2, 2, 3, 3])
        >>> split = Split(examples=np.array(list("abcdef"), object), labels=labels, groups=groups)
        >>> [train.tolist() + [held.tolist()] for train, held in draw_folds(split, "classification", 5, seed=0)]
        [[1, 4, 5, [0, 2, 3]], [0, 2, 3, [1, 4, 5]]]
    """
    for count in range(min(most, max_folds(split, task)), 1, -1):
        folds = _draw_folds(split, task, count, seed)
        classes = np.unique(split.labels) if task == "classification" else ()
        if all(len(np.unique(split.labels[train])) >= len(classes) for train, _ in folds):
            return folds
    return []


def max_folds(split: Split, task: str) -> int:
    """The number of groups of the smallest class, or, of other tasks, of all rows that are not derived."""
    groups, originals = _groups_of(split), np.flatnonzero(~derived_rows(split))
    if task != "classification" or not len(originals):
        return len(np.unique(groups[originals]))
    pairs = np.unique(np.stack([split.labels, groups]), axis=1)
    classes, counts = np.unique(pairs[0], return_counts=True)
    return int(counts[np.isin(classes, split.labels[originals])].min())


def _draw_folds(split: Split, task: str, count: int, seed: int) -> list[Fold]:
    groups, originals = _groups_of(split), np.flatnonzero(~derived_rows(split))
    _, strata = np.unique(strata_of(split.labels[originals], task), return_inverse=True)
    if are_trivial(groups[originals]):
        places = _deal(strata, count, seed)
    else:
        targets = np.tile(np.bincount(strata) / count, (count, 1))
        places = _place_groups(strata, groups[originals], targets, seed)
    measured = [originals[places == fold] for fold in range(count)]
    return [(np.flatnonzero(~np.isin(groups, groups[rows])), rows) for rows in measured if len(rows)]


def _groups_of(split: Split) -> np.ndarray:
    return np.arange(len(split)) if split.groups is None else split.groups


def _deal(strata: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each example: every stratum is dealt out evenly, and so are all examples."""
    order = np.random.default_rng(seed).permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    places = np.empty(len(strata), np.int64)
    places[order] = np.arange(len(strata)) % folds
    return places


def _place_groups(strata: np.ndarray, groups: np.ndarray, targets: np.ndarray, seed: int) -> np.ndarray:
    """The part of each example, where whole groups go to parts: large ones first, each where it is missed most.

    What is kept small is the squared distance from the targets, as in scikit-learn's `StratifiedGroupKFold`, which has
    no parts of different sizes and may leave a class out of a part that could have it.

    Args:
        strata: Stratum of each example, from 0.
        groups: Group of each example.
        targets: Examples of each stratum that each part should have, `(parts, strata)`.
        seed: Seed of the order of groups of one size.

    Returns:
        Integers `(n,)`.
    """
    _, groups = np.unique(groups, return_inverse=True)
    targets = np.concatenate(
        [targets, targets.sum(axis=1, keepdims=True)], axis=1
    )  # the last column is of all examples
    held = _examples_of_groups(strata, groups, targets.shape[1] - 1)
    scale = 1.0 / np.maximum(targets.sum(axis=0), 1)
    filled = np.where(targets[:, -1:] > 0, 0.0, np.inf) + np.zeros_like(targets)  # nothing goes where nothing should
    places = np.empty(len(held), np.int64)
    order = np.random.default_rng(seed).permutation(len(held))
    for group in order[np.argsort([-held[i][1][-1] for i in order], kind="stable")]:
        columns, counts = held[group]
        worse = (2 * (filled[:, columns] - targets[:, columns]) + counts) * counts * scale[columns]
        places[group] = worse.sum(axis=1).argmin()
        filled[places[group], columns] += counts
    _fill_gaps(places, held, filled, targets)
    return places[groups]


_Held = list[tuple[np.ndarray, np.ndarray]]


def _examples_of_groups(strata: np.ndarray, groups: np.ndarray, num_strata: int) -> _Held:
    """Of each group its strata, with all examples as one more, and how many examples it has of each."""
    pairs, counts = np.unique(groups * num_strata + strata, return_counts=True)
    ends = np.flatnonzero(np.diff(pairs // num_strata)) + 1
    columns = np.split(pairs % num_strata, ends)
    return [
        (np.append(strata_here, num_strata), np.append(counts_here, counts_here.sum()))
        for strata_here, counts_here in zip(columns, np.split(counts, ends), strict=True)
    ]


def _fill_gaps(places: np.ndarray, held: _Held, filled: np.ndarray, targets: np.ndarray) -> None:
    """Move the smallest group that can be spared to each part that lacks a stratum, or has nothing."""
    lacking = (filled == 0) & (targets > 0)
    for column in np.flatnonzero(lacking.any(axis=0))[::-1]:  # parts that have nothing come first
        holders = [group for group, (columns, _) in enumerate(held) if column in columns]
        for part in np.flatnonzero((filled[:, column] == 0) & lacking[:, column]):
            spared = [group for group in holders if np.all(filled[places[group], held[group][0]] > held[group][1])]
            if spared:
                group = min(spared, key=lambda i: held[i][1][-1])
                columns, counts = held[group]
                filled[places[group], columns] -= counts
                filled[part, columns] += counts
                places[group] = part


def _preferred(split: Split, seed: int) -> np.ndarray:
    """A random order of all rows that begins with one row of each group, and ends with the derived ones."""
    order = np.random.default_rng(seed).permutation(len(split))
    derived = derived_rows(split)
    if split.groups is None and not derived.any():
        return order
    order = order[np.argsort(derived[order], kind="stable")]
    rounds = _ranks_within(_groups_of(split), order)
    return order[np.lexsort((rounds[order], derived[order]))]


def _allot(sizes: np.ndarray, share: float, keep: np.ndarray) -> np.ndarray:
    """How many of each stratum a part takes: its share to the nearest whole total, at least 1, leaving `keep`."""
    if not share:
        return np.zeros_like(sizes)
    exact = sizes * share
    room = np.maximum(sizes - keep, 0)
    counts = np.minimum(np.maximum(np.floor(exact).astype(sizes.dtype), 1), room)
    num_missing = max(0, round(share * int(sizes.sum())) - int(counts.sum()))
    by_remainder = np.argsort(counts - exact, kind="stable")
    counts[by_remainder[(counts < room)[by_remainder]][:num_missing]] += 1
    return counts


def _ranks_within(strata: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The place of each example among those of its own stratum in an order of all, from 0."""
    order = order[np.argsort(strata[order], kind="stable")]
    _, starts, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    ranks = np.empty(len(strata), np.int64)
    ranks[order] = np.arange(len(strata)) - np.repeat(starts, sizes)
    return ranks
