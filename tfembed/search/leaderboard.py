"""Leaderboard: what all trials came to, best first, which of them nothing beats, and which tie with the best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table

from tfembed.search.plan import Plan
from tfembed.search.ties import is_tie
from tfembed.search.trial import Trial

Predict = Callable[[Trial], Mapping[str, np.ndarray]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the leaderboard.

    Attributes:
        rank: From 1; None for a trial that failed. Stopped trials come after all that ran to their end.
        name: Of the trial.
        baseline: Whether it is there to compare with.
        state: See `Trial`.
        reason: See `Trial`.
        score: The objective, on what was not trained on; for a stopped trial, on the folds that it was begun on.
        spread: Its standard deviation over the seeds; None for one seed.
        trained_parameters: See `Trial`.
        seconds: See `Trial`.
        export_bytes: See `Trial`.
        pareto: Whether no other is as good in score, trained parameters and export size, and better in one of them;
            never so for a trial that did not run to its end.
        key: Of the trial.
        tie: Whether a paired test cannot tell the trial from the best one that has a model; see `is_tie`.
        undone: The phases that were undone; see `Trial`.
    """

    rank: int | None
    name: str
    baseline: bool
    state: str
    reason: str | None
    score: float | None
    spread: float | None
    trained_parameters: int
    seconds: float
    export_bytes: int
    pareto: bool
    key: str
    tie: bool = False
    undone: str = ""


def make_leaderboard(trials: Sequence[Trial], plan: Plan, predictions: Predict | None = None) -> tuple[Row, ...]:
    """Sort trials: those that ran to their end, then those that were stopped, failed ones last.

    Stopped trials have the score of some folds alone, with which the others are not compared.

    Args:
        trials: All of them, baselines included.
        plan: How they are judged.
        predictions: What a trial says of validation examples, as `Study.predictions`; without it no ties are found.
    """
    completed, stopped = (
        sorted((t for t in trials if t.state == state), key=lambda trial: ranking(trial, plan))
        for state in ("completed", "stopped")
    )
    failed = [t for t in trials if t.state == "failed"]
    costs = {t.key: (-_score(t, plan), t.trained_parameters, t.export_bytes) for t in completed}
    ties = set() if predictions is None else _ties(completed, plan, predictions)
    return tuple(
        Row(
            rank=rank,
            name=trial.name,
            baseline=trial.baseline,
            state=trial.state,
            reason=trial.reason,
            score=trial.metrics.get(str(plan.objective)),
            spread=trial.spread.get(str(plan.objective)),
            trained_parameters=trial.trained_parameters,
            seconds=trial.seconds,
            export_bytes=trial.export_bytes,
            pareto=trial.key in costs and not any(_beats(other, costs[trial.key]) for other in costs.values()),
            key=trial.key,
            tie=trial.key in ties,
            undone=trial.undone,
        )
        for rank, trial in [*enumerate([*completed, *stopped], 1), *((None, trial) for trial in failed)]
    )


def ranking(trial: Trial, plan: Plan) -> tuple[Any, ...]:
    """Sort key of trials: the best score first; of equal scores the cheapest, so that reruns agree.

    Cheap is what trains fewer values, then what is smaller to export. Seconds differ from run to run, and are left out.
    """
    number = -1 if trial.number is None else trial.number
    return -_score(trial, plan), trial.trained_parameters, trial.export_bytes, number, trial.name, trial.key


def _score(trial: Trial, plan: Plan) -> float:
    """Score of a trial, more is better; means over other folds differ in the last digits alone, which do not count."""
    return float(f"{plan.better(trial.metrics):.9g}")


def _ties(completed: Sequence[Trial], plan: Plan, predictions: Predict) -> set[str]:
    """Keys of the trials that tie with the best one that has a model."""
    eligible = [trial for trial in completed if trial.candidate is not None]
    said = [predictions(trial) for trial in eligible]
    pairs = zip(eligible[1:], said[1:], strict=True)
    return {trial.key for trial, outputs in pairs if is_tie(said[0], outputs, str(plan.objective))}


def ties_in_words(rows: Sequence[Row]) -> str:
    """Say how many trials tie with the best one, and which of all these is the cheapest; empty where none does."""
    tied = [row for row in rows if row.tie]
    if not tied:
        return ""
    best = next(row for row in rows if row.trained_parameters)  # the majority class has no model
    cheapest = min((best, *tied), key=lambda row: (row.trained_parameters, row.export_bytes))
    others = f"{len(tied)} other trial{'s' * (len(tied) != 1)}"
    name = "itself" if cheapest is best else cheapest.name
    return f"tied with {others}; the cheapest is {name}, {cheapest.trained_parameters:,} values trained"


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether one is as good as another in everything, and better in something.

    Example:
        >>> _beats((1, 2), (1, 3)), _beats((1, 2), (1, 2)), _beats((0, 3), (1, 2))
        (True, False, False)
    """
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def leaderboard_table(rows: Sequence[Row], objective: str) -> Table:
    """The leaderboard for people."""
    title = "* nothing else is as good, as small and trains as little; export is the size of its weights"
    if any(row.tie for row in rows):
        title += "; tie: a paired test cannot tell it from the best"
    table = Table(title=title)
    for name in ("", "trial", objective, "trained", "seconds", "export", "remark"):
        # Of what is too long for the screen nothing is left out.
        table.add_column(name, justify="left" if name in ("trial", "remark") else "right", overflow="fold")
    for row in rows:
        spread = "" if row.spread is None else f" ± {row.spread:.4f}"
        remarks = ("tie" * row.tie, "baseline" * row.baseline, row.undone, row.state * (row.state != "completed"))
        remark = "; ".join(filter(None, remarks))
        table.add_row(
            f"{'*' if row.pareto else ''}{row.rank or ''}",
            row.name,
            "" if row.score is None else f"{row.score:.4f}{spread}",
            f"{row.trained_parameters:,}",
            f"{row.seconds:.1f}",
            f"{row.export_bytes / 1e6:.1f} MB",
            f"{remark}: {str(row.reason).split('. ')[0][:80]}" if row.state == "failed" else remark,
        )
    return table
