"""What is shown while one waits: on a terminal only, and it does not stand in the way of an interruption."""

import io
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from tfembed.progress import RateColumn, progress, waiting


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """The two ends of a terminal: the one to read from, and the one that programs write to."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def _read_until(end: int, text: str) -> str:
    seen = b""
    while text.encode() not in seen:
        seen += os.read(end, 4096)
    return seen.decode(errors="replace")


def test_a_terminal_shows_what_is_waited_for(terminal: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar counts its steps; where they are not known, the description moves."""
    with open(terminal[1], "w", encoding="utf-8", closefd=False) as screen:
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setenv("TERM", "xterm")
        with progress("Counting", total=7) as advance:
            advance(7)
        assert "7/7" in _read_until(terminal[0], "7/7")
        with waiting("Thinking [of] it"):
            assert "Thinking [of] it" in _read_until(terminal[0], "it")


@pytest.mark.parametrize("forced", [False, True])
def test_anything_else_shows_nothing(forced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe or a file gets no bar, not even where colours are forced on it."""
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with progress("Counting", total=7) as advance:
        advance(7)
    with waiting("Thinking"):
        pass
    assert pipe.getvalue() == ""


def test_an_interruption_is_quiet(terminal: tuple[int, int], tmp_path: Path) -> None:
    """Ctrl-C ends a command with exit code 130, without a traceback, and nothing half-written stays."""
    command = [sys.executable, "-m", "tfembed", "train", "reviews", "--out", str(tmp_path / "run")]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=terminal[1],
        env={**os.environ, "TERM": "xterm"},
        # a shell lets what it runs in the background ignore Ctrl-C, and so would all that the tests start from there
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    seen = _read_until(terminal[0], "Loading")
    running.send_signal(signal.SIGINT)
    printed, _ = running.communicate()
    assert (running.returncode, printed) == (130, b"")
    os.write(terminal[1], b"end")
    assert "Traceback" not in seen + _read_until(terminal[0], "end")
    assert list(tmp_path.iterdir()) == []


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
