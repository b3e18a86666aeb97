"""SavedModels as people write them by hand and as Keras exports them: no lists of variables, or signatures alone."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

IMAGES = tf.TensorSpec([None, 8, 8, 3], tf.float32, name="images")
TEXTS = tf.TensorSpec([None], tf.string, name="texts")


def weight(name: str, *shape: int) -> tf.Variable:
    """A variable with seeded random values."""
    return tf.Variable(np.random.default_rng(len(name)).normal(size=shape).astype("float32") / 10, name=name)


class Images(tf.Module):
    """Two dense layers on pixels, as the guide to tf.Module writes them; `form` is the spec of its input."""

    def __init__(self, form: tf.TensorSpec = IMAGES, *, jit_compile: bool = False) -> None:
        super().__init__()
        self.stem, self.top = weight("stem/kernel", 192, 5), weight("top/kernel", 5, 4)
        self.__call__ = tf.function(self._call, input_signature=[form], jit_compile=jit_compile, autograph=False)

    def _call(self, images: tf.Tensor) -> tf.Tensor:
        return tf.tanh(tf.reshape(tf.cast(images, tf.float32), [-1, 192]) @ self.stem) @ self.top


class Words(tf.Module):
    """A lookup table and a variable of strings in front of two layers."""

    def __init__(self) -> None:
        super().__init__()
        words = tf.lookup.KeyValueTensorInitializer(["hi", "refund"], tf.constant([1, 2], tf.int64))
        self.table = tf.lookup.StaticHashTable(words, 0)
        self.prefix = tf.Variable("say ", name="prefix")
        self.rows, self.top = weight("embedding/rows", 3, 5), weight("top/kernel", 5, 4)

    @tf.function(input_signature=[TEXTS], autograph=False)
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        words = tf.strings.regex_replace(self.prefix + texts, "^say ", "")
        return tf.gather(self.rows, self.table.lookup(words)) @ self.top


class Wrapped(tf.Module):
    """A Keras export that is called through a module."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.inner = tf.saved_model.load(folder)

    @tf.function(input_signature=[IMAGES], autograph=False)
    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self.inner.serve(images)


def write(module: Any, folder: Path, **options: Any) -> str:
    """Write a SavedModel."""
    tf.saved_model.save(module, str(folder), **options)
    return str(folder)


def write_keras_export(folder: Path) -> str:
    """What `model.export` of Keras 3 writes: signatures alone."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(2, 3, name="stem"), keras.layers.Flatten(), keras.layers.Dense(6, name="top")]
    keras.Sequential([keras.Input((8, 8, 3)), *layers]).export(str(folder), verbose=False)
    return str(folder)


def write_wrapped(folder: Path) -> str:
    """A Keras export inside of a tf.Module."""
    return write(Wrapped(write_keras_export(folder / "inner")), folder / "outer")
