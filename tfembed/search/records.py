"""Records: the trials of a study as files, each whole or not at all."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import load, save

from tfembed.search.files import read_json, write_json, write_whole
from tfembed.search.trial import Trial, trial_from_dict

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True, slots=True)
class Records:
    """Trials in a folder: `KEY.json`, and `KEY.safetensors` with what was predicted of validation examples.

    Args:
        folder: An existing folder.
        distribution: See `train`; of several machines, each with a folder of its own, all must have a trial.
    """

    folder: Path
    distribution: "tf.distribute.Strategy | None" = None

    def find(self, key: str) -> Trial | None:
        """A trial that was run; None if it was not.

        Raises:
            ValueError: If its file was altered or torn.
        """
        path = self.folder / f"{key}.json"
        is_there = path.exists()
        if self.distribution is not None:  # imported here, since studies are read without TensorFlow
            from tfembed.distribution import everywhere

            is_there = everywhere(self.distribution, is_there)
        return trial_from_dict(read_json(path)) if is_there else None

    def add(self, trial: Trial, predictions: dict[str, np.ndarray]) -> None:
        """Keep a trial.

        Raises:
            OSError: If there is no room.
        """
        if predictions:
            write_whole(self.folder / f"{trial.key}.safetensors", save(predictions))
        write_json(self.folder / f"{trial.key}.json", trial.to_dict())

    def predictions(self, key: str) -> dict[str, np.ndarray]:
        """What a trial says of validation examples: `rows`, `fold`, `labels`, `outputs`; nothing for a failed one."""
        path = self.folder / f"{key}.safetensors"
        return load(path.read_bytes()) if path.exists() else {}

    def all(self) -> tuple[Trial, ...]:
        """All trials: those of the oracle in their order, then the baselines by name."""
        found = [trial_from_dict(read_json(path)) for path in self.folder.glob("[!.]*.json")]
        return tuple(sorted(found, key=lambda t: (t.number is None, t.number or 0, t.name, t.key)))
