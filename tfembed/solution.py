"""A linear head solved to its optimum, in place of training it."""

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfembed.data import Split
from tfembed.data.draws import Fold, draw_folds
from tfembed.data.groups import are_trivial
from tfembed.data.split import derived_rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """A linear head at its optimum.

    Attributes:
        kernel: float32 `(dim, num_outputs)`.
        bias: float32 `(num_outputs,)`.
        loss: Of the examples that a fold leaves out, on average: log loss of classes and labels, squared error of
            targets; None where there were too few examples to leave any out.
    """

    kernel: np.ndarray
    bias: np.ndarray
    loss: float | None


def solve_linear(  # noqa: PLR0913 - the rows, what they are, and how to solve
    embeddings: np.ndarray,
    labels: np.ndarray,
    *,
    task: str,
    seed: int,
    balanced: bool,
    groups: np.ndarray | None = None,
    is_derived: np.ndarray | None = None,
) -> Solution:
    """Solve a linear head to its optimum, with the regularisation chosen by cross-validation over the examples.

    Multinomial logistic regression for classes, one logistic regression per label for several labels, ridge regression
    for targets (scikit-learn). Before, the mean of the embeddings is removed, and they are scaled to a root mean square
    length of 1, so that one grid serves them all.

    Args:
        embeddings: `(n, dim)`.
        labels: As in `Split.labels`; an example of each class must be there.
        task: As in `Dataset.task`.
        seed: Of the folds.
        balanced: Whether every class counts the same, however many examples it has.
        groups: As in `Split.groups`: folds hold whole groups.
        is_derived: As in `Split.is_derived`: folds are not measured on derived rows.

    Example:
        >>> solution = solve_linear(
        ...     np.eye(4, dtype="float32"), np.array([0, 0, 1, 1]), task="classification", seed=0, balanced=False
        ... )
        >>> solution.kernel.shape, solution.bias.shape
        ((4, 2), (2,))
    """
    # Neither the intercept nor a turn changes the penalty: the mean may be taken away, and of a few long embeddings the
    # directions that none of them has. The same optimum, found sooner.
    mean = embeddings.mean(axis=0, dtype=np.float64)
    centered = embeddings.astype(np.float64) - mean
    scale = _scale(embeddings, centered)
    x, directions = _few_directions(centered / scale)
    loss: float | None
    rows = Split(examples=x, labels=labels, groups=groups, is_derived=is_derived)
    if task == "regression":
        kernel, bias, loss = _solve_ridge(rows, seed)
    elif task == "multi_label":
        found = [
            _solve_classes(replace(rows, labels=labels[:, i].astype(int)), seed, balanced)
            for i in range(labels.shape[1])
        ]
        kernel = np.stack([kernel[:, 1] - kernel[:, 0] for kernel, _, _ in found], axis=1)
        bias = np.array([bias[1] - bias[0] for _, bias, _ in found])
        losses = [loss for _, _, loss in found if loss is not None]
        loss = float(np.mean(losses)) if losses else None
    else:
        kernel, bias, loss = _solve_classes(rows, seed, balanced)
    kernel = directions @ kernel / scale
    return Solution(kernel=kernel.astype("float32"), bias=(bias - mean @ kernel).astype("float32"), loss=loss)


def _scale(embeddings: np.ndarray, centered: np.ndarray) -> float:
    """Return the root mean square length of centered embeddings; of equal ones, whose spread is rounding, 1 or more."""
    length, spread = (float(np.linalg.norm(x.astype(np.float64))) / np.sqrt(len(x)) for x in (embeddings, centered))
    return spread if spread > _ROUNDING * length else max(length, 1.0)


def _few_directions(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Examples in as few directions as they span at most, and these directions `(dim, few)`."""
    if x.shape[0] >= x.shape[1]:
        return x, np.eye(x.shape[1])
    left, lengths, right = np.linalg.svd(x, full_matrices=False)
    return left * lengths, right.T


# Inverse strengths of the L2 penalty; small sets of normalised embeddings want weak penalties. Weaker ones take longer.
_GRID = (0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
_FIRST = _GRID[2:5]
_ENOUGH_TO_CHOOSE = 1e-4
_ROUNDING = 1e-6  # spread of embeddings, relative to their length, that may come of rounding alone
_MOST_FOLDS = 5


def _solve_classes(rows: Split, seed: int, balanced: bool) -> tuple[np.ndarray, np.ndarray, float | None]:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    x, y = rows.examples, rows.labels
    counts = np.bincount(y, minlength=2)
    if counts.min() == 0 and len(counts) == 2:  # a label that all or none of the examples have
        return np.zeros((x.shape[1], 2)), np.log((counts + 0.5) / (counts.sum() + 1)), None
    options = {"max_iter": 2000, "class_weight": "balanced" if balanced else None}
    folds, strength, loss = _folds_of_classes(rows, seed), 10.0, None
    with threadpool_limits(1):  # the products are small: threads cost more than they give, much more on a busy machine
        if folds:
            losses = _left_out_losses(x.astype(np.float32), y, folds, options)
            strength = min(losses, key=lambda each: losses[each])
            loss = losses[strength]
        model = LogisticRegression(C=strength, tol=1e-6, **options).fit(x, y)
    kernel, bias = model.coef_.T, model.intercept_
    if len(counts) == 2:  # one row of coefficients: those of the second class against the first
        return np.concatenate([-kernel, kernel], axis=1) / 2, np.concatenate([-bias, bias]) / 2, loss
    return kernel, bias, loss


def _folds_of_classes(rows: Split, seed: int) -> list[Fold]:
    """Folds to choose the penalty by, at most 5; none where a class has too few groups."""
    from sklearn.model_selection import StratifiedKFold

    if not _is_plain(rows):
        return draw_folds(rows, "classification", _MOST_FOLDS, seed)
    count = min(_MOST_FOLDS, int(np.bincount(rows.labels).min()))
    if count < 2:
        return []
    return list(StratifiedKFold(count, shuffle=True, random_state=seed).split(rows.examples, rows.labels))


def _is_plain(rows: Split) -> bool:
    """True if every row is a group of its own, and an original."""
    return are_trivial(rows.groups) and not derived_rows(rows).any()


def _left_out_losses(x: np.ndarray, y: np.ndarray, folds: list[Fold], options: dict[str, Any]) -> dict[float, float]:
    """The log loss of left out examples by strength, for the best of the grid and its neighbours at the least."""
    from joblib import parallel_config
    from sklearn.linear_model import LogisticRegressionCV

    losses: dict[float, float] = {}
    wanted: tuple[float, ...] = _FIRST
    with parallel_config("threading", n_jobs=min(len(folds), os.cpu_count() or 1)):  # a fold each
        while wanted:
            chosen = LogisticRegressionCV(
                Cs=wanted,
                l1_ratios=(0,),
                cv=folds,
                scoring=_negative_log_loss,
                use_legacy_attributes=False,
                refit=False,
                tol=_ENOUGH_TO_CHOOSE,
                **options,
            ).fit(x, y)
            losses |= dict(zip(wanted, -chosen.scores_.mean(axis=0).ravel().astype(float), strict=True))
            best = _GRID.index(min(losses, key=lambda each: losses[each]))
            wanted = tuple(each for each in _GRID[max(best - 1, 0) : best + 2] if each not in losses)
    return losses


def _negative_log_loss(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    """Score a fold that may lack a class, which `"neg_log_loss"` refuses in scikit-learn 1.8."""
    from sklearn.metrics import log_loss

    return -float(log_loss(y, model.predict_proba(x), labels=model.classes_))


def _solve_ridge(rows: Split, seed: int) -> tuple[np.ndarray, np.ndarray, float | None]:
    from sklearn.linear_model import Ridge, RidgeCV

    options: dict[str, Any] = {}  # by default each example is left out in turn
    if not _is_plain(rows):
        folds = draw_folds(rows, "regression", _MOST_FOLDS, seed)
        if not folds:
            model = Ridge().fit(rows.examples, rows.labels)
            return model.coef_.reshape(-1, 1), np.atleast_1d(model.intercept_), None
        options = {"cv": folds, "scoring": "neg_mean_squared_error"}
    model = RidgeCV(alphas=np.logspace(-4, 3, 15), **options).fit(rows.examples, rows.labels)
    return model.coef_.reshape(-1, 1), np.atleast_1d(model.intercept_), -float(model.best_score_)
