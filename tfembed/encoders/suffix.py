"""Suffix: the part of an encoder behind a cut, as a Keras layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfembed.encoders.forward import INPUTS

if TYPE_CHECKING:
    from tfembed.encoders.encoder import Encoder


@keras.saving.register_keras_serializable(package="tfembed")
class Suffix(keras.layers.Layer):
    """The part of an encoder behind a cut: features in, embeddings out. Its weights are the encoder's own."""

    def __init__(self, encoder: Encoder, start: int, jit_compile: bool = False, **layer_options: Any) -> None:
        super().__init__(**{"dtype": "float32"} | layer_options)
        self.supports_jit = False
        self._convert_input_args = False
        self.encoder, self.start = encoder, start
        # Keras compiles whole models or nothing, and refuses those with layers for texts, which do not run here.
        self._run = tf.function(self._embed, jit_compile=True, reduce_retracing=True) if jit_compile else self._embed
        self.built = True

    def call(self, features: dict[str, Any], training: bool = False) -> Any:
        """Embed what crossed the cut, float32 `(n, dim)`."""
        if self.start == len(self.encoder.blocks):
            return features[INPUTS]
        return self._run(features, bool(training))

    def _embed(self, features: dict[str, Any], training: bool) -> Any:
        return tf.cast(self.encoder.run(features, self.start, len(self.encoder.blocks), training), tf.float32)

    def compute_output_spec(self, features: dict[str, Any], training: bool = False) -> Any:
        """A batch of embeddings."""
        return keras.KerasTensor((None, self.encoder.dim), dtype="float32")
