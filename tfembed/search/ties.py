"""Ties: trials whose difference is within the noise, by a paired test on the same validation examples."""

from collections.abc import Mapping

import numpy as np

_LEVEL = 0.05
_DRAWS = 999


def is_tie(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], objective: str) -> bool:
    """Check whether a paired test, at the level 0.05, cannot tell two trials from each other.

    For accuracy it is McNemar's exact test on the examples that only one of them gets right. For other objectives it is
    a permutation test on the differences between their `errors`, with 999 random exchanges.

    Args:
        one: What a trial says of validation examples; see `Study.predictions`.
        other: Likewise of another trial.
        objective: The metric that trials are judged by.

    Returns:
        False where there are no predictions of the same examples, so that nothing can be said.

    Example:
        >>> rows, labels = np.arange(8), np.zeros(8, int)
        >>> right = {"rows": rows, "labels": labels, "outputs": np.tile([0.9, 0.1], (8, 1))}
        >>> wrong = right | {"outputs": np.tile([0.1, 0.9], (8, 1))}
        >>> is_tie(right, right, "accuracy"), is_tie(right, wrong, "accuracy")
        (True, False)
    """
    if not one or not other or not np.array_equal(one["rows"], other["rows"]):
        return False
    differences = errors(one, objective) - errors(other, objective)
    return (_mcnemar(differences) if objective == "accuracy" else _permutation(differences)) > _LEVEL


def errors(said: Mapping[str, np.ndarray], objective: str) -> np.ndarray:
    """Measure how wrong a trial is on each example, in the way that moves the objective.

    For accuracy that is 1 or 0; for macro F1 the same, divided by the number of examples of the class; for micro F1 the
    number of wrong labels; for the loss the cross-entropy; for mean absolute error the absolute error; for root mean
    squared error and r2 its square.

    Args:
        said: What a trial says of n validation examples; see `Study.predictions`.
        objective: The metric that trials are judged by.

    Returns:
        float64 `(n,)`.
    """
    labels, outputs = said["labels"], said["outputs"].astype("float64")
    if objective in ("mean_absolute_error", "root_mean_squared_error", "r2"):
        off = np.abs(outputs[:, 0] - labels)
        return off if objective == "mean_absolute_error" else off**2
    if labels.ndim > 1:
        wrong = (outputs >= 0.5) != (labels > 0.5)
        if objective == "accuracy":
            return wrong.any(axis=1).astype("float64")
        if objective == "micro_f1":
            return wrong.sum(axis=1).astype("float64")
        return -np.log(np.clip(np.where(labels > 0.5, outputs, 1 - outputs), 1e-7, 1)).mean(axis=1)
    if objective == "loss":
        return -np.log(np.clip(outputs[np.arange(len(labels)), labels], 1e-7, 1))
    wrong = (outputs.argmax(axis=1) != labels).astype("float64")
    return wrong / np.bincount(labels)[labels] if objective == "macro_f1" else wrong


def _mcnemar(differences: np.ndarray) -> float:
    """P-value of McNemar's exact test, of differences that are -1, 0 or 1."""
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    discordant = int(np.count_nonzero(differences))
    return float(binomtest(int((differences > 0).sum()), discordant).pvalue) if discordant else 1.0


def _permutation(differences: np.ndarray) -> float:
    """P-value of a difference in mean, among those that come of exchanging the two trials on random examples."""
    rng, total = np.random.default_rng(0), float(differences.sum())
    drawn = [2 * float(differences @ rng.integers(0, 2, len(differences), np.int8)) - total for _ in range(_DRAWS)]
    as_far = np.abs(drawn) >= abs(total) - 1e-9 * float(np.abs(differences).sum())
    return float(1 + as_far.sum()) / (1 + _DRAWS)
