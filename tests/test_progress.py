"""Progress bars: for people, with rate and remaining time."""

import io
import re

import pytest
from rich.console import Console
from rich.progress import Progress

from tfembed.progress import RateColumn, progress


def test_nothing_is_printed_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the output is no terminal, there is no bar."""
    with progress("Encoding", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_rate_and_remaining_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal the bar has what is done, the rate, and the time that remains."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress("Encoding", 20) as advance:
        for _ in range(10):
            advance(1)
    printed = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err)
    assert re.search(r"Encoding .* 10/20 [0-9,]+/s \d:\d\d:\d\d", printed), printed


@pytest.mark.parametrize(("steps", "seconds", "shown"), [(3000, 2.0, "1,500/s"), (1, 4.0, "4.0 s each"), (0, 1.0, "")])
def test_rates(steps: int, seconds: float, shown: str) -> None:
    """Many steps are shown by the second, slow ones by their time; nothing before the first."""
    now = [0.0]
    bar = Progress(RateColumn(), console=Console(file=io.StringIO()), get_time=lambda: now[0])
    task = bar.add_task("", total=10_000)
    bar.advance(task, 0)
    now[0] = seconds
    bar.advance(task, steps)
    now[0] = seconds
    assert RateColumn().render(bar.tasks[0]).plain == shown
