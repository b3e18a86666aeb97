"""Encoders small enough to train in a moment: Keras models of three blocks, with weights that are always the same."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.preprocessing import ImagePreprocessing
from tfembed.encoders.spec import EncoderSpec


def tiny_image_encoder(dropout: float = 0.3, activation: str = "tanh", scale: float = 1.0) -> Encoder:
    """Three blocks of convolution and batch norm, dropout, and a sum that reaches over the cuts; frozen."""
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")

    def block(number: int, x: Any) -> Any:
        # without a bias: batch norm takes it away again, and what has no gradient is moved by rounding errors alone
        x = layers.Conv2D(4, 3, padding="same", use_bias=False, name=f"block_{number}_conv")(x)
        x = layers.BatchNormalization(name=f"block_{number}_bn")(x)
        return layers.Dropout(dropout, seed=0)(layers.Activation(activation)(x))

    first = block(1, image)
    second = block(2, first)
    third = block(3, layers.Add()([first, second]))
    pooled = layers.GlobalAveragePooling2D()(layers.Concatenate()([third, first, image]))
    body = keras.Model(image, pooled, name="tiny")
    _fill(body)
    spec = EncoderSpec(name="tiny", handle="tiny", kind="image", image_size=(8, 8))
    return _frozen(Encoder(spec, body, ImagePreprocessing((8, 8), scale=scale)))


def tiny_text_encoder(**options: Any) -> Encoder:
    """Letters to vectors, mixed along the text in two layers, and their mean; frozen."""
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    real = keras.ops.expand_dims(keras.ops.cast(mask, "float32"), -1)
    x = keras.layers.Embedding(128, 6, name="token_embedding")(ids)
    for i in range(2):
        mean = keras.ops.sum(x * real, 1, keepdims=True) / keras.ops.maximum(keras.ops.sum(real, 1, keepdims=True), 1.0)
        x = x + keras.layers.Dense(6, activation="tanh", name=f"layer_{i}_dense")(x + mean)
    body = keras.Model({"token_ids": ids, "padding_mask": mask}, x, name="tiny_text")
    _fill(body)
    spec = EncoderSpec(**{"name": "tiny_text", "handle": "tiny", "kind": "text", "pooling": "mean"} | options)
    return _frozen(Encoder(spec, body, Letters()))


@keras.saving.register_keras_serializable(package="tests")
class Letters(keras.layers.Layer):
    """Texts to the numbers of their letters, padded to 16."""

    def __init__(self, **layer_options: Any) -> None:
        super().__init__(**{"dtype": "int32", "trainable": False} | layer_options)
        self._convert_input_args = False

    def call(self, texts: Any) -> Any:
        letters = tf.cast(tf.io.decode_raw(texts, tf.uint8, fixed_length=16), tf.int32)
        return {"token_ids": letters, "padding_mask": tf.cast(letters > 0, tf.int32)}

    def compute_output_spec(self, texts: Any) -> Any:
        return {name: keras.KerasTensor((None, 16), dtype="int32") for name in ("token_ids", "padding_mask")}


def pixels(count: int, seed: int = 0, channels: int | None = 3) -> np.ndarray:
    """Random images of 8 x 8 pixels."""
    shape = (count, 8, 8) if channels is None else (count, 8, 8, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype("uint8")


def _fill(body: keras.Model) -> None:
    rng = np.random.default_rng(0)
    for weight in body.weights:
        if "seed_generator" not in weight.path:
            weight.assign(
                rng.uniform(0.2, 0.8, weight.shape) if "moving" in weight.path else rng.normal(0, 0.4, weight.shape)
            )


def _frozen(encoder: Encoder) -> Encoder:
    encoder.unfreeze(False)
    return encoder


def write_module_of_same_names(folder: Path) -> str:
    """Three dense layers whose variables are all called `kernel` and `bias`."""
    module, layers = tf.train.Checkpoint(), []
    for i, shape in enumerate(((3, 5), (5, 5), (5, 4))):
        kernel = tf.Variable(np.random.default_rng(i).normal(size=shape).astype("float32"), name="kernel")
        layers.append(tf.train.Checkpoint(kernel=kernel, bias=tf.Variable(tf.zeros(shape[1]), name="bias")))
        setattr(module, f"layer_{i}", layers[-1])

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], tf.float32)], autograph=False)
    def call(images: tf.Tensor) -> tf.Tensor:
        x = tf.reduce_mean(images, (1, 2))
        for layer in layers:
            x = tf.tanh(x @ layer.kernel + layer.bias)
        return x

    module.__call__ = call
    module.variables = module.trainable_variables = [v for layer in layers for v in (layer.kernel, layer.bias)]
    tf.saved_model.save(module, str(folder))
    return str(folder)
