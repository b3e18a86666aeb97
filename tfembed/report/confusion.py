"""Which classes a model takes for which, and how well it does on each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Examples of one class that were taken for another.

    Attributes:
        truth: Their class.
        said: What they were taken for.
        count: How many.
        share: Of the examples of their class.
    """

    truth: str
    said: str
    count: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OfClass:
    """How well a class is found.

    Attributes:
        name: The class.
        count: Its examples.
        precision: The share of what was said to be of it that is.
        recall: The share of it that was found.
        f1: Their harmonic mean.
    """

    name: str
    count: int
    precision: float
    recall: float
    f1: float


def count_confusions(labels: np.ndarray, outputs: np.ndarray) -> list[list[int]]:
    """Examples by true class (rows) and predicted class (columns).

    Example:
        >>> count_confusions(np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]))
        [[1, 0], [1, 1]]
    """
    num_classes = outputs.shape[1]
    found: list[list[int]] = confusion_matrix(labels, outputs.argmax(axis=1), labels=range(num_classes)).tolist()
    return found


def confused_pairs(counts: Sequence[Sequence[int]], names: Sequence[str]) -> tuple[Pair, ...]:
    """The pairs of classes that are confused, most often first.

    Example:
        >>> [(pair.truth, pair.said, pair.count) for pair in confused_pairs([[3, 0], [1, 2]], ["a", "b"])]
        [('b', 'a', 1)]
    """
    pairs = [
        Pair(truth=names[i], said=names[j], count=count, share=count / sum(row))
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return tuple(sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.truth, pair.said)))


def measure_classes(task: str, labels: np.ndarray, outputs: np.ndarray, names: Sequence[str]) -> tuple[OfClass, ...]:
    """Precision and recall of each class, the worst found first."""
    if task == "multi_label":
        measured = precision_recall_fscore_support(labels > 0.5, outputs >= 0.5, zero_division=0)
    else:
        places = range(len(names))
        measured = precision_recall_fscore_support(labels, outputs.argmax(axis=1), labels=places, zero_division=0)
    precision, recall, f1, counts = (column.tolist() for column in measured)
    rows = [
        OfClass(name=name, count=int(counts[i]), precision=precision[i], recall=recall[i], f1=f1[i])
        for i, name in enumerate(names)
    ]
    return tuple(sorted(rows, key=lambda row: (row.f1, row.name)))
