"""Trial: what one candidate came to. A value, and a file of the study."""

from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from tfembed.json_values import with_nan

STATES = ("completed", "stopped", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one candidate came to.

    Attributes:
        key: The candidate's; `majority` for the majority class.
        name: What people call it.
        number: The order in which the oracle proposed it, from 0; None for baselines.
        baseline: Whether it is there to compare with, and was not proposed by the oracle.
        values: Of the hyperparameters.
        candidate: As JSON values; None for the majority class.
        state: `"completed"`; `"stopped"` where it could not win any more; `"failed"`.
        reason: Why it was stopped or failed.
        metrics: On the validation part, or over the folds; means over the seeds. See `evaluate`. Those of a stopped
            trial are of the folds that it was begun on.
        spread: Standard deviation of each metric over the seeds; empty for one seed.
        executions: For each seed and fold: `seed`, `fold`, `metrics`, the `temperature` of the scores, and `phases`
            with their histories.
        trained_parameters: The largest number of values that could change in a phase.
        export_bytes: Of the weights that an export holds.
        seconds: What the strategy costs: those of all phases, also where one was known from another trial.
        spent: What was spent on it.
        ended: Seconds that all trials before it and it had been worked on.
    """

    key: str
    name: str
    number: int | None = None
    baseline: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    candidate: dict[str, Any] | None = None
    state: str
    reason: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    executions: tuple[dict[str, Any], ...] = ()
    trained_parameters: int = 0
    export_bytes: int = 0
    seconds: float = 0.0
    spent: float = 0.0
    ended: float = 0.0

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"Trial {self.name!r} has state {self.state!r}: expected one of {STATES}.")

    def to_dict(self) -> dict[str, Any]:
        """The trial as JSON values."""
        return asdict(self)

    @property
    def curves(self) -> dict[tuple[int, int], list[float]]:
        """The validation losses of each seed and fold, over all phases."""
        return {(run["seed"], run["fold"]): curve_of(run["phases"]) for run in self.executions}

    @property
    def undone(self) -> str:
        """The phases that were undone, with the number of executions where that happened; empty for none."""
        counts = Counter(phase["name"] for run in self.executions for phase in run["phases"] if not phase["kept"])
        total = len(self.executions)
        return ", ".join(f"{name} undone" + f" in {n} of {total}" * (total > 1) for name, n in counts.items())

    @property
    def curve(self) -> list[float]:
        """The validation losses of the first execution, over all its phases."""
        return curve_of(self.executions[0]["phases"]) if self.executions else []


def curve_of(phases: Any) -> list[float]:
    """Validation losses, epoch by epoch, over phases as JSON values."""
    return [loss for phase in phases for loss in phase["history"].get("val_loss", ())]


def trial_from_dict(values: dict[str, Any]) -> Trial:
    """Read a trial that `to_dict` wrote.

    Raises:
        ValueError: If it is none, naming what is missing or unknown.
    """
    known = {each.name for each in fields(Trial)}
    if set(values) != known:
        raise ValueError(f"This is no trial: {sorted(set(values) ^ known)} are missing or unknown.")
    numbers = {name: with_nan(values[name]) for name in ("metrics", "spread")}
    return Trial(**values | numbers | {"executions": tuple(map(_execution, values["executions"]))})


def _execution(values: dict[str, Any]) -> dict[str, Any]:
    """An execution as it was before it was written as JSON, which has no NaN."""
    phases = [phase | {"history": with_nan(phase["history"])} for phase in values["phases"]]
    return values | {"metrics": with_nan(values["metrics"]), "phases": phases}


def summarize(executions: list[dict[str, Any]], sizes: list[int]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and standard deviation over seeds of the metrics of executions; folds count by their size.

    Args:
        executions: With `seed`, `fold` and `metrics`.
        sizes: Validation examples of each fold.

    Example:
        >>> runs = [{"seed": s, "fold": 0, "metrics": {"accuracy": a}} for s, a in ((0, 0.5), (1, 1.0))]
        >>> summarize(runs, [4])
        ({'accuracy': 0.75}, {'accuracy': 0.25})
    """
    by_seed: dict[int, list[dict[str, Any]]] = {}
    for execution in executions:
        by_seed.setdefault(execution["seed"], []).append(execution)
    names = executions[0]["metrics"]
    means = {
        name: [
            float(np.average([run["metrics"][name] for run in runs], weights=[sizes[run["fold"]] for run in runs]))
            for runs in by_seed.values()
        ]
        for name in names
    }
    spread = {name: float(np.std(values)) for name, values in means.items()} if len(by_seed) > 1 else {}
    return {name: float(np.mean(values)) for name, values in means.items()}, spread
