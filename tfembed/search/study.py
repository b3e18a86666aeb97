"""Study: what a search found, in a folder."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfembed.runs import BEST, load_run
from tfembed.search.choice import RESULT
from tfembed.search.files import read_json
from tfembed.search.leaderboard import Row, make_leaderboard
from tfembed.search.plan import STUDY, Plan
from tfembed.search.records import Records
from tfembed.search.trial import Trial

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """What a search found; `search` makes one, `load_study` reads one.

    Attributes:
        folder: Where it lies.
        description: What it searched, as JSON values: `space`, `data`, `encoders`, `plan`, `versions`.
        trials: All of them, baselines included.
        result: What the winner came to on the test split: `name`, `candidate`, `test` and `spread` by metric,
            `num_test` examples, `intervals` of the first seed's metrics at 95 % (see `confidence_intervals`), and
            `runs`, one for each seed. None while the search is not done.

    Raises:
        ValueError: By `best_model`, if the search is not done.

    Example:
        >>> begun = Study(folder=Path("found"), description={}, trials=(), result=None)
        >>> begun.best_model()  # `search` shows one that is done
        Traceback (most recent call last):
        ...
        ValueError: found: the search is not done. Run it again: it goes on where it was.
    """

    folder: Path
    description: dict[str, Any]
    trials: tuple[Trial, ...]
    result: dict[str, Any] | None

    @property
    def plan(self) -> Plan:
        """How it was searched."""
        return Plan(**{each.name: self.description["plan"][each.name] for each in fields(Plan)})

    @property
    def leaderboard(self) -> tuple[Row, ...]:
        """All trials, best first; stopped ones come after those that ran to their end, and failed ones last."""
        return make_leaderboard(self.trials, self.plan, self.predictions)

    def best_model(self) -> "keras.Model":
        """The winner's model, trained on training and validation part with the first seed.

        Raises:
            ValueError: If the search is not done.
        """
        if self.result is None:
            raise ValueError(f"{self.folder}: the search is not done. Run it again: it goes on where it was.")
        return load_run(self.folder / BEST)[0]

    def predictions(self, trial: Trial) -> dict[str, np.ndarray]:
        """What a trial says of n validation examples; empty for one that failed.

        Returns:
            `rows`, where they stand, `fold` and `labels`, each `(n,)` (of several labels `(n, num_classes)`), and
            `outputs`, the probabilities `(n, num_classes)`, or the values `(n, 1)` of a regression.
        """
        return Records(self.folder / "trials").predictions(trial.key)


def load_study(folder: str | os.PathLike[str]) -> Study:
    """Read a study from its folder, also while it is being made.

    Raises:
        ValueError: If the folder is none.

    Example:
        >>> load_study("nowhere")
        Traceback (most recent call last):
        ...
        ValueError: nowhere is no study: expected study.json in it, as `tfembed search --out` writes it.
    """
    path = Path(folder)
    if not (path / STUDY).is_file():
        raise ValueError(f"{path} is no study: expected {STUDY} in it, as `tfembed search --out` writes it.")
    result = path / RESULT
    return Study(
        folder=path,
        description=read_json(path / STUDY),
        trials=Records(path / "trials").all(),
        result=read_json(result) if result.exists() else None,
    )
