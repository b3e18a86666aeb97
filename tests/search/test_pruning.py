"""When trials are stopped, and what an oracle is told of them."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_tuner
import pytest
from test_leaderboard import trial
from tiny_studies import probes, space, study

import tfembed as te
from tfembed.search import runner
from tfembed.search.plan import Plan
from tfembed.search.pruning import comparable, expected_metrics, on_several_folds, why_stop
from tfembed.search.trial import Trial
from tfembed.search.tuner import StudyTuner

PLAN = Plan(task="classification", folds=5)


def test_a_trial_is_not_compared_with_one_that_trained_for_fewer_epochs() -> None:
    """The median is of what others had reached by the same epoch; a curve that ended before reached nothing there."""
    longer = [[1.0, 0.9, 0.8], [1.0, 0.9, 0.7]]
    assert why_stop([2.0, 2.0, 2.0], [*longer, [0.1, 0.1]]) is None
    assert "the median of 3 other trials 0.8000" in (why_stop([2.0, 2.0, 2.0], [*longer, [1.0, 1.0, 1.0]]) or "")
    beaten_by_the_shorter_one = [[3.0, 3.0, 3.0]] * 3 + [[0.1, 0.1]] * 9
    assert why_stop([2.0, 2.0, 2.0], beaten_by_the_shorter_one) is None


def test_nothing_is_stopped_before_its_first_epoch() -> None:
    """A trial that has no losses yet lags behind nobody."""
    assert why_stop([], [[1.0], [1.0], [1.0]]) is None


def test_a_finished_fold_is_compared_as_long_as_there_are_others() -> None:
    """What a trial did after the others had ended counts for nothing, and without three others nothing does."""
    others = [[1.0, 0.5], [1.0, 0.5], [1.0, 0.5], [1.0]]
    assert why_stop(comparable([2.0, 2.0, 0.1], others), others) is not None
    assert comparable([2.0, 2.0], others[:2]) == []


@pytest.mark.parametrize(("lengths", "compared"), [((1, 2, 3, 4), 2), ((4, 1, 3, 2), 2), ((1, 2, 3), 1), ((5, 5), 0)])
def test_a_finished_fold_is_cut_after_the_last_epoch_that_three_others_reached(
    lengths: tuple[int, ...], compared: int
) -> None:
    """The third longest of the other curves bounds it, in whatever order they come."""
    curve = [1.0, 0.9, 0.8, 0.7, 0.6]
    assert comparable(curve, [[1.0] * length for length in lengths]) == curve[:compared]


@pytest.mark.parametrize(
    ("lags", "num_folds", "stops"),
    [
        ([1], 1, True),
        ([0], 1, False),
        ([1], 5, False),
        ([1, 1], 2, True),
        ([1, 0], 5, False),
        ([0, 1], 5, False),
        ([0, 1, 1], 5, True),
        ([0, 0, 1, 1], 5, False),
        ([0, 0, 1, 1, 1], 5, True),
        ([1, 1, 0], 5, False),
    ],
)
def test_of_several_folds_one_stops_nothing(lags: list[int], num_folds: int, stops: bool) -> None:
    """It takes the running fold, another one, and more than half of those begun; a single split decides alone."""
    reason = on_several_folds(["it lags" if each else None for each in lags], num_folds)
    assert (reason is not None) == stops
    if stops and num_folds > 1:
        places = [str(i) for i, each in enumerate(lags, 1) if each]
        assert reason == f"on folds {', '.join(places[:-1])} and {places[-1]} of {num_folds}: it lags"


@dataclass(frozen=True)
class _Watched:
    """A search on two folds whose fourth trial is said to lag, the losses that were compared, and what was told."""

    found: te.Study
    compared: list[tuple[list[float], list[list[float]]]]
    told: dict[int, float]

    @property
    def trials(self) -> list[Trial]:
        return [each for each in self.found.trials if each.number is not None]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> _Watched:
    compared: list[Any] = []
    told: dict[int, float] = {}
    end = StudyTuner.on_trial_end

    def compare(curve: Any, others: Any) -> str | None:
        compared.append((list(curve), [list(other) for other in others]))
        return "it lags" if len(others) == 3 else None

    def hear(tuner: Any, ended: Any) -> None:
        told[int(ended.trial_id)] = tuner.oracle.trials[ended.trial_id].metrics.get_last_value("loss")
        end(tuner, ended)

    given = {"folds": 2, "max_trials": 4, "oracle": "grid", "objective": "loss", "space": space(strategy=probes)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "why_stop", compare)
        patch.setattr(runner, "thorough", lambda *_: {})
        patch.setattr(StudyTuner, "on_trial_end", hear)
        found = study(tmp_path_factory.mktemp("studies") / "study", **given)
    return _Watched(found, compared, told)


def test_a_trial_goes_on_after_its_first_fold(watched: _Watched) -> None:
    """Though it lags there, it is not stopped before it does so on another fold; it does not win."""
    *others, last = watched.trials
    assert [each.state for each in others] == ["completed"] * 3
    assert (last.state, last.reason) == ("stopped", "on folds 1 and 2 of 2: it lags")
    assert [len(curve) for curve in last.curves.values()] == [3, 1]
    assert watched.found.leaderboard[-1].name == last.name
    assert watched.found.result["trial"] != last.key


def test_a_trial_is_compared_on_the_same_fold(watched: _Watched) -> None:
    """Each of its curves is held against what the others came to on that very fold."""
    *others, last = watched.trials
    for place, own in last.curves.items():
        against = [each.curves[place] for each in others]
        assert (own[:1], against) in watched.compared
    first, second = ([each.curves[0, fold] for each in others] for fold in (0, 1))
    assert first != second
    assert not any(given == first and curve == last.curves[0, 1] for curve, given in watched.compared)


def test_other_seeds_are_not_watched(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials are compared with the first seed, on each of its folds."""
    folds = []
    monkeypatch.setattr(runner, "on_several_folds", lambda reasons, num_folds: folds.append(len(reasons)))
    study(tmp_path / "study", folds=2, repeats=2, max_trials=1, space=space(strategy=probes))
    assert folds == [1, 1, 1, 2, 2, 2]


def test_an_oracle_is_told_of_a_stopped_trial_what_its_folds_let_expect() -> None:
    """On an easy fold a low score is a poor one: it is compared with what others did there, and stays under them."""
    others = [
        trial("a", [0.9, 0.5, 0.5, 0.5, 0.6]),
        trial("b", [0.8, 0.4, 0.4, 0.4, 0.5]),
        trial("c", [0.7, 0.3, 0.3, 0.3, 0.4]),
    ]
    poor = expected_metrics(trial("poor", [0.6], "stopped"), others, PLAN)
    assert poor["accuracy"] == pytest.approx(0.3)
    lucky = expected_metrics(trial("lucky", [1.0], "stopped"), others, PLAN)
    assert lucky["accuracy"] == pytest.approx(0.5)
    assert lucky["loss"] == pytest.approx(0.0)


def test_an_oracle_is_told_of_losses_likewise() -> None:
    """Where less is better, a stopped trial is told as high as the median of the others at the least."""
    plan = Plan(task="classification", objective="loss", folds=5)
    others = [trial("a", [0.9] * 5), trial("b", [0.8] * 5), trial("c", [0.7] * 5)]
    assert expected_metrics(trial("lucky", [1.0], "stopped"), others, plan)["loss"] == pytest.approx(0.2)
    assert expected_metrics(trial("poor", [0.1], "stopped"), others, plan)["loss"] == pytest.approx(0.9)


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_an_oracle_is_told_what_other_trials_came_to(state: str) -> None:
    """Nothing is estimated of a trial that was not stopped, nor where nothing is there to compare with."""
    other = trial("other", [0.9] * 5)
    assert expected_metrics(trial("one", [0.8], state), [other], PLAN)["accuracy"] == 0.8
    assert expected_metrics(trial("one", [0.8], "stopped"), [], PLAN)["accuracy"] == 0.8


def test_what_the_oracle_is_told_is_not_what_the_study_keeps(watched: _Watched) -> None:
    """What keras-tuner hears of trials that ran to their end is what they came to; of the stopped one, an estimate."""
    *others, last = watched.trials
    assert [watched.told[i] for i in range(3)] == [each.metrics["loss"] for each in others]
    before = [each for each in watched.found.trials if each.candidate is not None and each != last]
    assert watched.told[3] == pytest.approx(expected_metrics(last, before, watched.found.plan)["loss"])


def test_the_oracle_hears_the_estimate_of_a_proposed_trial() -> None:
    """A stopped trial that did well on its fold is reported at the median of the trials before it."""
    stopped = trial("lucky", [1.0], "stopped")
    done = [trial("a", [0.9] * 5), trial("b", [0.8] * 5), trial("c", [0.7] * 5)]
    stub: Any = SimpleNamespace(done=done, plan=PLAN, run=lambda *_: stopped)
    told = runner.run_proposed(stub, space(strategy=probes), 3, {}, keras_tuner.HyperParameters())
    assert told.metrics["accuracy"] == pytest.approx(0.8)
    assert stopped.metrics["accuracy"] == 1.0
