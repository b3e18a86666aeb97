"""Images to pixels as a model was trained on them: resized, cut out, scaled, in the graph."""

from typing import Any

import keras
import tensorflow as tf

from tfembed.encoders.decoding import decode_upright
from tfembed.encoders.thin_images import cut_to_middle, shrink_thin


@keras.saving.register_keras_serializable(package="tfembed")
class ImagePixels(keras.layers.Layer):
    """Images of any form to what a converter makes of them.

    Args:
        converter: A layer from pixels `(height, width, 3)` or `(n, height, width, 3)`, 0 to 255, to what the encoder
            takes: an image converter of KerasHub, or `Resized`.
        **layer_options: Options of `keras.layers.Layer`.
    """

    def __init__(self, converter: keras.layers.Layer, **layer_options: Any) -> None:
        super().__init__(**{"dtype": "float32", "trainable": False} | layer_options)
        self._convert_input_args = False
        self.converter = converter
        self.built = True

    def call(self, images: Any) -> Any:
        """Prepare images.

        Args:
            images: Encoded JPEG, PNG, GIF or BMP, string `(n,)`, or uint8 pixels of shape `(n, height, width)` or
                `(n, height, width, 1 or 3)`.

        Returns:
            float32 of shape `(n, *image_size, 3)`.
        """
        if images.dtype == tf.string:
            shape = tf.TensorSpec((*self.converter.image_size, 3))
            return tf.map_fn(self._decoded, images, fn_output_signature=shape)
        pixels = images[..., tf.newaxis] if len(images.shape) == 3 else images
        pixels = tf.image.grayscale_to_rgb(pixels) if pixels.shape[-1] == 1 else pixels
        return self._converted(pixels)

    def _decoded(self, encoded: Any) -> Any:
        return tf.ensure_shape(self._converted(decode_upright(encoded)), (*self.converter.image_size, 3))

    def _converted(self, pixels: Any) -> Any:
        if getattr(self.converter, "pad_to_aspect_ratio", False):
            pixels = shrink_thin(tf.cast(pixels, tf.float32), self.converter.image_size)  # Keras pads floats alone
        return tf.cast(self.converter(pixels), tf.float32)  # KerasHub rounds what it resized of whole numbers

    def compute_output_spec(self, images: Any) -> Any:
        """A batch of images of one size."""
        return keras.KerasTensor((images.shape[0], *self.converter.image_size, 3), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the converter as a config of its own."""
        return super().get_config() | {"converter": keras.saving.serialize_keras_object(self.converter)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ImagePixels":
        """Make the layer of a config."""
        return cls(**config | {"converter": keras.saving.deserialize_keras_object(config["converter"])})


@keras.saving.register_keras_serializable(package="tfembed")
class Resized(keras.layers.Layer):
    """Resize images, cut out their middle, and scale their values, as image processors of transformers do.

    Args:
        size: Height and width, or one number for the shorter side; None to leave images as large as they are.
        crop: Height and width of the middle that is cut out; None for all.
        method: `"bilinear"`, `"bicubic"`, `"nearest"` or `"lanczos3"`.
        factor: Values from 0 to 255 are multiplied with it.
        mean: Of each colour, subtracted then.
        std: Of each colour, divides what remains.
        **layer_options: Options of `keras.layers.Layer`.

    Example:
        >>> layer = Resized(4, crop=(2, 2), mean=(0.5,) * 3, std=(0.5,) * 3)
        >>> layer(tf.fill([2, 8, 6, 3], 255.0)).numpy()[0, 0, 0].tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(
        self,
        size: int | tuple[int, int] | None,
        *,
        crop: tuple[int, int] | None = None,
        method: str = "bilinear",
        factor: float = 1 / 255,
        mean: tuple[float, ...] = (0.0,) * 3,
        std: tuple[float, ...] = (1.0,) * 3,
        **layer_options: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", "trainable": False} | layer_options)
        self._convert_input_args = False
        self.size = size if size is None or isinstance(size, int) else (size[0], size[1])
        self.crop = None if crop is None else (crop[0], crop[1])
        self.method, self.factor, self.mean, self.std = method, factor, tuple(mean), tuple(std)
        self.built = True

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of what comes out."""
        size = self.crop or self.size
        if not isinstance(size, tuple):
            raise ValueError(f"Images of size {size!r} come out in no certain form: expected crop=(height, width).")
        return size

    def call(self, pixels: Any) -> Any:
        """Prepare pixels, 0 to 255, `(height, width, 3)` or `(n, height, width, 3)`."""
        if isinstance(self.size, int) and self.crop is not None:
            size = [max(self.size, side) for side in self.crop]
            pixels = cut_to_middle(pixels, size, self.size / tf.reduce_min(tf.shape(pixels)[-3:-1]))
        if self.size is not None:
            resized = tf.image.resize(pixels, self._new_size(pixels), self.method, antialias=True)
            pixels = tf.clip_by_value(tf.round(resized), 0.0, 255.0)  # images have whole numbers
        if self.crop is not None:
            pixels = tf.image.resize_with_crop_or_pad(pixels, *self.crop)
        return (tf.cast(pixels, tf.float32) * self.factor - tf.constant(self.mean)) / tf.constant(self.std)

    def _new_size(self, pixels: Any) -> Any:
        if not isinstance(self.size, int):
            return self.size
        sides = tf.shape(pixels)[-3:-1]
        return sides * self.size // tf.reduce_min(sides)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Shape of the pixels that come out."""
        return (*input_shape[:-3], *self.image_size, 3)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("size", "crop", "method", "factor", "mean", "std")
        return super().get_config() | {name: getattr(self, name) for name in names}
