"""Runner: runs the trials of a study one after the other, unless it is known what they came to."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tfembed.distribution import everywhere
from tfembed.search.baselines import MAJORITY, majority, probe, thorough
from tfembed.search.candidate import Candidate
from tfembed.search.choice import choose
from tfembed.search.cost import expected_cost
from tfembed.search.display import SearchDisplay
from tfembed.search.plan import Plan
from tfembed.search.pruning import comparable, expected_metrics, on_several_folds, why_stop
from tfembed.search.records import Records
from tfembed.search.space import SearchSpace
from tfembed.search.trial import Trial
from tfembed.search.tuner import StudyTuner, make_oracle
from tfembed.search.workshop import Workshop, try_candidate


class Runner:
    """Runs trials.

    Args:
        shop: What they share.
        plan: How to search.
        records: Where they are kept.
        display: Told of each.
        workers: How many processes share the trials.
    """

    def __init__(self, shop: Workshop, plan: Plan, records: Records, display: SearchDisplay, workers: int = 1) -> None:
        self.shop, self.plan, self.workers = shop, plan, workers
        self.records, self._display = records, display
        self.done: list[Trial] = []

    def run(self, candidate: Candidate, name: str, number: int | None, values: dict[str, Any]) -> Trial:
        """Run a candidate, or find out what it came to; a baseline has no number."""
        self._display.started(name, number)
        known = self.records.find(candidate.key)
        if known is None:
            # Baselines run to their end: a search should beat what they can do, not what they began with.
            watch = self._watch if number is not None and self.plan.early_stopping else None
            trial, predictions = try_candidate(self.shop, candidate, name, watch)
            ended = sum(each.spent for each in self.done) + trial.spent
            trial = replace(trial, number=number, values=values, baseline=number is None, ended=ended)
            self.records.add(trial, predictions)
        else:
            trial = known if number is not None else replace(known, baseline=True)
            if trial != known:  # the oracle proposed a baseline
                self.records.add(trial, {})
        self._note(trial, known is not None)
        return trial

    def run_majority(self) -> None:
        """Run the baseline without a model."""
        known = self.records.find(MAJORITY)
        trial = known or majority(self.shop.folds, self.shop.seeds)
        if known is None:
            self.records.add(trial, {})
        self._note(trial, known is not None)

    def is_over(self) -> bool:
        """Whether the minutes are spent."""
        trials = [trial for trial in self.done if trial.number is not None]
        return not everywhere(self.shop.distribution, not is_spent(self.plan, trials, self.workers))

    def catch_up(self) -> None:
        """Note what other processes have run meanwhile."""
        known = {trial.key for trial in self.done}
        for trial in self.records.all():
            if trial.key not in known:
                self._note(trial, known=False)
        self._display.shared()

    def _note(self, trial: Trial, known: bool) -> None:
        self.done = [each for each in self.done if each.key != trial.key] + [trial]
        self._display.ended(trial, known)

    def _watch(self, curves: list[list[float]]) -> str | None:
        """Compare a trial with those before it, fold by fold, with the first seed; the last curve is still growing."""
        before = [trial.curves for trial in self.done]
        places = [(self.plan.seed, fold) for fold in range(len(curves))]
        others = [[trial[place] for trial in before if trial.get(place)] for place in places]
        reasons = [why_stop(comparable(*pair), pair[1]) for pair in zip(curves[:-1], others[:-1], strict=True)]
        reasons.append(why_stop(curves[-1], others[-1]))
        reason = on_several_folds(reasons, len(self.shop.folds.datasets))
        return reason if everywhere(self.shop.distribution, reason is not None) else None


def is_spent(plan: Plan, trials: Sequence[Trial], workers: int) -> bool:
    """True once trials have taken the minutes of a plan; so many workers share them."""
    return plan.max_minutes is not None and sum(trial.spent for trial in trials) / workers >= 60 * plan.max_minutes


def run_all(runner: Runner, space: SearchSpace, run_trials: Callable[[], None]) -> None:
    """Run the cheap baselines, the oracle's trials, and the costly baselines.

    Args:
        runner: Runs the baselines.
        space: What the oracle may propose.
        run_trials: Runs the trials.
    """
    several = len(space.encoders) > 1
    runner.run_majority()
    for encoder in space.encoders:
        runner.run(probe(encoder), f"linear probe{f' of {encoder}' if several else ''}", None, {})
    run_trials()
    encoder = (choose(runner.done, runner.plan).candidate or {})["encoder"]
    for name, candidate in thorough(encoder, space.epochs).items():
        runner.run(replace(candidate, strategy=runner.plan.accelerated(candidate.strategy)), name, None, {})


def run_trials(runner: Runner, space: SearchSpace, folder: Path) -> None:
    """Run the oracle's trials one after the other, those first that cost little.

    Args:
        runner: Runs them.
        space: What the oracle may propose.
        folder: Of the study.
    """
    shop = runner.shop
    num_blocks = {name: len(shop.encoders.fresh(name).blocks) for name in space.encoders}
    num_examples = len(shop.folds.datasets[0].train)

    def cost(hp: Any) -> float:
        candidate = space.candidate(hp)
        return expected_cost(candidate, num_blocks[candidate.encoder], num_examples)

    run = partial(run_proposed, runner, space)
    StudyTuner(make_oracle(runner.plan, space.epochs), space, folder, run, cost).search_until(runner.is_over)


def run_proposed(runner: Runner, space: SearchSpace, number: int, values: dict[str, Any], hp: Any) -> Trial:
    """Run the trial that the oracle proposed; return it with the metrics that the oracle is to be told."""
    candidate, before = space.candidate(hp), tuple(runner.done)
    trial = runner.run(candidate, name_of(candidate, values, len(space.encoders) > 1), number, values)
    return replace(trial, metrics=expected_metrics(trial, before, runner.plan))


def name_of(candidate: Candidate, values: dict[str, Any], with_encoder: bool) -> str:
    """What people call a trial: its strategy, its head if it is not linear, and rates that were chosen.

    Example:
        >>> from tfembed.heads import linear_head
        >>> from tfembed.strategies import lp_ft
        >>> candidate = Candidate(encoder="minilm", strategy=lp_ft(1), head=linear_head())
        >>> name_of(candidate, {"blocks": 1, "rate": 0.0003}, with_encoder=False)
        'lp_ft(1), rate 0.0003'
    """
    parts = [candidate.encoder] if with_encoder else []
    parts.append(candidate.strategy.name)
    if candidate.head.kind != "linear":
        parts.append(f"{candidate.head.kind}({', '.join(map(str, candidate.head.units))})")
    chosen = {name: value for name, value in values.items() if isinstance(value, float)}
    parts += [f"{name.replace('_', ' ')} {value:.3g}" for name, value in chosen.items()]
    if "tuner/epochs" in values:
        parts.append(f"{values['tuner/epochs']} epochs")
    return ", ".join(parts)
