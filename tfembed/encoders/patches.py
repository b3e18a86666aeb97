"""Layers of vision transformers that Keras does not have."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tfembed")
class PatchTokens(keras.layers.Layer):
    """Put a class token, and others if wanted, in front of an image's patches, and add positions.

    Args:
        num_extra: Tokens between the class token and the patches.
        placed: Whether they have positions too.
        **layer_options: Options of `keras.layers.Layer`.

    Example:
        >>> PatchTokens(2)(keras.ops.zeros([1, 4, 8])).shape
        TensorShape([1, 7, 8])
    """

    def __init__(self, num_extra: int = 0, placed: bool = False, **layer_options: Any) -> None:
        super().__init__(**layer_options)
        self.num_extra, self.placed = num_extra, placed

    def build(self, input_shape: Any) -> None:
        """Make the tokens and the positions."""
        num_patches, dim = input_shape[1:]
        self.class_token = self.add_weight(shape=(1, 1, dim), initializer="random_normal", name="class_token")
        self.extra_tokens = None
        if self.num_extra:
            shape = (1, self.num_extra, dim)
            self.extra_tokens = self.add_weight(shape=shape, initializer="random_normal", name="extra_tokens")
        num_positions = 1 + num_patches + self.num_extra * self.placed
        self.positions = self.add_weight(shape=(1, num_positions, dim), initializer="random_normal", name="positions")

    def call(self, patches: Any) -> Any:
        """Put tokens in front of patches `(n, number, dim)` and add positions."""
        ops = keras.ops
        first, extra = (
            [] if token is None else [ops.repeat(token, ops.shape(patches)[0], axis=0)]
            for token in (self.class_token, self.extra_tokens)
        )
        if self.placed:
            return ops.concatenate([*first, *extra, patches], axis=1) + self.positions
        tokens = ops.concatenate([*first, patches], axis=1) + self.positions
        return ops.concatenate([tokens[:, :1], *extra, tokens[:, 1:]], axis=1) if extra else tokens

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Shape of patches and tokens."""
        return (input_shape[0], 1 + self.num_extra + input_shape[1], input_shape[2])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return super().get_config() | {"num_extra": self.num_extra, "placed": self.placed}


@keras.saving.register_keras_serializable(package="tfembed")
class LayerScale(keras.layers.Layer):
    """Multiply each number of a vector with one that is learnt (https://arxiv.org/abs/2103.17239)."""

    def build(self, input_shape: Any) -> None:
        """Make the factors."""
        self.factors = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="factors")

    def call(self, x: Any) -> Any:
        """Scale vectors `(..., dim)`."""
        return x * self.factors

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The same shape."""
        return input_shape
