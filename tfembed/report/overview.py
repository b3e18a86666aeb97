"""The upper part of the page: what won, the leaderboard, and what was searched."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tfembed.report.axes import short
from tfembed.report.plots import best_by_depth, in_the_running, is_share, pretrained, words
from tfembed.report.training import PhaseStory, phase_stories
from tfembed.search.leaderboard import Row
from tfembed.search.plan import Plan
from tfembed.search.study import Study
from tfembed.search.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRow:
    """A row of the leaderboard as it is shown.

    Attributes:
        rank: See `Row`, also for `name`, `score`, `pareto`, `trained_parameters`, `seconds` and `export_bytes`.
        shown: The score with its spread, for people.
        meter: How far the score is from the worst one in the running to the best one, in percent; None without one.
        remark: What one would not expect.
        classes: For the style sheet.
        is_winner: Whether it won.
        phases: What it trained.
    """

    rank: int | None
    name: str
    score: float | None
    pareto: bool
    trained_parameters: int
    seconds: float
    export_bytes: int
    shown: str
    meter: float | None
    remark: str
    classes: str
    is_winner: bool
    phases: tuple[PhaseStory, ...]


def shown_rows(study: Study, winner: Trial | None) -> tuple[ShownRow, ...]:
    """The leaderboard as it is shown."""
    rows, trials = study.leaderboard, {trial.key: trial for trial in study.trials}
    scores = [row.score for row in rows if row.score is not None and row.state == "completed"]
    encoders = study.description["about"]["encoders"]

    def shown(row: Row) -> ShownRow:
        won = winner is not None and row.key == winner.key
        classes = {"winner": won, "baseline": row.baseline, row.state: True}
        return ShownRow(
            rank=row.rank,
            name=row.name,
            score=row.score,
            pareto=row.pareto,
            trained_parameters=row.trained_parameters,
            seconds=row.seconds,
            export_bytes=row.export_bytes,
            shown=show(study.plan, row.score, row.spread),
            meter=_meter(row.score, scores, study.plan),
            remark=_remark(row, won),
            classes=" ".join(name for name, is_so in classes.items() if is_so),
            is_winner=won,
            phases=phase_stories(trials[row.key], encoders),
        )

    return tuple(map(shown, rows))


def show(plan: Plan, score: float | None, spread: float | None = None, metric: str | None = None) -> str:
    """A score for people.

    Example:
        >>> show(Plan(task="classification"), 0.934, 0.004)
        '93.4 % ± 0.4'
    """
    if score is None:
        return ""
    percent = is_share(metric or str(plan.objective))
    text = f"{100 * score:.1f} %" if percent else f"{score:.4g}"
    if spread is None:
        return text
    return f"{text} ± {100 * spread:.1f}" if percent else f"{text} ± {spread:.2g}"


def _meter(score: float | None, scores: Sequence[float], plan: Plan) -> float | None:
    if score is None or not scores:
        return None
    running = in_the_running(plan, scores)
    low, high = min(running), max(running)
    share = (score - low) / (high - low) if high > low else 1.0
    return round(100 * min(1.0, max(0.0, share if plan.direction == "max" else 1 - share)), 1)


def _remark(row: Row, won: bool) -> str:
    parts = ["won"] * won + ["tie with the winner"] * (row.tie and not won) + ["baseline"] * row.baseline
    parts += [row.undone] * bool(row.undone)
    if row.state != "completed":
        parts.append(f"{row.state}: {row.reason}")
    return "; ".join(parts)


def headline(study: Study, winner: Trial | None) -> str:
    """One sentence on what came out."""
    classes = study.description["data"]["classes"]
    task = {"classification": f"{len(classes)} classes", "multi_label": f"{len(classes)} labels"}
    kind = study.description["about"]["data"]["kind"]
    what = f"{kind.capitalize()}s, {task.get(study.plan.task, 'a target')}"
    number = sum(trial.number is not None for trial in study.trials)
    tried = f"{number} trial{'s' * (number != 1)} and {len(study.trials) - number} baselines"
    if winner is None:
        return f"{what}. {tried} so far; none has come to its end."
    if study.result is None:
        return f"{what}. {tried} so far; best is {winner.name}. The search is not done: run it again, and it goes on."
    return f"{what}. Of {tried}, {winner.name} won."


def cards(study: Study, winner: Trial | None) -> list[dict[str, str]]:
    """The figures that are shown large."""
    if winner is None:
        return []
    plan, found = study.plan, []
    score, name = str(plan.objective), words(str(plan.objective))
    if study.result is not None and study.result["test"]:
        test = study.result["test"][score], study.result["spread"].get(score)
        found.append({"value": show(plan, *test), "title": f"test {name}{_margin(study.result, score)}"})
    validation = show(plan, winner.metrics[score], winner.spread.get(score))
    found.append({"value": validation, "title": f"validation {name}"})
    baselines = [t for t in study.trials if t.baseline and t.metrics and t.key != winner.key]
    probes = [t for t in baselines if t.name.startswith("linear probe")]
    if probes:
        best = max(probes, key=lambda probe: plan.better(probe.metrics))
        gain = plan.better(winner.metrics) - plan.better(best.metrics)
        shown = f"{100 * gain:+.1f} points" if is_share(score) else f"{gain:+.3g}"
        is_tie = any(row.tie for row in study.leaderboard if row.key == best.key)
        title = "a tie with the linear probe" if is_tie else "better than the linear probe"
        found.append({"value": shown, "title": f"{title}, on validation"})
    found.append({"value": short(winner.trained_parameters), "title": "values trained"})
    found.append({"value": f"{winner.seconds:.3g} s", "title": "to train it once"})
    return found


def _margin(result: Mapping[str, Any], metric: str) -> str:
    """Describe the number of test examples, and the interval of a metric; empty for studies that did not note them."""
    bounds = result.get("intervals", {}).get(metric)
    if bounds is None:
        return ""
    low, high = (f"{100 * bound:.0f}" if is_share(metric) else f"{bound:.3g}" for bound in bounds)
    return f" ({result['num_test']:,} examples; 95 % interval {low} to {high})"


def encoders_of(study: Study) -> list[dict[str, Any]]:
    """What is known of the encoders, with the best score of each depth for people."""
    found = []
    for name, encoder in study.description["about"]["encoders"].items():
        blocks = len(encoder["blocks"])
        trials = [t for t in pretrained(study.trials) if (t.candidate or {})["encoder"] == name]
        best = best_by_depth(trials, study.plan, {name: blocks})
        shown = {depth: show(study.plan, best.get(depth)) for depth in range(blocks + 1)}
        found.append(encoder | {"name": name, "best": shown})
    return found


def plan_of(study: Study) -> list[tuple[str, str]]:
    """How it was searched, for people."""
    shown: Mapping[str, Any] = asdict(study.plan) | {
        "space": "the default one" if study.description["about"]["default_space"] else "given"
    }
    return [(name.replace("_", " "), "none" if value is None else str(value)) for name, value in shown.items()]
