"""Baselines: what every search has to beat, always in the leaderboard."""

import time

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from tfembed.data import Dataset
from tfembed.heads import linear_head
from tfembed.phases import Phase
from tfembed.predict import measure
from tfembed.search.candidate import Candidate
from tfembed.search.folds import Folds
from tfembed.search.trial import Trial, summarize
from tfembed.strategies import Strategy, full, linear_probe

MAJORITY = "majority"


def probe(encoder: str) -> Candidate:
    """A linear probe of an encoder: runs before the trials."""
    return Candidate(encoder=encoder, strategy=linear_probe(), head=linear_head())


def thorough(encoder: str, epochs: int) -> dict[str, Candidate]:
    """Return full fine-tuning, and the same architecture from scratch, by name: costly, they run last.

    From scratch, all epochs are run. They are as many as the trials may have, most often too few for the loss to become
    flat, so the name says how many.
    """
    phase = Phase(
        name="scratch",
        unfreeze=True,
        epochs=epochs,
        learning_rate=1e-3,
        patience=epochs,
        batch_norm="train",  # a network that was never trained has no statistics
    )
    name = f"from scratch, {epochs} epoch{'s' * (epochs != 1)}"
    scratch = Strategy(name=name, phases=(phase,))
    return {
        "full fine-tuning": Candidate(encoder=encoder, strategy=full(epochs=epochs), head=linear_head()),
        name: Candidate(encoder=encoder, strategy=scratch, head=linear_head(), pretrained=False),
    }


def majority(folds: Folds, seeds: tuple[int, ...]) -> Trial:
    """What one reaches who always says the same: the commonest class, or the mean."""
    began = time.perf_counter()
    executions = [
        {"seed": seeds[0], "fold": fold, "metrics": measure(data.task, data.validation, _constant(data)), "phases": []}
        for fold, data in enumerate(folds.datasets)
    ]
    metrics, _ = summarize(executions, folds.sizes)
    return Trial(
        key=MAJORITY,
        name="mean" if folds.datasets[0].task == "regression" else "majority class",
        baseline=True,
        state="completed",
        metrics=metrics,
        executions=tuple(executions),
        spent=time.perf_counter() - began,
    )


def _constant(data: Dataset) -> np.ndarray:
    """The same outputs for each validation example, as `Predictions.probabilities`."""
    known, labels = np.zeros((len(data.train), 1)), data.train.labels
    if data.task == "regression":
        values = DummyRegressor().fit(known, labels).predict(np.zeros((len(data.validation), 1)))
        return values.reshape(-1, 1).astype("float32")
    if data.task == "multi_label":
        return np.repeat(labels.mean(axis=0, keepdims=True), len(data.validation), axis=0).astype("float32")
    model = DummyClassifier(strategy="prior").fit(known, labels)
    return np.asarray(model.predict_proba(np.zeros((len(data.validation), 1))), "float32")
