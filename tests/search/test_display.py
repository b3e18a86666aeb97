"""What a search says while it runs, and what it prints in the end."""

import io

import pytest
from rich.console import Console

from tfembed.search.display import SearchDisplay
from tfembed.search.leaderboard import leaderboard_table, make_leaderboard
from tfembed.search.plan import Plan
from tfembed.search.trial import Trial


def _trial(number: int | None, spent: float, name: str = "some") -> Trial:
    return Trial(
        key=f"{name}{number}", name=name, number=number, state="completed", metrics={"accuracy": 0.5}, spent=spent
    )


def _said(plan: Plan, *trials: Trial, workers: int = 1) -> list[str]:
    said = io.StringIO()
    with SearchDisplay(plan, said, workers) as display:
        for trial in trials:
            display.started(trial.name, trial.number)
            display.ended(trial, known=False)
    return said.getvalue().splitlines()


@pytest.mark.parametrize(
    ("options", "workers", "left"),
    [({}, 1, "about 20 s of trials left"), ({"max_minutes": 0.5}, 1, "about 10 s"), ({}, 2, "about 10 s of trials")],
)
def test_time_left_is_that_of_the_trials(options: dict[str, float], workers: int, left: str) -> None:
    """It is judged by the trials that were run, shared by the workers, and ends with the minutes."""
    plan = Plan(task="classification", max_trials=4, **options)
    first, _, third = _said(plan, _trial(None, 9.0), _trial(0, 10.0), _trial(1, 10.0), workers=workers)
    assert "left" not in first
    assert first == "baseline: some: accuracy 0.5000; 9.0 s; best 0.5000"
    assert left in third


@pytest.mark.parametrize("max_trials", [1, 5])
def test_behind_the_trials_baselines_are_left(max_trials: int) -> None:
    """Nobody is told that nothing is left while the costly baselines run, also where the space held fewer trials."""
    said = _said(Plan(task="classification", max_trials=max_trials), _trial(0, 10.0), _trial(None, 10.0))
    assert said[-1].endswith("; baselines and the winner are left")


def test_workers_are_said_to_be_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the bar says that trials run, though none of them runs in this process."""
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    with SearchDisplay(Plan(task="classification"), screen, workers=3) as display:
        display.shared()
    assert "running trials in 3 processes" in screen.getvalue()


def test_names_are_whole_on_a_narrow_screen() -> None:
    """What does not fit into a line goes on in the next one."""
    plan = Plan(task="classification")
    rows = make_leaderboard([_trial(0, 1.0, name="linear_probe(depths=(4,5,6,7,8,9,10,11,12))")], plan)
    console = Console(file=io.StringIO(), width=60)
    console.print(leaderboard_table(rows, "accuracy"))
    assert "…" not in console.file.getvalue()
