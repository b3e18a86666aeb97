"""Tiny modules for the tests of blocks and cuts: written as SavedModels with plain TensorFlow, and loaded again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.saved_model.blocks import find_blocks
from tfembed.saved_model.cut import ModuleGraph

ROWS = tf.TensorSpec([None, 4], tf.float32)


def weight(name: str, *shape: int, seed: int = 0) -> tf.Variable:
    """A variable with seeded random values."""
    return tf.Variable(np.random.default_rng(seed + len(name)).normal(size=shape).astype("float32"), name=name)


def publish(
    folder: Path, call: Callable[..., Any], variables: Sequence[tf.Variable], *specs: Any, **tracked: Any
) -> Any:
    """Save a tf.function with `variables`, traced for each of `specs` (tuples of arguments), and load it."""
    module = tf.train.Checkpoint()
    module.__call__ = tf.function(call, autograph=False)
    for spec in specs:
        module.__call__.get_concrete_function(*spec)
    module.variables = list(variables)
    for name, value in tracked.items():
        setattr(module, name, value)
    tf.saved_model.save(module, str(folder))
    return tf.saved_model.load(str(folder))


def cut_up(module: Any, **options: Any) -> ModuleGraph:
    """The module's graph with the blocks that are found in it."""
    concretes = module.__call__.concrete_functions
    ordered = sorted(
        concretes, key=lambda f: True in [a for a in f.structured_input_signature[0] if isinstance(a, bool)]
    )
    return ModuleGraph(module.__call__, find_blocks(module, *ordered), **options)


def norm_and_dropout(folder: Path) -> Any:
    """Two blocks of dense, batch norm, dropout, and a dense block: written by Keras, with a `training` argument."""
    inputs = keras.Input((4,))
    x = inputs
    for i in range(2):
        x = keras.layers.Dense(5, activation="tanh", name=f"block_{i}_dense")(x)
        x = keras.layers.BatchNormalization(momentum=0.5, name=f"block_{i}_bn")(x)
        x = keras.layers.Dropout(0.5, seed=i, name=f"block_{i}_dropout")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="top_dense")(x))
    rng = np.random.default_rng(3)
    for variable in model.variables:
        if variable.dtype == "float32":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))

    def call(inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        return model(inputs, training=training)

    variables = [variable.value for variable in model.variables]
    return publish(folder, call, variables, (ROWS, True), (ROWS, False))


def flat_dense(x: tf.Tensor, kernel: tf.Variable) -> tf.Tensor:
    """A dense layer with tanh."""
    return tf.tanh(tf.matmul(x, kernel))
