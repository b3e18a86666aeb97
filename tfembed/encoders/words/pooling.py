"""From the vectors of words to one vector for a text."""

from typing import Any

import keras
import numpy as np

WORD_POOLINGS = ("mean", "max", "sif")


@keras.saving.register_keras_serializable(package="tfembed")
class WordPooling(keras.layers.Layer):
    """From the vectors of a text's words to one vector, zeros for a text without words.

    Args:
        pooling: `"mean"`; `"max"`; or `"sif"`, a sum of weighted vectors that is divided by the number of words.
        **layer_options: Options of `keras.layers.Layer`.

    Example:
        >>> import numpy as np
        >>> given = {"vectors": np.array([[[1.0], [4.0], [9.0]]]), "padding_mask": np.array([[1, 1, 0]])}
        >>> [float(WordPooling(pooling)(given)[0, 0]) for pooling in ("mean", "max")]
        [2.5, 4.0]
    """

    def __init__(self, pooling: str, **layer_options: Any) -> None:
        super().__init__(**layer_options)
        self.pooling = pooling

    def call(self, given: dict[str, Any]) -> Any:
        """Pool.

        Args:
            given: `vectors` `(n, length, dim)` and `padding_mask` `(n, length)`; where words are in parts, `shares` of
                a word that each part is, and for `"sif"` the `word_weights`, both `(n, length)`.

        Returns:
            `(n, dim)`.
        """
        ops, vectors = keras.ops, given["vectors"]
        real = ops.cast(given["padding_mask"], vectors.dtype)
        if self.pooling == "max":
            lowest = ops.where(real[..., None] > 0, vectors, ops.full_like(vectors, -np.inf))
            highest = ops.max(lowest, axis=1)
            return ops.where(highest > -np.inf, highest, ops.zeros_like(highest))
        words = real * given["shares"] if "shares" in given else real
        weights = words * given["word_weights"] if self.pooling == "sif" else words
        return ops.sum(vectors * weights[..., None], axis=1) / ops.maximum(ops.sum(words, axis=1, keepdims=True), 1e-6)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"pooling": self.pooling}
