"""Validation: whether a phase made a model better or worse on examples that it does not train on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.batches import targets
from tfembed.data import Dataset, Split
from tfembed.encoders.encoder import INPUTS
from tfembed.features import FeatureCache
from tfembed.head_layers import is_untrained, zero_outputs
from tfembed.phases import Phase
from tfembed.predict import ModelParts


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What was found when a phase was judged; see `PhaseResult` for the attributes."""

    kept: bool = True
    loss: float | None = None
    earlier_loss: float | None = None
    judged_on: str | None = None
    judged_by: str | None = None


@contextmanager
def undone_if_worse(parts: ModelParts, data: Dataset, phase: Phase, cache: FeatureCache) -> Iterator[Verdict]:
    """Put the weights back where the validation loss is higher than it was, and say so.

    A contrastive phase is not judged by it: its head has yet to be found. Nor is a head of classes that is solved for
    the first time: before, there was chance, whose loss is lower than that of a head that is right more often, but too
    sure.

    A regressor must also do at least as well as the mean of the training targets, on the training split if there is no
    validation split. If its earlier weights do not either, or its head was untrained, it is set to predict that mean.
    """
    verdict, layers, has_validation = Verdict(), (parts.encoder, parts.head), len(data.validation) > 0
    is_regression, untrained = parts.task == "regression", is_untrained(parts.head)
    judges_classes = has_validation and phase.objective == "labels" and not (phase.solve and untrained)
    if not (is_regression or judges_classes):
        yield verdict
        return
    split = data.validation if has_validation else data.train
    before = np.inf if is_regression and untrained else _loss(parts, split, cache)
    weights = [layer.get_weights() for layer in layers]
    yield verdict
    of_mean = _loss_of_mean(parts, split) if is_regression else np.inf
    limit = min(before, of_mean) if has_validation else of_mean
    verdict.judged_on = "validation" if has_validation else "training"
    verdict.judged_by = "earlier weights" if has_validation and before <= of_mean else "mean"
    verdict.loss = _loss(parts, split, cache)
    verdict.earlier_loss = None if np.isinf(limit) else limit
    if verdict.loss <= limit:
        return
    verdict.kept = False
    for layer, values in zip(layers, weights, strict=True):
        layer.set_weights(values)
    if is_regression and not before <= of_mean:
        zero_outputs(parts.head)


def _loss(parts: ModelParts, split: Split, cache: FeatureCache) -> float:
    """The loss on a split; of embeddings that are cached, which `evaluate` uses again."""
    rows, cut = np.arange(len(split)), len(parts.encoder.blocks)
    embeddings = cache.get(parts.encoder, split.examples, cut).batch(rows)[INPUTS]
    logits = parts.head(tf.constant(embeddings), training=False)
    return float(loss_of(parts.task)(targets(split.labels, parts), logits))


def _loss_of_mean(parts: ModelParts, split: Split) -> float:
    """The loss of a regressor whose head gives 0, so that it always predicts the mean of the training targets."""
    expected = targets(split.labels, parts)
    return float(loss_of(parts.task)(expected, np.zeros_like(expected)))


def loss_of(task: str, label_smoothing: float = 0.0) -> Any:
    """Of logits, or of standardized values."""
    if task == "regression":
        return keras.losses.MeanSquaredError()
    kinds = {"classification": keras.losses.CategoricalCrossentropy, "multi_label": keras.losses.BinaryCrossentropy}
    return kinds[task](from_logits=True, label_smoothing=label_smoothing)
