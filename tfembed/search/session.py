"""Session: one training of a candidate with one seed on one fold, which remembers what it did if it is stopped."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.data import Dataset
from tfembed.distribution import num_replicas
from tfembed.features import FeatureCache
from tfembed.phases import Phase
from tfembed.predict import ModelParts
from tfembed.running import PhaseResult, run_phase
from tfembed.search.checkpoints import Checkpoints, run_once
from tfembed.search.pruning import Diverged, Stopped
from tfembed.search.trial import curve_of

# From the validation losses so far to why the trial should stop, or None.
Watch = Callable[[list[float]], str | None]


class Session:
    """One training.

    Args:
        checkpoints: Where phases are kept.
        data_key: A name for the content of the data.
        watch: Asked after each epoch.
    """

    def __init__(self, checkpoints: Checkpoints, data_key: str, watch: Watch | None = None) -> None:
        self._checkpoints, self._data_key, self._watch = checkpoints, data_key, watch
        self.phases: list[PhaseResult] = []
        self.keys: list[str] = []
        self._history: dict[str, list[float]] = {}

    def run(  # noqa: PLR0913 - as `run_phase`
        self,
        parts: ModelParts,
        data: Dataset,
        phase: Phase,
        *,
        seed: int,
        balanced: bool,
        cache: FeatureCache,
        distribution: tf.distribute.Strategy | None = None,
    ) -> PhaseResult:
        """Run a phase for `train`, or take what is known of it.

        Raises:
            Stopped: If the watch says so; what was done of the phase is among the phases.
            Diverged: If the loss is no number any more.
        """
        started, self._history = time.perf_counter(), {}

        def run() -> PhaseResult:
            how: dict[str, Any] = {"balanced": balanced, "cache": cache, "distribution": distribution}
            return run_phase(parts, data, phase, seed=seed, on_epoch=self._on_epoch, **how)

        given = {"data": self._data_key, "seed": seed, "balanced": balanced}
        if distribution is not None:  # sums in another order, and batch norm of smaller batches
            given["devices"] = num_replicas(distribution)
        try:
            key, result = run_once(self._checkpoints, parts, phase, given, run)
        except Stopped:
            self.phases.append(self._cut_short(parts, phase, time.perf_counter() - started))
            raise
        if result.num_frozen < len(parts.encoder.blocks):
            parts.encoder.note_training(result.num_frozen, data.train.examples, data.validation.examples)
        self.keys.append(key)
        self.phases.append(result)
        return result

    def _on_epoch(self, logs: dict[str, float]) -> None:
        for name, value in logs.items():
            self._history.setdefault(name, []).append(float(value))
            if "loss" in name and not math.isfinite(value):
                raise Diverged(f"the {name.replace('_', ' ')} became {value} in epoch {len(self._history[name])}")
        curve = curve_of([*map(asdict, self.phases), {"history": self._history}])
        if self._watch is not None and "val_loss" in logs and (reason := self._watch(curve)) is not None:
            raise Stopped(reason)

    def _cut_short(self, parts: ModelParts, phase: Phase, seconds: float) -> PhaseResult:
        variables: list[Any] = [*parts.encoder.trainable_variables, *parts.head.trainable_variables]
        return PhaseResult(
            name=phase.name,
            num_frozen=parts.encoder.num_frozen,
            trained_parameters=sum(int(np.prod(variable.shape)) for variable in variables),
            seconds=seconds,
            history=self._history,
            not_cut=None,
            kept=True,
        )
