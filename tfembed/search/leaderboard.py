"""Leaderboard: what all trials came to, best first, with the ones that nothing beats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from tfembed.search.plan import Plan
from tfembed.search.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the leaderboard.

    Attributes:
        rank: From 1; None for a trial that failed.
        name: Of the trial.
        baseline: Whether it is there to compare with.
        state: See `Trial`.
        reason: See `Trial`.
        score: The objective, on what was not trained on.
        spread: Its standard deviation over the seeds; None for one seed.
        trained_parameters: See `Trial`.
        seconds: See `Trial`.
        export_bytes: See `Trial`.
        pareto: Whether no other is as good in score, trained parameters and export size, and better in one of them.
        key: Of the trial.
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


def make_leaderboard(trials: Sequence[Trial], plan: Plan) -> tuple[Row, ...]:
    """Sort trials: those that ran to their end or were stopped by the objective, failed ones last.

    Of trials as good as each other the one with the lower loss stands first, then the one that trained less.
    """
    measured = sorted((t for t in trials if t.state != "failed"), key=lambda trial: ranking(trial, plan))
    failed = [t for t in trials if t.state == "failed"]
    costs = {t.key: (-plan.better(t.metrics), t.trained_parameters, t.export_bytes) for t in measured}
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
        )
        for rank, trial in [*enumerate(measured, 1), *((None, trial) for trial in failed)]
    )


def ranking(trial: Trial, plan: Plan) -> tuple[Any, ...]:
    """What trials are sorted by."""
    loss = trial.metrics.get("loss", trial.metrics.get("root_mean_squared_error", 0.0))
    return -plan.better(trial.metrics), loss, trial.trained_parameters, trial.key


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether one is as good as another in everything, and better in something.

    Example:
        >>> _beats((1, 2), (1, 3)), _beats((1, 2), (1, 2)), _beats((0, 3), (1, 2))
        (True, False, False)
    """
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def leaderboard_table(rows: Sequence[Row], objective: str) -> Table:
    """The leaderboard for people."""
    table = Table(title="* nothing else is as good, as small and trains as little; export is the size of its weights")
    for name in ("", "trial", objective, "trained", "seconds", "export", "remark"):
        # Of what is too long for the screen nothing is left out.
        table.add_column(name, justify="left" if name in ("trial", "remark") else "right", overflow="fold")
    for row in rows:
        spread = "" if row.spread is None else f" ± {row.spread:.4f}"
        remark = "; ".join(each for each in ("baseline" * row.baseline, row.state * (row.state != "completed")) if each)
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
