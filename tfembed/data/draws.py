"""Which example goes where: seeded, stratified draws of indices. Knows nothing of texts or images."""

from itertools import product

import numpy as np


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
    strata: np.ndarray, *, validation: float, test: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the indices of train, validation and test, each with its share of every stratum.

    A stratum large enough has at least one example in each part; what a small one cannot share out stays in train.

    Args:
        strata: Integers `(n,)`.
        validation: Share of all examples, 0 for an empty part.
        test: Share of all examples, 0 for an empty part.
        seed: The same seed draws the same parts.

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
    ranks = _ranks_within(strata, seed)
    is_test = ranks < num_test[strata]
    is_train = ranks >= (num_test + num_validation)[strata]
    return np.flatnonzero(is_train), np.flatnonzero(~is_train & ~is_test), np.flatnonzero(is_test)


def draw_per_class(labels: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Draw n examples of each class; for multi-label rows, until each label is there at least n times.

    The draw for a smaller n is part of the draw for a larger one with the same seed. Call it with labels that have
    at least n examples of each class.

    Args:
        labels: `int32 (n,)`, or multi-hot `float32 (n, num_classes)`.
        n: Examples of each class.
        seed: The same seed draws the same examples.

    Returns:
        Ascending indices.

    Example:
        >>> draw_per_class(np.array([0, 0, 1, 1, 2, 2]), 2, seed=0).tolist()
        [0, 1, 2, 3, 4, 5]
    """
    if labels.ndim == 1:
        return np.flatnonzero(_ranks_within(labels, seed) < n)
    order = np.random.default_rng(seed).permutation(len(labels))
    drawn = np.zeros(len(labels), bool)
    rare_first = np.argsort(labels.sum(axis=0), kind="stable")  # rare labels bring common ones along
    for enough, column in product(range(1, n + 1), rare_first):  # one more of each label: each draw is in the next
        candidates = order[(labels[order, column] > 0) & ~drawn[order]]
        num_missing = enough - int(labels[drawn, column].sum())
        drawn[candidates[: max(0, num_missing)]] = True
    return np.flatnonzero(drawn)


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


def _ranks_within(strata: np.ndarray, seed: int) -> np.ndarray:
    """The place of each example in a random order of its own stratum, from 0."""
    order = np.random.default_rng(seed).permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    _, starts, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    ranks = np.empty(len(strata), np.int64)
    ranks[order] = np.arange(len(strata)) - np.repeat(starts, sizes)
    return ranks
