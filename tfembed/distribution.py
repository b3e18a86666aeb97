"""One phase on several devices at once: a copy of the weights on each, and a part of every batch (tf.distribute).

The devices are those of one machine, or of several, each of which runs the same program on the same data.

Everything else runs on one device: features are computed once, and a head is solved in a moment. So a model is made
without a strategy, and its weights are spread over the devices for as long as a phase fits them.
"""

from collections.abc import Callable, Iterator, Sequence
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


def everywhere(distribution: tf.distribute.Strategy | None, holds: bool) -> bool:
    """Whether something holds on every machine that shares a run; all of them ask, at the same point of it.

    What is done next must be the same on all: a machine that trains alone waits for the others for ever.

    Example:
        >>> everywhere(None, True)
        True
    """
    if not isinstance(distribution, tf.distribute.MultiWorkerMirroredStrategy):
        return holds
    vote = tf.function(lambda value: distribution.run(tf.identity, [value]))  # Keras's steps are functions, too
    votes = vote(tf.constant(float(holds)))
    return bool(distribution.reduce(tf.distribute.ReduceOp.MEAN, votes, axis=None) == 1)


def prepare_fit(model: keras.Model, targets: np.ndarray) -> None:
    """Have a compiled model fit under a strategy as it fits without one.

    Args:
        model: Compiled under the strategy.
        targets: `(n, ...)`, of all examples.
    """
    # Keras takes a batch only to see its shape: that draws another order for the epochs, and fails where batches are
    # dictionaries on several machines. All that it would build is built here.
    model._compile_loss.build(keras.KerasTensor((None, *targets.shape[1:])), model.output)
    model._maybe_symbolic_build = lambda **_: None
    # On several machines it takes the mean of the logs of all along their first axis, which a number does not have.
    if isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
        model.train_step, model.test_step = _with_an_axis(model.train_step), _with_an_axis(model.test_step)


def _with_an_axis(step: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    return lambda data: {name: tf.reshape(value, [1]) for name, value in step(data).items()}


DISTRIBUTIONS = ("mirrored", "multi-worker")


def open_distribution(name: str | None) -> tf.distribute.Strategy | None:
    """The strategy of a name.

    Args:
        name: `"mirrored"` for the GPUs of this machine; `"multi-worker"` for several machines, each of which runs the
            same program and has the environment variable TF_CONFIG say which it is; None for none.

    Raises:
        ValueError: If the name is none of these, or TF_CONFIG names no workers.

    Example:
        >>> open_distribution(None) is None
        True
    """
    if name is None:
        return None
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name != "multi-worker":
        raise ValueError(f"Unknown distribution {name!r}: expected one of {', '.join(DISTRIBUTIONS)}.")
    if "worker" not in tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec().jobs:
        raise ValueError(
            "distribution multi-worker: the environment variable TF_CONFIG names no workers. Set it on each machine: "
            """'{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}', """
            "with the index of the machine."
        )
    return tf.distribute.MultiWorkerMirroredStrategy()
