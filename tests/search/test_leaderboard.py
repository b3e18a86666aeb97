"""The leaderboard on trials that can be ranked by hand."""

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tfembed.search.choice import choose
from tfembed.search.leaderboard import leaderboard_table, make_leaderboard, ties_in_words
from tfembed.search.plan import Plan
from tfembed.search.trial import Trial, summarize

PLAN = Plan(task="classification", folds=5)


def trial(name: str, scores: list[float], state: str = "completed", **options: Any) -> Trial:
    """A trial with an accuracy for each fold that it was begun on."""
    runs = [
        {"seed": 0, "fold": i, "metrics": {"accuracy": s, "loss": 1 - s}, "phases": []} for i, s in enumerate(scores)
    ]
    metrics = summarize(runs, [10] * 5)[0] | options.pop("metrics", {})
    given = {"key": name, "candidate": {"x": 1}, "trained_parameters": 10, "export_bytes": 10, "number": 0} | options
    return Trial(name=name, state=state, metrics=metrics, executions=tuple(runs), **given)


@pytest.mark.parametrize("trained", [10, 5])
def test_a_trial_that_was_stopped_stands_behind_those_that_were_not(trained: int) -> None:
    """The score of its first folds is no reason for a rank before trials of all folds, nor for a star."""
    whole, poor = trial("whole", [0.9, 0.7, 0.7, 0.7, 0.7]), trial("poor", [0.1] * 5, trained_parameters=20)
    stopped = trial("stopped", [0.8], "stopped", trained_parameters=trained)
    failed = Trial(key="failed", name="failed", state="failed")
    rows = make_leaderboard([failed, stopped, poor, whole], PLAN)
    assert [(row.rank, row.name, row.pareto) for row in rows] == [
        (1, "whole", True),
        (2, "poor", False),
        (3, "stopped", False),
        (None, "failed", False),
    ]


def test_a_trial_that_was_stopped_takes_no_star_from_another() -> None:
    """What stopped trials came to is not compared with what others came to in the end."""
    rows = make_leaderboard([trial("whole", [0.7] * 5), trial("stopped", [0.8], "stopped", export_bytes=1)], PLAN)
    assert [row.pareto for row in rows] == [True, False]


@pytest.mark.parametrize(
    ("cheap", "dear"),
    [
        ({"trained_parameters": 5, "export_bytes": 20}, {"trained_parameters": 6, "export_bytes": 10}),
        ({"export_bytes": 9, "seconds": 2.0}, {"export_bytes": 10, "seconds": 1.0}),
        ({"number": 1, "seconds": 2.0}, {"number": 2, "seconds": 1.0}),
        ({"number": None, "baseline": True}, {"number": 0}),
    ],
)
def test_of_equal_scores_the_cheapest_wins(cheap: dict[str, Any], dear: dict[str, Any]) -> None:
    """What trains less wins, then what is smaller, then what came first, and neither the loss nor seconds count."""
    trials = [
        trial("b", [0.8] * 5, metrics={"loss": 0.1}, **dear),
        trial("c", [0.8] * 5, metrics={"loss": 0.9}, **cheap),
    ]
    for given in (trials, trials[::-1]):
        assert [row.name for row in make_leaderboard(given, PLAN)] == ["c", "b"]
        assert choose(given, PLAN).name == "c"


def test_scores_of_as_many_right_answers_are_equal_whatever_the_folds() -> None:
    """The order in which folds are added up moves the last digit of a mean, and decides nothing."""
    dear = trial("dear", [0.1, 0.7, 0.2, 0.6, 0.3], trained_parameters=20)
    cheap = trial("cheap", [0.3, 0.6, 0.2, 0.7, 0.1], trained_parameters=10)
    means = [each.metrics["accuracy"] for each in (dear, cheap)]
    if means[0] == means[1]:
        dear.metrics["accuracy"] += 1e-16 + np.spacing(means[0])
    assert choose([dear, cheap], PLAN).name == "cheap"
    assert [row.pareto for row in make_leaderboard([dear, cheap], PLAN)] == [True, False]


def _said(right: int) -> dict[str, np.ndarray]:
    outputs = np.where(np.arange(50)[:, None] < right, [0.1, 0.9], [0.9, 0.1])
    return {"rows": np.arange(50), "labels": np.ones(50, int), "outputs": outputs}


def test_ties_are_marked_and_counted() -> None:
    """Rows within the noise of the best one with a model say so; the cheapest of all is named."""
    trials = [
        trial("majority", [1.0] * 5, candidate=None, trained_parameters=0),
        trial("best", [0.9] * 5, trained_parameters=900),
        trial("near", [0.88] * 5, trained_parameters=40),
        trial("nearer", [0.89] * 5, trained_parameters=50),
        trial("far", [0.5] * 5),
        trial("stopped", [0.9], "stopped", trained_parameters=1),
    ]
    right = {"best": 45, "near": 41, "nearer": 44, "far": 25, "stopped": 45}
    rows = make_leaderboard(trials, PLAN, lambda each: _said(right[each.key]) if each.key in right else {})
    assert {row.name for row in rows if row.tie} == {"near", "nearer"}
    assert ties_in_words(rows) == "tied with 2 other trials; the cheapest is near, 40 values trained"
    console = Console(file=io.StringIO(), width=200)
    console.print(leaderboard_table(rows, "accuracy"))
    lines = console.file.getvalue().splitlines()
    assert "tie: a paired test cannot tell it from the best" in " ".join(map(str.strip, lines[:3]))
    assert [line.split("│")[-2].strip() for line in lines if "near" in line] == ["tie", "tie"]


def test_one_tie_is_put_in_the_singular() -> None:
    """One other trial is a trial, not trials; the winner may be the cheapest itself."""
    rows = make_leaderboard([trial("one", [0.8] * 5), trial("two", [0.8] * 5)], PLAN, lambda _: _said(40))
    assert ties_in_words(rows) == "tied with 1 other trial; the cheapest is itself, 10 values trained"


def test_the_table_marks_the_trials_that_nothing_beats() -> None:
    """A star precedes the rank of a Pareto-optimal trial alone; names stand to the left, numbers to the right."""
    rows = make_leaderboard([trial("good", [0.8] * 5), trial("poor", [0.7] * 5, trained_parameters=20)], PLAN)
    columns = leaderboard_table(rows, "accuracy").columns
    assert list(columns[0].cells) == ["*1", "2"]
    assert [column.justify for column in columns] == ["right", "left", *["right"] * 4, "left"]


def test_without_predictions_nothing_is_called_a_tie() -> None:
    """Nothing can be said of trials whose predictions are not at hand."""
    rows = make_leaderboard([trial("one", [0.8] * 5), trial("two", [0.8] * 5)], PLAN)
    assert ties_in_words(rows) == ""
    assert "tie" not in str(leaderboard_table(rows, "accuracy").title)


def test_undone_phases_are_remarked() -> None:
    """The table says which phase was undone, and in how many of the executions."""
    found = trial("tuned", [0.9, 0.7])
    for i, execution in enumerate(found.executions):
        execution["phases"] += [{"name": "probe", "kept": True}, {"name": "fine-tune", "kept": i == 0}]
    (row,) = make_leaderboard([found], PLAN)
    assert row.undone == "fine-tune undone in 1 of 2"
    console = Console(file=io.StringIO(), width=200)
    console.print(leaderboard_table([row], "accuracy"))
    assert "fine-tune undone in 1 of 2" in console.file.getvalue()
