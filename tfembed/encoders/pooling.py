"""From what an encoder computes to one vector per example."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfembed.encoders.spec import EncoderSpec


def pool(outputs: Any, mask: Any, spec: EncoderSpec) -> Any:
    """Make embeddings of a module's outputs.

    Args:
        outputs: A tensor, or a dictionary that holds `spec.output`.
        mask: 1 for tokens and 0 for padding, `(n, length)`; None if there is no padding.
        spec: Says which output to take, how to pool it, and whether to normalise.

    Returns:
        float32 of shape `(n, dim)`.

    Raises:
        ValueError: If the outputs do not fit the spec.

    Example:
        >>> spec = EncoderSpec(name="toy", handle="toy", kind="text", pooling="mean")
        >>> pool(tf.constant([[[1.0], [3.0], [9.0]]]), tf.constant([[1, 1, 0]]), spec).numpy().tolist()
        [[2.0]]
    """
    tensor = _choose(outputs, spec)
    if spec.pooling is not None:
        tensor = _over_tokens(tensor, mask, spec)
    elif len(tensor.shape) == 4:  # feature maps
        tensor = tf.reduce_mean(tensor, axis=(1, 2))
    if len(tensor.shape) != 2:
        raise ValueError(
            f"Encoder {spec.name!r} gives shape {tuple(tensor.shape)}: expected one vector per example. "
            "Pass pooling='mean', 'max' or 'cls'."
        )
    tensor = tf.cast(tensor, tf.float32)
    return tf.math.l2_normalize(tensor, axis=-1, epsilon=1e-12) if spec.normalize else tensor


def _choose(outputs: Any, spec: EncoderSpec) -> Any:
    if not isinstance(outputs, dict):
        return outputs
    if spec.output is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if spec.output not in outputs:
        raise ValueError(f"Encoder {spec.name!r} has no output {spec.output!r}: choose one of {sorted(outputs)}.")
    return outputs[spec.output]


def _over_tokens(tensor: Any, mask: Any, spec: EncoderSpec) -> Any:
    if len(tensor.shape) != 3:
        raise ValueError(
            f"Pooling {spec.pooling!r} needs one vector per token, shape (n, length, dim): encoder {spec.name!r} gives "
            f"{tuple(tensor.shape)}. Pass pooling=None."
        )
    return _pooled(tensor, mask, spec.pooling)


def _pooled(tensor: Any, mask: Any, pooling: str | None) -> Any:
    if pooling == "cls":
        return tensor[:, 0]
    if pooling == "mean":
        return _masked_mean(tensor, mask)
    if pooling == "last" and mask is None:
        return tensor[:, -1]
    if pooling == "last":
        counts = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
        return tf.gather(tensor, tf.maximum(counts, 1) - 1, axis=1, batch_dims=1)
    real = tf.ones_like(tensor[..., :1]) if mask is None else tf.cast(mask, tensor.dtype)[..., tf.newaxis]
    if pooling == "mean_sqrt_len":
        return tf.reduce_sum(tensor * real, axis=1) / tf.sqrt(tf.maximum(tf.reduce_sum(real, axis=1), 1.0))
    return tf.reduce_max(tf.where(real > 0, tensor, tensor.dtype.min), axis=1)


@keras.saving.register_keras_serializable(package="tfembed")
class TokenPooling(keras.layers.Layer):
    """One vector per text of its tokens' vectors, for models with layers behind the pooling.

    Args:
        pooling: One of POOLINGS.
        **layer_options: Options of `keras.layers.Layer`.

    Example:
        >>> TokenPooling("mean")([tf.constant([[[1.0], [3.0], [9.0]]]), tf.constant([[1, 1, 0]])]).numpy().tolist()
        [[2.0]]
    """

    def __init__(self, pooling: str, **layer_options: Any) -> None:
        super().__init__(**layer_options)
        self._convert_input_args = False
        self.pooling = pooling

    def call(self, inputs: Any) -> Any:
        """Pool vectors `(n, length, dim)`; with them may come a mask `(n, length)`, 1 for tokens and 0 for padding."""
        vectors, mask = inputs if isinstance(inputs, list | tuple) else (inputs, None)
        return _pooled(vectors, mask, self.pooling)

    def compute_output_spec(self, inputs: Any) -> Any:
        """One vector per text."""
        vectors = inputs[0] if isinstance(inputs, list | tuple) else inputs
        return keras.KerasTensor((vectors.shape[0], vectors.shape[2]), dtype=vectors.dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"pooling": self.pooling}


def check_depths(depths: Sequence[int], num_blocks: int) -> None:
    """Check that there is something behind each of some depths that can be joined to the embedding.

    Raises:
        ValueError: If there is none.
    """
    if wrong := [depth for depth in depths if not 0 < depth < num_blocks]:
        raise ValueError(
            f"There is nothing to join at depths {wrong}: the encoder has {num_blocks} blocks, pass depths "
            f"from 1 to {num_blocks - 1}. The embedding itself is always there."
        )


def pool_depth(features: dict[str, Any], mask: Any) -> Any:
    """Make one vector per example of what crosses a cut: means over tokens or pixels, of length 1.

    Args:
        features: Tensors by name.
        mask: As in `pool`.

    Returns:
        float32 `(n, dim)`; features that are no vectors, sequences of vectors or feature maps are left out.

    Raises:
        ValueError: If nothing is left.

    Example:
        >>> [round(float(value), 1) for value in pool_depth({"x": tf.constant([[[3.0, 0.0], [3.0, 8.0]]])}, None)[0]]
        [0.6, 0.8]
    """
    wanted = [features[name] for name in sorted(features) if features[name].dtype.is_floating]
    pooled = [_mean(tensor, mask) for tensor in wanted if tensor.shape.rank in (2, 3, 4) and tensor.shape[-1]]
    if not pooled:
        raise ValueError(f"What crosses this cut cannot be pooled: {sorted(features)}. Choose another depth.")
    return tf.concat([tf.math.l2_normalize(vector, axis=-1, epsilon=1e-12) for vector in pooled], axis=-1)


def _mean(tensor: Any, mask: Any) -> Any:
    tensor = tf.cast(tensor, tf.float32)
    if len(tensor.shape) == 4:
        return tf.reduce_mean(tensor, axis=(1, 2))
    return _masked_mean(tensor, mask) if len(tensor.shape) == 3 else tensor


def _masked_mean(tensor: Any, mask: Any) -> Any:
    weights = tf.ones_like(tensor[..., :1]) if mask is None else tf.cast(mask, tensor.dtype)[..., tf.newaxis]
    return tf.reduce_sum(tensor * weights, axis=1) / tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
