"""Workshop: where candidates are tried, seed by seed and fold by fold, with all that they share."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.builders import build_model
from tfembed.data import Dataset
from tfembed.features import FeatureCache
from tfembed.predict import evaluate, parts_of, predict_quietly
from tfembed.search.candidate import Candidate
from tfembed.search.checkpoints import Checkpoints
from tfembed.search.encoders import Encoders, randomize
from tfembed.search.folds import Folds
from tfembed.search.pruning import Diverged, Stopped
from tfembed.search.session import Session
from tfembed.search.trial import Trial, curve_of, summarize
from tfembed.train import Result, execute, fit

Arrays = dict[str, np.ndarray]
# From the validation losses of each fold that was begun to why the trial should stop in the last one, or None.
Watch = Callable[[list[list[float]]], str | None]
# Another machine of a distribution is gone, which is no fault of the trial.
_MACHINE_GONE = (tf.errors.UnavailableError, tf.errors.AbortedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What trials share.

    Attributes:
        folds: What they learn from and are measured on.
        encoders: By name.
        seeds: Each trial is run with every one.
        balanced: Whether every class counts the same.
        cache: Of features.
        checkpoints: Of phases.
        distribution: See `train`.
    """

    folds: Folds
    encoders: Encoders
    seeds: tuple[int, ...]
    balanced: bool
    cache: FeatureCache
    checkpoints: Checkpoints
    distribution: tf.distribute.Strategy | None = None

    def model(self, candidate: Candidate, data: Dataset, seed: int) -> keras.Model:
        """The candidate's model as it is before training.

        Raises:
            ValueError: If the encoder should begin from scratch, and cannot.
        """
        encoder = self.encoders.fresh(candidate.encoder)
        if not candidate.pretrained:
            randomize(encoder, seed)
        return build_model(encoder, data, candidate.head)

    def train(self, candidate: Candidate, model: keras.Model, data: Dataset, session: Session, seed: int) -> Result:
        """Train a model; phases that are known are not run again."""
        run = partial(session.run, balanced=self.balanced, cache=self.cache, distribution=self.distribution)
        return execute(model, data, candidate.strategy, seed=seed, run=run, cache=self.cache)


def try_candidate(shop: Workshop, candidate: Candidate, name: str, watch: Watch | None) -> tuple[Trial, Arrays]:
    """Train a candidate with every seed on every fold, and measure it on what it has not seen.

    Running out of memory, a loss that is no number, or a strategy that the encoder cannot bear make a failed trial with
    its reason; a disk that cannot be written ends the search, and so does a machine of a distribution that is gone.

    Args:
        shop: What trials share.
        candidate: What to train.
        name: Of the trial.
        watch: Asked after each epoch of the first seed whether the trial should stop.

    Returns:
        The trial, and what the first seed's models say of validation examples: `rows` where they stand, `fold`,
        `labels`, `outputs`.

    Raises:
        OSError: If the disk is full or cannot be written.
        tf.errors.UnavailableError: If another machine is gone.
    """
    began, attempt = time.perf_counter(), _Attempt()
    try:
        attempt.run(shop, candidate, watch)
        state, reason = ("completed", None) if attempt.stopped is None else ("stopped", attempt.stopped)
    except (OSError, *_MACHINE_GONE):
        raise
    except Exception as error:
        state, reason = "failed", explain(error)
    shop.checkpoints.remove_large(attempt.keys)
    metrics, spread = summarize(attempt.executions, shop.folds.sizes) if state != "failed" else ({}, {})
    phases = [phase for execution in attempt.executions for phase in execution["phases"]]
    trial = Trial(
        key=candidate.key,
        name=name,
        candidate=candidate.to_dict(),
        state=state,
        reason=reason,
        metrics=metrics,
        spread=spread,
        executions=tuple(attempt.executions),
        trained_parameters=max((phase["trained_parameters"] for phase in phases), default=0),
        export_bytes=attempt.export_bytes,
        seconds=sum(phase["seconds"] for phase in phases) / max(1, len(attempt.executions)),
        spent=time.perf_counter() - began,
    )
    return trial, attempt.predictions()


class _Attempt:
    """What was done of a trial, also where it fails in the middle."""

    def __init__(self) -> None:
        self.executions: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.stopped: str | None = None
        self.export_bytes = 0
        self._predicted: list[Arrays] = []

    def run(self, shop: Workshop, candidate: Candidate, watch: Watch | None) -> None:
        for seed in shop.seeds:
            for fold in range(len(shop.folds.datasets)):
                self._execute(shop, candidate, seed, fold, watch if seed == shop.seeds[0] else None)
                if self.stopped is not None:
                    return

    def _execute(self, shop: Workshop, candidate: Candidate, seed: int, fold: int, watch: Watch | None) -> None:
        data = shop.folds.datasets[fold]
        curves = [curve_of(execution["phases"]) for execution in self.executions]
        asked = None if watch is None else lambda curve: watch([*curves, curve])
        session = Session(shop.checkpoints, shop.folds.keys[fold], asked)
        model = shop.model(candidate, data, seed)
        try:
            run = partial(session.run, balanced=shop.balanced, cache=shop.cache, distribution=shop.distribution)
            fit(model, data, candidate.strategy, seed=seed, run=run, cache=shop.cache)
        except Stopped as stop:
            self.stopped = str(stop)
        finally:
            self.keys += session.keys
        metrics = evaluate(model, data.validation, cache=shop.cache)
        if not all(map(np.isfinite, metrics.values())):
            raise Diverged(f"the metrics became {metrics}")
        if seed == shop.seeds[0]:
            outputs = predict_quietly(model, data.validation.examples, shop.cache).probabilities
            rows, labels = shop.folds.rows[fold], data.validation.labels
            self._predicted.append(
                {"rows": rows, "fold": np.full(len(rows), fold), "labels": labels, "outputs": outputs}
            )
        self.export_bytes = weight_bytes(model)
        phases, temperature = [asdict(phase) for phase in session.phases], parts_of(model).temperature
        execution = {"seed": seed, "fold": fold, "metrics": metrics, "temperature": temperature, "phases": phases}
        self.executions.append(execution)

    def predictions(self) -> Arrays:
        names = self._predicted[0] if self._predicted else ()
        return {name: np.concatenate([each[name] for each in self._predicted]) for name in names}


def weight_bytes(model: keras.Model) -> int:
    """Bytes of a model's weights: about what an export takes, without vocabularies."""
    return sum(int(np.prod(weight.shape)) * tf.as_dtype(weight.dtype).size for weight in model.weights)


def explain(error: Exception) -> str:
    """Why a trial failed, in one line."""
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return f"out of memory: {_first_line(error)}"
    if isinstance(error, Diverged):
        return f"diverged: {error}"
    return _first_line(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
