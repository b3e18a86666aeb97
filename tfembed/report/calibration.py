"""Calibration: whether a model is right as often as it says."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Decisions whose confidence lies between two values.

    Attributes:
        low: The lower end.
        high: The upper end.
        count: How many decisions there are.
        confidence: Their mean confidence.
        accuracy: The share of them that is right.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A reliability diagram in numbers.

    Attributes:
        bins: Those that hold a decision.
        error: The expected calibration error: the mean distance of confidence and accuracy
            (https://arxiv.org/abs/1706.04599).
        confidence: The mean confidence of all decisions.
        accuracy: The share of all that is right.
    """

    bins: tuple[Bin, ...]
    error: float
    confidence: float
    accuracy: float


def calibrate(task: str, labels: np.ndarray, outputs: np.ndarray, num_bins: int = 10) -> Calibration:
    """Compare confidence and accuracy.

    Args:
        task: `"classification"`: a decision is the likeliest class. `"multi_label"`: each label of each example is one.
        labels: As in `Split.labels`.
        outputs: Probabilities `(n, num_classes)`.
        num_bins: Of equal width.

    Example:
        >>> found = calibrate("classification", np.array([0, 1]), np.array([[0.9, 0.1], [0.7, 0.3]]))
        >>> [(bin.low, bin.accuracy) for bin in found.bins], round(found.error, 3)
        ([(0.6, 0.0), (0.8, 1.0)], 0.4)
    """
    if task == "multi_label":
        confidence = np.maximum(outputs, 1 - outputs).ravel()
        right = ((outputs >= 0.5) == (labels > 0.5)).ravel()
    else:
        confidence, right = outputs.max(axis=1), outputs.argmax(axis=1) == labels
    places = np.clip(np.ceil(np.round(confidence * num_bins, 6)).astype(int) - 1, 0, num_bins - 1)
    bins, error = [], 0.0
    for i in np.unique(places):
        inside = places == i
        said, true = float(confidence[inside].mean()), float(right[inside].mean())
        low, high = int(i) / num_bins, (int(i) + 1) / num_bins
        bins.append(Bin(low=low, high=high, count=int(inside.sum()), confidence=said, accuracy=true))
        error += abs(said - true) * float(inside.mean())
    return Calibration(bins=tuple(bins), error=error, confidence=float(confidence.mean()), accuracy=float(right.mean()))
