"""Rejection: a score below which an input is taken for none of the classes, and what it costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfembed.intervals import wilson_interval
from tfembed.predict import parts_of, predict

FEW = 50
"""Examples below which the costs of a threshold are hardly known."""

_MARGIN = 1e-4  # below the lowest score; far above what rounding changes

_NOTHING: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionCost:
    """The cost of a threshold of rejection, measured on examples.

    Attributes:
        threshold: Score below which an input is rejected.
        refused: Number of in-scope examples that are rejected, which is a mistake.
        in_scope: Number of all in-scope examples.
        caught: Number of out-of-scope examples that are rejected, which is right.
        out_of_scope: Number of all out-of-scope examples.

    Example:
        >>> print(RejectionCost(threshold=0.4, refused=2, in_scope=40, caught=0, out_of_scope=0))
        below a score of 0.4000: refuses 5.0 % of in-scope inputs (2 of 40; 1 to 17)
    """

    threshold: float
    refused: int
    in_scope: int
    caught: int
    out_of_scope: int

    def __str__(self) -> str:
        text = f"below a score of {self.threshold:.4f}: {_share('refuses', 'in-scope', self.refused, self.in_scope)}"
        if self.out_of_scope:
            text += f", {_share('catches', 'out-of-scope', self.caught, self.out_of_scope)}"
        return text


def _share(verb: str, scope: str, count: int, total: int) -> str:
    low, high = wilson_interval(count, total)
    interval = f"({count:,} of {total:,}; {100 * low:.0f} to {100 * high:.0f})"
    return f"{verb} {100 * count / total:.1f} % of {scope} inputs {interval}"


def rejection_threshold(
    model: keras.Model,
    in_scope: Sequence[Any] | np.ndarray,
    out_of_scope: Sequence[Any] | np.ndarray = _NOTHING,
    *,
    keep_in_scope: float | None = None,
) -> float:
    """Choose the score below which an input is taken for none of the classes; for `export(reject_below=...)`.

    With `keep_in_scope`, it lies below the highest score that at least this share of the in-scope examples reaches,
    half way to the next lower score, if there is one. Without, it is the score that tells in-scope from out-of-scope
    best: the share of in-scope examples at or above it plus the share of out-of-scope examples below it is largest.
    Calibrate first, since the scores move with the temperature.

    Args:
        model: A classifier from one of the builders.
        in_scope: Examples of its classes, `(n,)` or pixels as `predict` takes them, that the model was not trained on:
            `data.validation.examples`.
        out_of_scope: Examples of none of the classes, likewise. Not needed with `keep_in_scope`.
        keep_in_scope: Share of the in-scope examples to keep, in (0, 1], such as 0.95.

    Returns:
        A score in [0, 1].

    Raises:
        ValueError: If the model has no classes that exclude each other, or there are not enough examples.

    Example:
        >>> import tfembed as te
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
        >>> images = np.zeros([2, 8, 8], "uint8")
        >>> 0 <= te.rejection_threshold(model, images, keep_in_scope=0.95) <= 1
        True
    """
    if keep_in_scope is not None and not 0 < keep_in_scope <= 1:
        raise ValueError(f"keep_in_scope must be in (0, 1], but was {keep_in_scope}.")
    if not len(in_scope) or not (len(out_of_scope) or keep_in_scope):
        raise ValueError(
            f"There are {len(in_scope)} in-scope and {len(out_of_scope)} out-of-scope examples: expected some of each, "
            "or keep_in_scope in place of the latter."
        )
    inside, outside = (_scores(model, examples) for examples in (in_scope, out_of_scope))
    scores = np.unique(np.concatenate([inside, outside]))
    if keep_in_scope is not None:
        return _below(float(inside[len(inside) - math.ceil(keep_in_scope * len(inside) - 1e-9)]), scores)
    candidates = np.concatenate([[0.0], (scores[:-1] + scores[1:]) / 2, [1.0]])
    kept = 1 - np.searchsorted(inside, candidates) / len(inside)
    rejected = np.searchsorted(outside, candidates) / len(outside)
    return float(candidates[np.argmax(kept + rejected)])


def _below(score: float, scores: np.ndarray) -> float:
    """A threshold that a score reaches also where a server rounds it otherwise, and that no lower score reaches."""
    lower = scores[scores < score]
    return float((lower[-1] + score) / 2) if len(lower) else max(0.0, score - _MARGIN)


def measure_rejection(
    model: keras.Model,
    threshold: float,
    in_scope: Sequence[Any] | np.ndarray,
    out_of_scope: Sequence[Any] | np.ndarray = _NOTHING,
) -> RejectionCost:
    """Measure what a threshold costs. On the examples that it was chosen by, it looks somewhat better than it is.

    Args:
        model: A classifier from one of the builders.
        threshold: Score below which an input is rejected, in [0, 1].
        in_scope: Examples of its classes, `(n,)` or pixels, as in `rejection_threshold`; at least one.
        out_of_scope: Examples of none of the classes, likewise.

    Raises:
        ValueError: If the model has no classes that exclude each other, or there is no in-scope example.

    Example:
        >>> import tfembed as te
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])
        >>> te.measure_rejection(model, 1.0, np.zeros([2, 8, 8], "uint8")).refused
        2
    """
    if not len(in_scope):
        raise ValueError("There is no in-scope example: pass some that the model was not trained on.")
    inside, outside = (_scores(model, examples) for examples in (in_scope, out_of_scope))
    return RejectionCost(
        threshold=threshold,
        refused=int(np.searchsorted(inside, threshold)),
        in_scope=len(inside),
        caught=int(np.searchsorted(outside, threshold)),
        out_of_scope=len(outside),
    )


def _scores(model: keras.Model, examples: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Return the score of the likeliest class of each example, in ascending order."""
    task = parts_of(model).task
    if task != "classification":
        raise ValueError(f"The model is for a {task}: expected a classifier of classes that exclude each other.")
    if not len(examples):
        return np.zeros(0, np.float32)
    return np.sort(predict(model, examples).probabilities.max(axis=1))
