"""Examples that are prepared anew for each batch: nothing of them is kept but what they came as."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.data import read_images
from tfembed.encoders.encoder import Encoder, as_batch


class RawExamples:
    """Images, or texts that are no tokens yet, prepared batch by batch.

    They are not stored: prepared pixels take many times the room of the encoded image, and decoding costs little beside
    what trains behind it. Encoded images are decoded and resized in parallel.

    Args:
        encoder: Prepares them.
        examples: As in `Split.examples`.
    """

    def __init__(self, encoder: Encoder, examples: np.ndarray) -> None:
        self._encoder, self._examples = encoder, examples
        self._decode: Any = None
        self.lengths = np.ones(len(examples), np.int64)

    def batch(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """See Source."""
        examples = self._examples[rows]
        if self._encoder.spec.kind == "text" or examples.dtype != object or not len(rows):
            prepared = self._encoder.prepare(as_batch(examples))
        else:
            self._decode = self._decode or _decoder(self._encoder)
            prepared = self._decode(tf.constant(read_images(list(examples))))
        return {name: np.asarray(value) for name, value in prepared.items()}


def _decoder(encoder: Encoder) -> Any:
    """A function from encoded images to what the encoder takes, in a graph that takes several at a time."""

    def decode_one(encoded: Any) -> dict[str, Any]:
        return {name: value[0] for name, value in encoder.prepare(encoded[tf.newaxis]).items()}

    def decode(encoded: Any) -> dict[str, Any]:
        images = tf.data.Dataset.from_tensor_slices(encoded).map(decode_one, num_parallel_calls=tf.data.AUTOTUNE)
        return images.batch(tf.size(encoded, tf.int64)).get_single_element()

    return tf.function(decode, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
