"""What a search shows while it runs: a bar on a terminal, plain lines elsewhere."""

import sys
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from tfembed.search.plan import Plan
from tfembed.search.trial import Trial


class SearchDisplay:
    """Says how many trials are done, which one runs, what was best so far, and how long it may still take.

    Args:
        plan: How many trials there are at most, and what they are judged by.
        file: Where to say it; standard error if None.
        workers: How many trials run at a time.
    """

    def __init__(self, plan: Plan, file: TextIO | None = None, workers: int = 1) -> None:
        self._plan, self._file, self._workers = plan, file or sys.stderr, workers
        self._done: list[Trial] = []
        self._best: Trial | None = None
        self._running, self._over = "", False
        console = Console(file=self._file)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not self._file.isatty())
        self._task = self._bar.add_task("Searching", total=plan.max_trials)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Print lines, above the bar where there is one."""
        if self._bar.disable:
            print(text, file=self._file, flush=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def started(self, name: str, number: int | None) -> None:
        """A trial, or a baseline without a number, begins; the first baseline behind trials says that they are over."""
        self._running, self._over = name, number is None and bool(self._done)
        self._bar.update(self._task, description=self._status())

    def shared(self) -> None:
        """Trials run in several processes."""
        self._running = f"trials in {self._workers} processes"
        self._bar.update(self._task, description=self._status())

    def ended(self, trial: Trial, known: bool) -> None:
        """A trial or baseline is done, now or in an earlier run."""
        plan = self._plan
        if trial.number is not None:
            self._done.append(trial)
        finished = trial.state == "completed"
        if finished and (self._best is None or plan.better(trial.metrics) > plan.better(self._best.metrics)):
            self._best = trial
        self._running = ""
        self._bar.update(self._task, completed=len(self._done), description=self._status())
        score = f"{plan.objective} {trial.metrics[str(plan.objective)]:.4f}" if trial.metrics else ""
        what = " ".join(each for each in (score, trial.state if not finished else "") if each)
        where = "baseline" if trial.number is None else f"trial {len(self._done)}/{plan.max_trials}"
        remarks = "; ".join(filter(None, (trial.reason, trial.undone)))
        reason = f" ({remarks})" if remarks else ""
        spent = "known already" if known else f"{trial.spent:.1f} s"
        self.say(f"{where}: {trial.name}: {what}{reason}; {spent}; {self._status()}")

    def _status(self) -> str:
        running = f"running {self._running}; " if self._running else ""
        best = f"best {self._best.metrics[str(self._plan.objective)]:.4f}" if self._best else "none yet"
        return f"{running}{best}{self._left()}"

    def _left(self) -> str:
        """How long the trials that are left may take, judged by those that were run; what comes then is said."""
        count, spent = len(self._done), sum(trial.spent for trial in self._done) / self._workers
        if self._over or count == self._plan.max_trials:
            return "; baselines and the winner are left"
        if not count:
            return ""
        seconds = spent / count * (self._plan.max_trials - count)
        if self._plan.max_minutes is not None:
            seconds = min(seconds, max(0.0, 60 * self._plan.max_minutes - spent))
        left = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        return f"; about {left} of trials left"
