"""Validation: whether a phase made a model better or worse on examples that it does not train on."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.batches import targets
from tfembed.data import Dataset
from tfembed.encoders.encoder import INPUTS
from tfembed.features import FeatureCache
from tfembed.heads import is_untrained
from tfembed.phases import Phase
from tfembed.predict import ModelParts


@contextmanager
def undone_if_worse(parts: ModelParts, data: Dataset, phase: Phase, cache: FeatureCache) -> Iterator[dict[str, bool]]:
    """Put the weights back where the validation loss is higher than it was, and say so.

    A contrastive phase is not judged by it: its head has yet to be found. Nor is a head that is solved for the first
    time: before, there was chance, whose loss is lower than that of a head that is right more often, but too sure.
    """
    verdict, layers = {"kept": True}, (parts.encoder, parts.head)
    is_first = phase.solve and is_untrained(parts.head)
    judged = len(data.validation) > 0 and phase.objective == "labels" and not is_first
    before = _validation_loss(parts, data, cache) if judged else np.inf
    weights = [layer.get_weights() for layer in layers] if judged else []
    yield verdict
    if judged and not _validation_loss(parts, data, cache) <= before:
        for layer, values in zip(layers, weights, strict=True):
            layer.set_weights(values)
        verdict["kept"] = False


def _validation_loss(parts: ModelParts, data: Dataset, cache: FeatureCache) -> float:
    """The validation loss; of embeddings that are kept, and found again by `evaluate`."""
    rows, cut = np.arange(len(data.validation)), len(parts.encoder.blocks)
    embeddings = cache.get(parts.encoder, data.validation.examples, cut).batch(rows)[INPUTS]
    logits = parts.head(tf.constant(embeddings), training=False)
    return float(loss_of(data.task)(targets(data.validation.labels, data), logits))


def loss_of(task: str, label_smoothing: float = 0.0) -> Any:
    """Of logits, or of values."""
    if task == "regression":
        return keras.losses.MeanSquaredError()
    kinds = {"classification": keras.losses.CategoricalCrossentropy, "multi_label": keras.losses.BinaryCrossentropy}
    return kinds[task](from_logits=True, label_smoothing=label_smoothing)
