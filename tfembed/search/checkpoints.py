"""Checkpoints: phases that were run, by everything that they depend on; no phase is run twice."""

import hashlib
import json
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import xxhash
from safetensors.numpy import load, save

from tfembed.distribution import everywhere
from tfembed.features.key import encoder_key
from tfembed.json_values import with_nan
from tfembed.phases import Phase
from tfembed.predict import ModelParts
from tfembed.running import PhaseResult
from tfembed.search.files import write_json, write_whole

# Goes up with every change of what a phase does or of how its result lies on disk.
_FORMAT = 2
_LARGE = 16_000_000  # bytes; few other trials begin with the same phases as far as that


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Results of phases in a folder: weights that moved (`.safetensors`), and what the phase says of itself (`.json`).

    The second file is written last, with a checksum of the first: a result without it is none. A phase that was stopped
    in the middle is not kept.

    Args:
        folder: An existing folder.
        distribution: See `train`; of several machines, each with a folder of its own, all must know a result.
    """

    folder: Path
    distribution: tf.distribute.Strategy | None = None

    def find(self, parts: ModelParts, key: str) -> PhaseResult | None:
        """Put back the weights that a phase ended with; None where it is not known.

        A damaged result is removed with a warning, and the phase is to be run again.
        """
        found = self._read(key)
        if not everywhere(self.distribution, found is not None) or found is None:
            return None
        variables = _variables(parts)
        for name, value in found[1].items():
            variables[name].assign(value)
        return found[0]

    def _read(self, key: str) -> tuple[PhaseResult, dict[str, np.ndarray]] | None:
        try:
            record = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            content = (self.folder / f"{key}.safetensors").read_bytes()
            if xxhash.xxh3_128(content).hexdigest() != record["checksum"]:
                raise ValueError("its checksum does not fit")
            history = with_nan(record["result"]["history"])
            return PhaseResult(**record["result"] | {"history": history}), load(content)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(f"The result of a phase is damaged ({error}): the phase is run again.", stacklevel=2)
            self.remove(key)
            return None

    def keep(self, parts: ModelParts, key: str, before: dict[str, np.ndarray], result: PhaseResult) -> None:
        """Keep the weights that moved since `before`, and the result.

        Raises:
            OSError: If there is no room.
        """
        now = snapshot(parts)
        content = save(
            {
                name: value
                for name, value in now.items()
                if name not in before or not np.array_equal(before[name], value)
            }
        )
        write_whole(self.folder / f"{key}.safetensors", content)
        checksum = xxhash.xxh3_128(content).hexdigest()
        write_json(self.folder / f"{key}.json", {"checksum": checksum, "result": asdict(result)})

    def remove(self, key: str) -> None:
        """Forget a phase."""
        for ending in (".json", ".safetensors"):
            with suppress(FileNotFoundError):
                (self.folder / f"{key}{ending}").unlink()

    def remove_large(self, keys: list[str]) -> None:
        """Forget those of some phases that take much room."""
        for key in keys:
            path = self.folder / f"{key}.safetensors"
            if path.is_file() and path.stat().st_size > _LARGE:
                self.remove(key)


def run_once(
    checkpoints: Checkpoints, parts: ModelParts, phase: Phase, given: dict[str, Any], run: Callable[[], PhaseResult]
) -> tuple[str, PhaseResult]:
    """Take a phase's result from the checkpoints, or run and keep it.

    Args:
        checkpoints: Where results are kept.
        parts: Of the model, with the weights that the phase begins with; they are changed.
        phase: What is to be done.
        given: What else the result depends on, as JSON values: data, seed, balance.
        run: Runs the phase.

    Returns:
        The phase's key, and its result.
    """
    key = phase_key(parts, phase, given)
    if (known := checkpoints.find(parts, key)) is not None:
        parts.encoder.unfreeze(phase.unfreeze, batch_norm="train" if phase.batch_norm == "train" else "inference")
        return key, replace(known, name=phase.name)
    before = snapshot(parts)
    result = run()
    checkpoints.keep(parts, key, before, result)
    return key, result


def phase_key(parts: ModelParts, phase: Phase, given: dict[str, Any]) -> str:
    """A name for everything that a phase's result depends on: 40 hexadecimal digits."""
    head = parts.head
    depends = {
        "format": _FORMAT,
        "encoder": encoder_key(parts.encoder),
        "head": [[type(layer).__name__, _settings(layer)] for layer in head.layers],
        "weights": [xxhash.xxh3_128(np.ascontiguousarray(v).tobytes()).hexdigest() for v in head.get_weights()],
        "phase": asdict(phase) | {"name": ""},
        "given": given,
    }
    return hashlib.blake2b(json.dumps(depends, sort_keys=True).encode(), digest_size=20).hexdigest()


def _settings(layer: Any) -> dict[str, Any]:
    """What a layer of a head is told; names and flags change nothing."""
    return {name: str(value) for name, value in layer.get_config().items() if name not in ("name", "trainable")}


def snapshot(parts: ModelParts) -> dict[str, np.ndarray]:
    """The weights of encoder and head as they are, by their place."""
    found = {name: np.asarray(variable.numpy()) for name, variable in _variables(parts).items()}
    return {name: value for name, value in found.items() if value.dtype.kind in "biufc"}


def _variables(parts: ModelParts) -> dict[str, Any]:
    found = {f"head/{i}": variable for i, variable in enumerate(parts.head.weights)}
    for i, block in enumerate(parts.encoder.blocks):
        found |= {f"encoder/{i}/{j}": variable for j, variable in enumerate(block.variables)}
    return found
