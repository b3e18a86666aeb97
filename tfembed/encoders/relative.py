"""Transformer layers whose attention depends on how far apart two tokens are, as in MPNet. Keras has none."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfembed")
class RelativeBias(keras.layers.Layer):
    """What is added to the attention between two places, by their distance (https://arxiv.org/abs/1910.10683).

    Args:
        num_buckets: Distances are sorted into so many, half of them for each direction; far ones share a bucket.
        num_heads: Heads of the attention; each has its own values.
        max_distance: Distances from here on share one.
        **layer_options: Options of `keras.layers.Layer`.

    Example:
        >>> RelativeBias(8, 2)(ops.zeros([5, 3], "int32")).shape
        TensorShape([1, 2, 3, 3])
    """

    def __init__(self, num_buckets: int, num_heads: int, max_distance: int = 128, **layer_options: Any) -> None:
        super().__init__(**layer_options)
        self.num_buckets, self.num_heads, self.max_distance = num_buckets, num_heads, max_distance

    def build(self, input_shape: Any) -> None:
        """Make the values."""
        shape = (self.num_buckets, self.num_heads)
        self.values = self.add_weight(shape=shape, initializer="zeros", name="values")

    def call(self, tokens: Any) -> Any:
        """Values `(1, num_heads, length, length)` for tokens `(n, length)`; first the place that looks."""
        places = ops.arange(ops.shape(tokens)[1])
        buckets = self._bucket(places[None, :] - places[:, None])
        return ops.transpose(ops.take(self.values, buckets, axis=0), (2, 0, 1))[None]

    def _bucket(self, distance: Any) -> Any:
        half = self.num_buckets // 2
        exact = half // 2
        size = ops.abs(distance)
        share = ops.log(ops.maximum(ops.cast(size, "float32"), 1.0) / exact) / math.log(self.max_distance / exact)
        far = ops.minimum(exact + ops.cast(share * (half - exact), "int32"), half - 1)
        return ops.where(size < exact, size, far) + ops.where(distance > 0, half, 0)

    def compute_output_spec(self, tokens: Any) -> Any:
        """The same for every text of a batch."""
        return keras.KerasTensor((1, self.num_heads, tokens.shape[1], tokens.shape[1]), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("num_buckets", "num_heads", "max_distance")
        return super().get_config() | {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="tfembed")
class RelativeAttention(keras.layers.Layer):
    """Attention of texts to themselves, with something added for each pair of places.

    Args:
        num_heads: Heads.
        dropout: Of the attention, while training.
        **layer_options: Options of `keras.layers.Layer`.
    """

    def __init__(self, num_heads: int, dropout: float = 0.0, **layer_options: Any) -> None:
        super().__init__(**layer_options)
        self.num_heads, self.dropout = num_heads, dropout

    def build(self, x_shape: Any, bias_shape: Any, padding_mask_shape: Any) -> None:
        """Make the four dense layers."""
        dim = x_shape[-1]
        heads = (None, self.num_heads, dim // self.num_heads)
        options = {"dtype": self.dtype_policy}
        for name in ("query", "key", "value"):
            layer = keras.layers.EinsumDense("abc,cde->abde", heads, bias_axes="de", name=name, **options)
            layer.build(x_shape)
            setattr(self, name, layer)
        self.attention_output = keras.layers.EinsumDense(
            "abde,dec->abc", (None, dim), bias_axes="c", name="attention_output", **options
        )
        self.attention_output.build((*x_shape[:-1], *heads[1:]))
        self.drop = keras.layers.Dropout(self.dropout, **options)

    def call(self, x: Any, bias: Any, padding_mask: Any) -> Any:
        """Attend, from `(n, length, dim)` to the same.

        Args:
            x: Vectors of tokens.
            bias: What `RelativeBias` gives.
            padding_mask: 1 for tokens and 0 for padding, `(n, length)`.
        """
        query, key, value = self.query(x), self.key(x), self.value(x)
        scores = ops.einsum("aqhd,akhd->ahqk", query / math.sqrt(query.shape[-1]), key) + bias
        hidden = (1.0 - ops.cast(padding_mask, scores.dtype)) * -1e9
        weights = self.drop(ops.softmax(scores + hidden[:, None, None, :]))
        return self.attention_output(ops.einsum("ahqk,akhd->aqhd", weights, value))

    def compute_output_shape(self, x_shape: Any, bias_shape: Any, padding_mask_shape: Any) -> Any:
        """The shape of the vectors."""
        return x_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"num_heads": self.num_heads, "dropout": self.dropout}
