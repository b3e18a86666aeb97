"""One part of a data set, and how its classes are balanced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """One part of a data set: examples, and a label for each. Those of a `Dataset` are read-only.

    Attributes:
        examples: Texts, `object (n,)` of `str`. Images, `object (n,)` of `pathlib.Path` or of encoded `bytes`, or
            `uint8` of shape `(n, height, width)` or `(n, height, width, 3)`.
        labels: Classes, `int32 (n,)`; several labels, multi-hot `float32 (n, num_classes)`; targets, `float32 (n,)`.
        groups: Group of each row, `int64 (n,)`: rows of one group never straddle splits or folds. None if every row is
            a group of its own. The numbers hold for all splits of a `Dataset`.
        is_derived: Rows that are made from others or from knowledge, augmented copies and descriptions of classes,
            `bool (n,)`: they are learned from, and never measured on. None if there are none.

    Raises:
        ValueError: If there is not one label, group, or mark for each example.

    Example:
        >>> split = Split(examples=np.array(["yes", "no"], object), labels=np.array([1, 0], np.int32))
        >>> len(split), split.subset([1]).examples.tolist()
        (2, ['no'])
    """

    examples: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None
    is_derived: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "groups", "is_derived"):
            values = getattr(self, name)
            if values is not None and len(self.examples) != len(values):
                raise ValueError(f"{len(self.examples)} examples have {len(values)} {name}: expected one for each.")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Split":
        """The examples at these positions, in their order; a mask of booleans also works."""
        chosen = np.asarray(indices)
        if chosen.dtype != bool:
            chosen = chosen.astype(np.intp)
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return _read_only({name: None if values is None else values[chosen] for name, values in columns.items()})


_COLUMNS = ("examples", "labels", "groups", "is_derived")


def _read_only(columns: Mapping[str, Any]) -> Split:
    for values in columns.values():
        if values is not None:
            values.flags.writeable = False
    return Split(**columns)


def number_groups(splits: Sequence[Split]) -> tuple[Split, ...]:
    """The same splits, all with groups: the rows of a split without any get numbers that no other row has.

    Example:
        >>> split = Split(examples=np.array(["yes", "no"], object), labels=np.array([1, 0]), groups=np.array([4, 4]))
        >>> [each.groups.tolist() for each in number_groups([split, replace(split, groups=None)])]
        [[4, 4], [5, 6]]
    """
    taken = [split.groups.max() for split in splits if split.groups is not None and len(split)]
    first, numbered = 1 + int(max(taken, default=-1)), []
    for split in splits:
        if split.groups is None:
            split = replace(split, groups=np.arange(first, first + len(split)))
            first += len(split)
        numbered.append(split)
    return tuple(numbered)


def concatenate_splits(splits: Sequence[Split]) -> Split:
    """One split after the other as one, with their groups and marks of derived rows.

    Example:
        >>> split = Split(examples=np.array(["yes", "no"], object), labels=np.array([1, 0]))
        >>> derived = replace(split, is_derived=np.array([True, True]))
        >>> concatenate_splits([split, derived]).is_derived.tolist()
        [False, False, True, True]
    """
    if any(split.groups is not None for split in splits):
        splits = number_groups(splits)
    columns: dict[str, Any] = dict.fromkeys(_COLUMNS)
    if any(split.is_derived is not None for split in splits):
        columns["is_derived"] = np.concatenate([derived_rows(split) for split in splits])
    for name in ("examples", "labels", "groups"):
        if all(getattr(split, name) is not None for split in splits):
            columns[name] = np.concatenate([getattr(split, name) for split in splits])
    return _read_only(columns)


def derived_rows(split: Split) -> np.ndarray:
    """Mask of the derived rows, `bool (n,)`, also if there are none."""
    return np.zeros(len(split), bool) if split.is_derived is None else split.is_derived


def class_counts(split: Split, num_classes: int) -> np.ndarray:
    """How many examples each class has, `int64 (num_classes,)`."""
    if split.labels.ndim == 2:
        return split.labels.sum(axis=0).astype(np.int64)
    return np.bincount(split.labels, minlength=num_classes)


def class_weights(split: Split, num_classes: int) -> dict[int, float]:
    """Weights that make every class count the same in a loss: `n / (num_classes * count)`, as `fit` takes them.

    Raises:
        ValueError: If the labels are not classes, or a class has no example.

    Example:
        >>> class_weights(Split(examples=np.array(list("abcd"), object), labels=np.array([0, 0, 0, 1])), 2)
        {0: 0.6666666666666666, 1: 2.0}
    """
    if split.labels.ndim != 1 or not np.issubdtype(split.labels.dtype, np.integer):
        raise ValueError("Class weights need one class for each example: expected the labels of a classification.")
    counts = class_counts(split, num_classes)
    if len(counts) != num_classes or counts.min() == 0:
        raise ValueError(
            f"The {num_classes} classes have {counts.tolist()} examples: expected at least one of each. "
            "Pass the training part, and the number of classes of its data set."
        )
    return {i: len(split) / (num_classes * int(count)) for i, count in enumerate(counts)}
