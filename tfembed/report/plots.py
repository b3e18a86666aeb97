"""The charts of a report: accuracy against cost and depth, learning curves, reliability, targets."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfembed.report.axes import Axis, linear_axis, log_axis
from tfembed.report.calibration import Calibration
from tfembed.report.chart import Chart, Line, Point, front
from tfembed.report.outcome import Outcome
from tfembed.search.leaderboard import Row
from tfembed.search.plan import Plan
from tfembed.search.trial import Trial

_MOST_CURVES = 8
_SHARES = ("accuracy", "macro_f1", "micro_f1")
_MOST_POINTS = 1_000


def words(name: str) -> str:
    """The name of a metric for people.

    Example:
        >>> words("macro_f1")
        'macro F1'
    """
    return name.replace("_", " ").replace("f1", "F1")


def is_share(name: str) -> bool:
    """Whether a metric is shown in percent."""
    return name in _SHARES


def score_axis(plan: Plan, scores: Sequence[float]) -> Axis:
    """The axis of the objective; see `in_the_running`."""
    name = str(plan.objective)
    return linear_axis(f"validation {words(name)}", in_the_running(plan, scores), percent=is_share(name))


def in_the_running(plan: Plan, scores: Sequence[float]) -> list[float]:
    """Scores without those that are so far off that on one axis with them the others could not be told apart.

    What is further from the best than six times the median is left out; it is drawn at the edge.

    Example:
        >>> in_the_running(Plan(task="classification"), [0.1, 0.96, 0.97, 0.98, 0.99])
        [0.96, 0.97, 0.98, 0.99]
    """
    best = max(scores) if plan.direction == "max" else min(scores)
    distances = sorted(abs(best - score) for score in scores)
    most = 6 * max(distances[len(distances) // 2], 0.005 * abs(best))
    return [score for score in scores if abs(best - score) <= most]


def cost_chart(rows: Sequence[Row], plan: Plan, cost: Callable[[Row], float], title: str) -> Chart | None:
    """The objective against a cost, with a staircase through what nothing as cheap beats; None with nothing to show.

    What trains nothing, such as the majority class, is left out; the staircase leaves out what was stopped.
    """
    shown = [row for row in rows if row.score is not None and row.trained_parameters]
    best = unbeaten([row for row in shown if row.state == "completed"], cost)
    if not best:
        return None
    points = tuple(
        Point(
            x=cost(row),
            y=float(row.score or 0.0),
            title=f"{row.rank}. {row.name}",
            series=0 if row in best else 1 if row.rank == 1 else None,
            label=str(row.rank) if row in best or row.rank == 1 else "",
            hollow=row.baseline,
        )
        for row in shown
    )
    return Chart(
        title=f"{plan.objective} against {title}",
        x=log_axis(title, [cost(row) for row in shown]),
        y=score_axis(plan, [point.y for point in points]),
        points=points,
        lines=(Line(places=front([(cost(row), float(row.score or 0.0)) for row in best]), style="dashed"),),
        legend=(
            (0, "nothing as cheap is better"),
            *(() if shown[0] in best else ((1, "the best one"),)),
            (None, "the others; baselines as rings"),
        ),
    )


def unbeaten(rows: Sequence[Row], cost: Callable[[Row], float]) -> list[Row]:
    """The rows that nothing beats which is as cheap: the Pareto front of rank and cost.

    Args:
        rows: Best first.
        cost: Of a row.
    """
    found: list[Row] = []
    for row in rows:
        if not found or (cost(row) < cost(found[-1]) and row.score != found[-1].score):
            found.append(row)
        elif cost(row) < cost(found[-1]):
            found[-1] = row
    return found


def depth_chart(trials: Sequence[Trial], plan: Plan, blocks: Mapping[str, Sequence[Any]]) -> Chart | None:
    """The objective by how many blocks from the top were trained; None where that differs nowhere.

    Args:
        trials: Of any strategy; from scratch does not count.
        plan: What they are judged by.
        blocks: Of each encoder.
    """
    measured = pretrained(trials)
    found = [(t, depth_of(t, len(blocks[t.candidate["encoder"]])), kind_of(t)) for t in measured if t.candidate]
    if len({depth for _, depth, _ in found}) < 2:
        return None
    kinds = list(dict.fromkeys(kind for _, _, kind in found))
    score = str(plan.objective)
    points = tuple(
        Point(x=depth, y=t.metrics[score], title=t.name, series=kinds.index(kind), hollow=t.state == "stopped")
        for t, depth, kind in found
    )
    best = best_by_depth(measured, plan, {name: len(each) for name, each in blocks.items()})
    deepest = max(len(each) for each in blocks.values())
    step = -(-deepest // 8)
    ticks = tuple((float(i), str(i)) for i in range(0, deepest + 1, step))
    return Chart(
        title=f"{plan.objective} by depth",
        x=Axis(title="blocks that trained, from the top", lowest=-0.3, highest=deepest + 0.3, ticks=ticks),
        y=score_axis(plan, [point.y for point in points]),
        points=points,
        lines=(Line(places=tuple(sorted(best.items())), series=None, style="dashed"),),
        legend=tuple(enumerate(kinds)),
    )


def pretrained(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with a score and a model that did not begin from scratch."""
    return [t for t in trials if t.metrics and t.candidate is not None and t.candidate["pretrained"]]


def best_by_depth(trials: Sequence[Trial], plan: Plan, num_blocks: Mapping[str, int]) -> dict[int, float]:
    """The best score of each depth, over trials that ran to their end and trained whole blocks, or the head alone."""
    best: dict[int, float] = {}
    score = str(plan.objective)
    whole = [t for t in trials if t.state == "completed" and t.candidate and not is_partial(t)]
    for trial in sorted(whole, key=lambda t: plan.better(t.metrics)):
        best[depth_of(trial, num_blocks[(trial.candidate or {})["encoder"]])] = trial.metrics[score]
    return best


def depth_of(trial: Trial, num_blocks: int) -> int:
    """How many blocks from the top down to the lowest one that trained in any phase."""
    phases = trial.executions[0]["phases"] if trial.executions else []
    return num_blocks - min((phase["num_frozen"] for phase in phases), default=num_blocks)


def is_partial(trial: Trial) -> bool:
    """Whether a trial trained only a part of each block: its biases, or additions of a low rank."""
    phases = (trial.candidate or {})["strategy"]["phases"]
    return any(isinstance(phase["unfreeze"], str) or phase["lora_rank"] for phase in phases)


def kind_of(trial: Trial) -> str:
    """The kind of a trial's strategy: its name without numbers."""
    name: str = (trial.candidate or {})["strategy"]["name"]
    return name.split("(")[0]


def curves_chart(plan: Plan, rows: Sequence[Row], trials: Mapping[str, Trial]) -> Chart | None:
    """Validation losses, epoch by epoch, of the best trials that have some; of regressions in standardized units."""
    found = [(row, trials[row.key].curve) for row in rows if trials[row.key].curve][:_MOST_CURVES]
    if not found:
        return None
    lines = []
    for i, (row, curve) in enumerate(found):
        places = tuple((float(epoch), loss) for epoch, loss in enumerate(curve, 1))
        lines.append(Line(places=places, title=f"{row.rank}. {row.name}", series=i))
    measured = "validation loss" if plan.task != "regression" else "validation loss, targets standardized"
    longest = max(len(curve) for _, curve in found)
    step = max(1, -(-longest // 8))
    ticks = tuple((float(i), str(i)) for i in range(1, longest + 1, step))
    return Chart(
        title="validation loss by epoch",
        x=Axis(title="epoch, over all phases", lowest=0.5, highest=longest + 0.5, ticks=ticks),
        y=linear_axis(measured, _without_outliers([loss for _, curve in found for loss in curve])),
        points=tuple(Point(x=x, y=y, title=line.title, series=line.series) for line in lines for x, y in line.places),
        lines=tuple(lines),
        legend=tuple((i, f"{row.rank}. {row.name}") for i, (row, _) in enumerate(found)),
    )


def _without_outliers(losses: list[float]) -> list[float]:
    """Losses up to four times the median: one that diverges would press the others together."""
    most = 4 * sorted(losses)[len(losses) // 2]
    return [loss for loss in losses if loss <= most]


def reliability_chart(found: Calibration) -> Chart:
    """Accuracy by confidence."""
    marks = tuple((i / 5, f"{20 * i} %") for i in range(6))
    lowest = min(found.bins[0].low, 0.8)
    marks = tuple(mark for mark in marks if mark[0] >= lowest - 1e-9) if lowest > 0 else marks
    return Chart(
        title="accuracy by confidence",
        x=Axis(title="confidence", lowest=lowest, highest=1.0, ticks=marks),
        y=Axis(
            title="share that is right", lowest=0.0, highest=1.0, ticks=tuple((i / 5, f"{20 * i} %") for i in range(6))
        ),
        bars=tuple(
            (b.low, b.high, b.accuracy, _opacity(b.count), f"{b.count:,} decisions, {b.accuracy:.0%} right")
            for b in found.bins
        ),
        lines=(Line(places=((lowest, lowest), (1.0, 1.0)), series=None, style="dashed"),),
    )


def _opacity(count: int) -> float:
    """Few decisions say little: they are drawn pale.

    Example:
        >>> _opacity(1), _opacity(1000)
        (0.22, 0.9)
    """
    return min(0.9, round(0.22 + 0.32 * math.log10(count), 2))


def targets_chart(outcome: Outcome) -> Chart:
    """What was said against what is true, for targets."""
    said, true = outcome.outputs[:_MOST_POINTS, 0].tolist(), outcome.labels[:_MOST_POINTS].tolist()
    both = linear_axis("true", [*said, *true])
    ends = (both.lowest, both.highest)
    return Chart(
        title="said against true",
        x=both,
        y=Axis(title="said", lowest=both.lowest, highest=both.highest, ticks=both.ticks),
        points=tuple(Point(x=x, y=y, title=f"true {x:.4g}, said {y:.4g}") for x, y in zip(true, said, strict=True)),
        lines=(Line(places=tuple((each, each) for each in ends), series=None, style="dashed"),),
    )
