"""Plan: how to search. A value; the study keeps it, and refuses another one in its place."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfembed.search.files import read_json, write_json
from tfembed.strategies import Strategy, accelerate

ORACLES = ("random", "bayesian", "hyperband", "grid")
# What a trial may be judged by, and which way is better.
OBJECTIVES: dict[str, dict[str, str]] = {
    "classification": {"accuracy": "max", "macro_f1": "max", "loss": "min"},
    "multi_label": {"micro_f1": "max", "accuracy": "max", "loss": "min"},
    "regression": {"root_mean_squared_error": "min", "mean_absolute_error": "min", "r2": "max"},
}
STUDY = "study.json"
# What may be another when a study is gone on with: more trials, more time, the same data in another place.
_MAY_CHANGE = ("max_trials", "max_minutes", "source", "versions", "about")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to search.

    Attributes:
        task: As in `Dataset.task`.
        oracle: `"random"`, `"bayesian"`, `"hyperband"` or `"grid"`: what keras-tuner proposes trials by.
        objective: The metric that trials are judged by; None for the first of `OBJECTIVES`.
        max_trials: Without the baselines.
        max_minutes: No trial is begun after it; None for no limit. Baselines and the last training come on top.
        folds: See `make_folds`.
        repeats: How many seeds each trial is run with, and the winner is trained with.
        seed: The first of them, that of the folds and of the oracle.
        balanced: Whether every class counts the same.
        early_stopping: Whether a trial that cannot win is stopped; see `why_stop`.
        mixed_precision: Whether encoders compute in bfloat16 while they train; see `accelerate`.
        jit_compile: Whether XLA compiles what trains; see `accelerate`.
    """

    task: str
    oracle: str = "random"
    objective: str | None = None
    max_trials: int = 12
    max_minutes: float | None = None
    folds: int | None = None
    repeats: int = 1
    seed: int = 0
    balanced: bool = False
    early_stopping: bool = True
    mixed_precision: bool = False
    jit_compile: bool = False

    def __post_init__(self) -> None:
        known = OBJECTIVES[self.task]
        if self.oracle not in ORACLES:
            raise ValueError(f"Unknown oracle {self.oracle!r}: pass one of {', '.join(ORACLES)}.")
        if self.objective is None:
            object.__setattr__(self, "objective", next(iter(known)))
        if self.objective not in known:
            raise ValueError(f"Unknown objective {self.objective!r} of a {self.task}: pass one of {', '.join(known)}.")
        for name in ("max_trials", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: expected 1 or more.")
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ValueError(f"max_minutes={self.max_minutes}: expected a number above 0, or None for no limit.")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: expected 0 or more.")
        if self.balanced and self.task != "classification":
            raise ValueError(f"balanced=True weighs classes that exclude each other: the data are for {self.task}.")

    def accelerated(self, strategy: Strategy) -> Strategy:
        """A strategy as it is to be carried out."""
        return accelerate(strategy, mixed_precision=self.mixed_precision, jit_compile=self.jit_compile)

    @property
    def direction(self) -> str:
        """`"max"` or `"min"`: which way the objective is better."""
        return OBJECTIVES[self.task][str(self.objective)]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that each trial is run with."""
        return tuple(range(self.seed, self.seed + self.repeats))

    def better(self, metrics: dict[str, float]) -> float:
        """The objective, turned so that more is better."""
        value = metrics[str(self.objective)]
        return value if self.direction == "max" else -value


def versions() -> dict[str, str]:
    """Of what the values of a trial come from."""
    import keras
    import tensorflow as tf

    return {"tensorflow": tf.__version__, "keras": keras.__version__}


def begin(folder: Path, described: dict[str, Any]) -> None:
    """Make a study's folder, or go on with one that has the same description.

    Args:
        folder: Of the study.
        described: As JSON values, by topic: all that its trials depend on.

    Raises:
        ValueError: If the folder holds something else, or a study of something else; the message says what differs.
    """
    path = folder / STUDY
    check_folder(folder)
    if not path.exists():
        for name in ("trials", "phases"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        write_json(path, described)
        return
    known = read_json(path)
    differing = differences(known, described)
    if differing:
        raise ValueError(
            f"{folder} holds another study: {'; '.join(differing)}. Pass another folder, or remove it first."
        )
    write_json(path, described)


def check_folder(folder: Path) -> None:
    """Check that a folder can be that of a study: a new one, an empty one, or one that holds a study.

    Raises:
        ValueError: If it holds something else.
    """
    is_other = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if is_other and not (folder / STUDY).exists():
        raise ValueError(f"{folder} exists already and is no study: pass another folder, or remove it first.")


def differences(known: Any, now: Any, where: str = "") -> list[str]:
    """Say what differs between two descriptions.

    Example:
        >>> differences({"data": {"train": "a1"}, "seed": 0}, {"data": {"train": "b2"}, "seed": 0})
        ["data, train: 'a1' there, 'b2' now"]
    """
    if where == "space, draws":  # they are keys, which say nothing to people
        return [] if known == now else [f"{where}: the same values stand for other strategies or heads"]
    known, now = _by_name(known), _by_name(now)
    if isinstance(known, dict) and isinstance(now, dict):
        names = [name for name in {**known, **now} if name not in _MAY_CHANGE]
        found = [differences(known.get(n), now.get(n), f"{where}, {n}" if where else n) for n in names]
        return [each for several in found for each in several]
    return [] if known == now else [f"{where}: {_short(known)} there, {_short(now)} now"]


def _by_name(value: Any) -> Any:
    """A list of hyperparameters as a dictionary, so that those which differ are told one by one."""
    has_names = isinstance(value, list) and value and all(isinstance(e, dict) and "name" in e for e in value)
    return {each["name"]: each for each in value} if has_names else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
