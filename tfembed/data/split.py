"""One part of a data set, and how its classes are balanced."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """One part of a data set: examples, and a label for each. Those of a `Dataset` are read-only.

    Attributes:
        examples: Texts, `object (n,)` of `str`. Images, `object (n,)` of `pathlib.Path` or of encoded `bytes`, or
            `uint8` of shape `(n, height, width)` or `(n, height, width, 3)`.
        labels: Classes, `int32 (n,)`; several labels, multi-hot `float32 (n, num_classes)`; targets, `float32 (n,)`.

    Raises:
        ValueError: If there is not one label for each example.

    Example:
        >>> split = Split(examples=np.array(["yes", "no"], object), labels=np.array([1, 0], np.int32))
        >>> len(split), split.subset([1]).examples.tolist()
        (2, ['no'])
    """

    examples: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if len(self.examples) != len(self.labels):
            raise ValueError(f"{len(self.examples)} examples have {len(self.labels)} labels: expected one for each.")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Split":
        """The examples at these positions, in their order; a mask of booleans also works."""
        chosen = np.asarray(indices)
        if chosen.dtype != bool:
            chosen = chosen.astype(np.intp)
        examples, labels = self.examples[chosen], self.labels[chosen]
        examples.flags.writeable = labels.flags.writeable = False
        return Split(examples=examples, labels=labels)


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
