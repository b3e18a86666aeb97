"""When a trial cannot win any more: the median rule, and what an oracle is told of a trial that it stopped."""

from collections.abc import Mapping, Sequence
from statistics import fmean, median

from tfembed.search.plan import Plan
from tfembed.search.trial import Trial

_GRACE = 2  # epochs that every trial may have
_FEWEST = 3  # trials to compare with


class Stopped(Exception):
    """A trial was stopped, since it could not win any more."""


class Diverged(ValueError):
    """A trial's loss is no number any more."""


def why_stop(curve: Sequence[float], others: Sequence[Sequence[float]]) -> str | None:
    """Say why a trial should stop, by the median rule of Vizier, or None if it should go on.

    A trial is stopped after an epoch if its lowest validation loss so far is above the median of what the others had
    reached by then. The first 2 epochs are free, and it takes 3 others to compare with: those that trained for as many
    epochs at least.

    Args:
        curve: Validation losses of the trial on one fold, epoch by epoch, over all its phases.
        others: Those of trials that came before, on the same fold with the same seed.

    Example:
        >>> others = [[1.0, 0.9], [1.1, 0.8], [1.0, 0.7]]
        >>> why_stop([1.2, 1.0], others)
        'after 2 epochs its validation loss was 1.0000 at best, the median of 3 other trials 0.8000'
        >>> why_stop([1.2, 0.75], others) is None
        True
    """
    done = len(curve)
    if done < _GRACE:
        return None
    reached = [min(other[:done]) for other in others if len(other) >= done]
    if len(reached) < _FEWEST or not min(curve) > median(reached):
        return None
    return (
        f"after {done} epochs its validation loss was {min(curve):.4f} at best, the median of {len(reached)} other "
        f"trials {median(reached):.4f}"
    )


def comparable(curve: Sequence[float], others: Sequence[Sequence[float]]) -> Sequence[float]:
    """Cut the curve of a finished fold after the last epoch that enough other trials reached.

    Example:
        >>> comparable([1.0, 0.9, 0.8], [[1.0], [1.0, 0.9], [1.0, 0.9], [1.0, 0.9, 0.8]])
        [1.0, 0.9]
    """
    longest = sorted(map(len, others), reverse=True)
    return curve[: longest[_FEWEST - 1]] if len(longest) >= _FEWEST else []


def on_several_folds(reasons: Sequence[str | None], num_folds: int) -> str | None:
    """Say why a trial should stop, by what the median rule says of each fold, or None if it should go on.

    One fold is little to go by: with several, the rule must hold on the fold that is running, on another one, and on
    more than half of those that were begun.

    Args:
        reasons: Of each fold that was begun, why the trial should stop there, or None; the last fold is running.
        num_folds: Number of folds that the trial has in all.

    Example:
        >>> on_several_folds(["it lags"], 5) is None
        True
        >>> on_several_folds(["it lagged", None, "it lags"], 5)
        'on folds 1 and 3 of 5: it lags'
    """
    last = reasons[-1]
    if last is None or num_folds == 1:
        return last
    lagging = [str(fold) for fold, reason in enumerate(reasons, 1) if reason is not None]
    if len(lagging) == 1 or 2 * len(lagging) <= len(reasons):
        return None
    return f"on folds {', '.join(lagging[:-1])} and {lagging[-1]} of {num_folds}: {last}"


def expected_metrics(trial: Trial, others: Sequence[Trial], plan: Plan) -> dict[str, float]:
    """Estimate what a stopped trial would have come to; return the metrics of any other trial as they are.

    The score on a few folds says little of all folds, for some folds are easier than others. So each completed trial
    gives an estimate: its own score, plus how much better the stopped trial did on the same folds. The result is the
    median of these, but at most the median score of the completed trials, since the stopped one lagged behind it.

    Args:
        trial: A trial of any state.
        others: Trials that came before.
        plan: How trials are judged.

    Returns:
        The metrics of the trial with the objective replaced.
    """
    completed = [other for other in others if other.state == "completed" and other.candidate is not None]
    if trial.state != "stopped" or not completed:
        return trial.metrics
    own, scores = _by_fold(trial, plan), [plan.better(other.metrics) for other in completed]
    gains = [fmean(own[place] - _by_fold(other, plan)[place] for place in own) for other in completed]
    estimate = median(score + gain for score, gain in zip(scores, gains, strict=True))
    score = min(estimate, median(scores))
    return trial.metrics | {str(plan.objective): score if plan.direction == "max" else -score}


def _by_fold(trial: Trial, plan: Plan) -> Mapping[tuple[int, int], float]:
    """Score of each seed and fold, more is better."""
    return {(run["seed"], run["fold"]): plan.better(run["metrics"]) for run in trial.executions}
