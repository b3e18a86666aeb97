"""What is shown while one waits, for people only: nothing is printed where the output is no terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.progress import TimeRemainingColumn as Remaining
from rich.text import Text

# Of two bars at a time, one would be drawn over the other: the outer one counts what people wait for.
_IS_SHOWN = ContextVar("is_shown", default=False)


class RateColumn(ProgressColumn):
    """Steps a second: `1,234/s`, or `2.5 s each` where one takes longer than a second."""

    def render(self, task: Task) -> Text:
        """The rate of what was done lately."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:,.0f}/s" if speed >= 1 else f"{1 / speed:.1f} s each")


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with rate and remaining time while something is done; nothing within another bar.

    Args:
        description: What is being done.
        total: How many steps it has.

    Yields:
        A function to call with the number of steps just done.

    Example:
        >>> with progress("Counting", total=3) as advance:
        ...     advance(3)
    """
    with _shown(sys.stderr, BarColumn(), MofNCompleteColumn(), RateColumn(), Remaining(compact=True)) as bar:
        task = bar.add_task(description, total=total)
        token = _IS_SHOWN.set(True)
        try:
            yield lambda steps: bar.advance(task, steps)
        finally:
            _IS_SHOWN.reset(token)


@contextmanager
def waiting(description: str, file: TextIO | None = None) -> Iterator[None]:
    """Show that something is done of which nobody knows how far it is. No bar may be shown meanwhile.

    Args:
        description: What is being done.
        file: Where it is shown; standard error if None.

    Example:
        >>> with waiting("Thinking"):
        ...     pass
    """
    with _shown(file or sys.stderr, SpinnerColumn(), Elapsed()) as bar:
        bar.add_task(description, total=None)
        yield


def _shown(file: TextIO, *columns: ProgressColumn) -> Progress:
    text = TextColumn("{task.description}", markup=False)
    # Asked of the file itself: to Console, a pipe is a terminal where FORCE_COLOR is set.
    return Progress(
        text, *columns, console=Console(file=file), transient=True, disable=_IS_SHOWN.get() or not file.isatty()
    )
