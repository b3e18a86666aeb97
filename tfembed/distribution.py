"""One phase on several devices at once: a copy of the weights on each, and a part of every batch (tf.distribute).

Everything else runs on one device: features are computed once, and a head is solved in a moment. So a model is made
without a strategy, and its weights are spread over the devices for as long as a phase fits them.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.encoders.encoder import Encoder


@contextmanager
def spread(
    distribution: tf.distribute.Strategy | None, encoder: Encoder, variables: Sequence[keras.Variable]
) -> Iterator[None]:
    """Have a copy of each variable on every device for a while; afterwards they are what the copies became.

    What is compiled and fitted in between runs under the strategy.

    Args:
        distribution: The strategy; None for one device, where nothing is to be done.
        encoder: Whose variables some of them are.
        variables: What the model to be fitted reads or changes.
    """
    if distribution is None:
        yield
        return
    own = [variable._value for variable in variables]
    with distribution.scope():
        for variable in variables:
            variable._initialize(variable.numpy())
        encoder.parts.stand_in({id(value): v._value for value, v in zip(own, variables, strict=True)})
    try:
        with distribution.scope():
            yield
    finally:  # also where the phase is stopped in the middle
        with distribution.scope():
            merged = [_merged(distribution, variable) for variable in variables]
        encoder.parts.stand_in({})
        for variable, value, became in zip(variables, own, merged, strict=True):
            value.assign(became)
            variable._initialize(value)


def _merged(distribution: tf.distribute.Strategy, variable: keras.Variable) -> Any:
    """What the copies became: one of them, as all are the same; of moving statistics, which may differ, the mean."""
    if variable.trainable or not np.issubdtype(np.dtype(variable.dtype), np.floating):
        return variable.numpy()
    return distribution.reduce(tf.distribute.ReduceOp.MEAN, variable._value, axis=None)


def num_replicas(distribution: tf.distribute.Strategy | None) -> int:
    """In how many parts a batch is.

    Example:
        >>> num_replicas(None)
        1
    """
    return 1 if distribution is None else distribution.num_replicas_in_sync


def open_distribution(name: str | None) -> tf.distribute.Strategy | None:
    """The strategy of a name.

    Args:
        name: `"mirrored"` for the GPUs of this machine; None for none.

    Raises:
        ValueError: If the name is none of these.

    Example:
        >>> open_distribution(None) is None
        True
    """
    if name not in (None, "mirrored"):
        raise ValueError(f"Unknown distribution {name!r}: expected mirrored.")
    return None if name is None else tf.distribute.MirroredStrategy()


def check_distribution(distribution: tf.distribute.Strategy | None) -> None:
    """Check that a phase can be fitted under a strategy.

    Raises:
        ValueError: If its devices are those of several machines: `fit` of Keras 3 fails with these.
    """
    if isinstance(distribution, tf.distribute.MultiWorkerMirroredStrategy):
        raise ValueError(
            "distribution: fit of Keras 3 fails under MultiWorkerMirroredStrategy. Pass a MirroredStrategy, for the "
            "devices of one machine; several machines can share the trials of a search, see `search`."
        )
