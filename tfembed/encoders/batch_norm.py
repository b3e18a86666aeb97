"""Batch norm of blocks that train: which statistics it normalizes by, and their estimation on training images."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.encoders.encoder import Encoder, Suffix
from tfembed.phases import Phase

_MOST_FOR_INFERENCE = 1_000  # training images; measured at 84 to 4,708
_WORDS = {
    "inference": "in inference mode",
    "train": "in training mode",
    "adapt": "in inference mode with statistics of the training images",
}


def choose_batch_norm(batch_norm: str, encoder: Encoder, num_examples: int) -> str:
    """Choose the statistics for a phase, where it leaves them to the number of training examples.

    Args:
        batch_norm: As in `Phase`.
        encoder: With that unfrozen which the phase unfreezes.
        num_examples: Number of training examples.

    Returns:
        `"inference"`, `"train"` or `"adapt"`. For `"auto"`: `"inference"` up to 1,000 examples, and for a SavedModel,
        which cannot be adapted; `"adapt"` beyond; but `"train"` where the statistics are those of new layers, which
        never saw any data. `benchmarks/batch_norm.py` has the figures behind it.

    Raises:
        ValueError: If statistics should be adapted that a SavedModel hides.
    """
    norms = encoder.parts.batch_norms
    if batch_norm == "adapt" and norms is None:
        raise ValueError(
            f"batch_norm='adapt': encoder {encoder.spec.name!r} is a SavedModel, which hides its batch norm. Pass "
            "'inference' or 'train', or take an encoder of Keras layers."
        )
    if batch_norm != "auto":
        return batch_norm
    if norms and all(map(_is_new, norms)):
        return "train"
    return "inference" if norms is None or num_examples <= _MOST_FOR_INFERENCE else "adapt"


def batch_norm_in_words(batch_norm: str, encoder: Encoder) -> str:
    """The statistics of a phase in words, to be put behind what it trains; nothing where no batch norm trains.

    Raises:
        ValueError: As by `choose_batch_norm`.
    """
    few, many = (choose_batch_norm(batch_norm, encoder, count) for count in (0, _MOST_FOR_INFERENCE + 1))
    if not encoder.parts.trains_batch_norm:
        return ""
    beyond = f"; beyond {_MOST_FOR_INFERENCE:,} training images {_WORDS[many]}" if few != many else ""
    return f"; batch norm {_WORDS[few]}{beyond}"


def unfreeze_for(phase: Phase, encoder: Encoder, num_examples: int) -> str:
    """Unfreeze what a phase unfreezes, its batch norm as `choose_batch_norm` chooses, which is returned.

    Raises:
        ValueError: If the phase unfreezes what the encoder does not have, or adapts what a SavedModel hides.
    """
    encoder.unfreeze(phase.unfreeze)
    chosen = choose_batch_norm(phase.batch_norm, encoder, num_examples)
    encoder.unfreeze(phase.unfreeze, batch_norm="train" if chosen == "train" else "inference")
    return chosen


def adapt(encoder: Encoder, batches: Iterable[dict[str, Any]], cut: int) -> None:
    """Estimate the statistics of batch norm in the blocks that train, on features in front of a cut.

    Each layer gets mean and variance of its inputs over all examples, while those below it normalize by statistics of
    their batch (PreciseBN of https://arxiv.org/abs/2105.07576). Dropout acts as in training.

    Args:
        encoder: With the blocks unfrozen.
        batches: Features of the training images at the cut, each a dictionary of arrays with a row per image.
        cut: Number of frozen blocks from the input end.
    """
    if not (norms := encoder.parts.batch_norms):
        return
    count, suffix = 0, Suffix(encoder, cut)  # a layer, whose call tells those inside of others that they train
    sums = [np.zeros([2, *norm.moving_mean.shape]) for norm in norms]
    with _storing_batches(norms):
        for features in batches:
            size = len(next(iter(features.values())))
            suffix({name: tf.convert_to_tensor(value) for name, value in features.items()}, training=True)
            for total, norm in zip(sums, norms, strict=True):
                mean, variance = norm.moving_mean.numpy().astype("float64"), norm.moving_variance.numpy()
                total += size * np.stack([mean, variance + mean**2])
            count += size
    for total, norm in zip(sums, norms, strict=True):
        mean, square = total / count
        norm.moving_mean.assign(mean)
        norm.moving_variance.assign(square - mean**2)


@contextmanager
def _storing_batches(norms: Sequence[keras.layers.BatchNormalization]) -> Iterator[None]:
    """Let each call of batch norm leave the statistics of its batch; what trains, trains as before at the end."""
    before = [(norm, norm.momentum, norm.trainable, [v.trainable for v in norm.variables]) for norm in norms]
    for norm in norms:
        norm.momentum, norm.trainable = 0.0, True
    try:
        yield
    finally:
        for norm, momentum, trainable, flags in before:
            norm.momentum, norm.trainable = momentum, trainable
            for variable, flag in zip(norm.variables, flags, strict=True):
                variable.trainable = flag


def _is_new(norm: keras.layers.BatchNormalization) -> bool:
    return bool(np.all(norm.moving_mean.numpy() == 0) and np.all(norm.moving_variance.numpy() == 1))
