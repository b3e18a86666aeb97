"""Preprocessing that becomes part of the graph: images of any form to pixels of one size, padding cut to measure."""

from typing import Any

import keras
import tensorflow as tf

from tfembed.encoders.decoding import decode_upright
from tfembed.encoders.spec import EncoderSpec
from tfembed.encoders.thin_images import cut_to_middle

_DEFAULT_SIZE = (224, 224)
_ROUNDING = 1e-3  # of a size that is whole but for it

# What text encoders call the mask that tells tokens from padding.
MASK_NAMES = ("padding_mask", "input_mask", "attention_mask")
_BRIGHTNESS = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601)


def mask_name(inputs: Any) -> str | None:
    """The name of the padding mask among an encoder's inputs; None if there is none."""
    return next((name for name in MASK_NAMES if isinstance(inputs, dict) and name in inputs), None)


def trim_padding(inputs: Any) -> Any:
    """Cut a batch of tokens to its longest text, since most preprocessing pads to a fixed length.

    Args:
        inputs: What a text encoder takes; without a padding mask it is returned as it is.

    Returns:
        The same dictionary, with every `(batch, length)` tensor cut to `(batch, longest)`.
    """
    name = mask_name(inputs)
    if name is None:
        return inputs
    mask = tf.cast(inputs[name], tf.int32)
    longest = tf.maximum(1, tf.reduce_max(tf.reduce_sum(mask, axis=1)))
    return {key: value[:, :longest] for key, value in inputs.items()}


def count_tokens(inputs: Any) -> Any:
    """Number of real tokens of each text of a batch, int64 `(n,)`; None where there is no padding mask."""
    name = mask_name(inputs)
    return None if name is None else tf.reduce_sum(tf.cast(inputs[name], tf.int64), axis=1)


def ends_with_separator(inputs: Any) -> bool:
    """Return whether tokens end with a separator that is no part of the text.

    Args:
        inputs: What a text encoder takes, made of an empty text and of another one.
    """
    lasts = count_tokens(inputs) - 1
    return bool(lasts[0] >= 0) and all(bool(value[0, lasts[0]] == value[1, lasts[1]]) for value in inputs.values())


def limit_tokens(inputs: Any, limit: int | None, keep_last: bool = True) -> Any:
    """Cut long texts off: of more tokens than the limit, the first ones stay.

    Args:
        inputs: What a text encoder takes, with padding after the tokens; without a mask it is returned as it is.
        limit: Tokens to keep, at least 2; None for all.
        keep_last: Whether the last token of a text, the separator, stays in place of the last of these.

    Returns:
        The same dictionary, with every `(batch, length)` tensor cut to `(batch, limit)` where it is longer.

    Example:
        >>> tokens = {"ids": tf.constant([[1, 7, 8, 9, 2]]), "input_mask": tf.ones([1, 5])}
        >>> [limit_tokens(tokens, 3, keep_last)["ids"].numpy().tolist() for keep_last in (True, False)]
        [[[1, 7, 2]], [[1, 7, 8]]]
    """
    counts = count_tokens(inputs)
    if limit is None or counts is None:
        return inputs
    if not keep_last:
        return {key: value[:, :limit] for key, value in inputs.items()}
    places = tf.range(tf.minimum(tf.shape(next(iter(inputs.values())))[1], limit))
    last = tf.cast(tf.maximum(counts, limit), tf.int32)[:, tf.newaxis] - 1
    chosen = tf.where(places == limit - 1, last, places)
    return {key: tf.gather(value, chosen, batch_dims=1) for key, value in inputs.items()}


@keras.saving.register_keras_serializable(package="tfembed")
class ImagePreprocessing(keras.layers.Layer):
    """Bring images to the size and value range an encoder expects.

    Args:
        image_size: Height and width in pixels of what comes out.
        mean: Subtracted from pixel values in [0, 1]; one number, or one for each channel that comes out.
        scale: Divides what remains.
        channels: What comes out: `"rgb"`, `"bgr"`, or one channel, `"grey"`.
        interpolation: `"bilinear"`, `"bicubic"` or `"nearest"`.
        crop: The shorter side is brought to `size / crop`, smoothed where that makes it smaller, and the middle kept;
            None stretches the whole image.
        **layer_options: Options of `keras.layers.Layer`.

    Raises:
        tf.errors.InvalidArgumentError: If bytes are no JPEG, PNG, GIF or BMP.

    Example:
        >>> layer = ImagePreprocessing((4, 4))
        >>> layer(tf.fill([2, 8, 8], tf.constant(255, tf.uint8))).shape.as_list()
        [2, 4, 4, 3]
    """

    def __init__(
        self,
        image_size: Any,
        mean: Any = 0.0,
        scale: Any = 1.0,
        channels: str = "rgb",
        interpolation: str = "bilinear",
        crop: float | None = None,
        **layer_options: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", "trainable": False} | layer_options)
        self.image_size = tuple(image_size)
        self.mean, self.scale = _numbers(mean), _numbers(scale)
        self.channels, self.interpolation, self.crop = channels, interpolation, crop
        self._convert_input_args = False  # Keras would cast bytes and pixels to floats

    @classmethod
    def of(cls, spec: EncoderSpec) -> "ImagePreprocessing":
        """The preprocessing that a spec asks for."""
        size = spec.image_size or _DEFAULT_SIZE
        return cls(size, spec.mean, spec.scale, spec.channels, spec.interpolation, spec.crop)

    def call(self, images: Any) -> Any:
        """Prepare images.

        Args:
            images: Encoded bytes, string `(n,)`, or uint8 pixels of shape `(n, height, width)` or
                `(n, height, width, 1 or 3)`.

        Returns:
            float32 of shape `(n, *image_size, 3)`, or 1 in place of 3 for grey.
        """
        if images.dtype == tf.string:
            pixels = tf.map_fn(self._decode, images, fn_output_signature=tf.TensorSpec((*self.image_size, 3)))
        else:
            pixels = images[..., tf.newaxis] if len(images.shape) == 3 else images
            pixels = self._resize(pixels)
            pixels = tf.image.grayscale_to_rgb(pixels) if pixels.shape[-1] == 1 else pixels
        if self.channels == "grey":
            pixels = tf.reduce_sum(pixels * _BRIGHTNESS, axis=-1, keepdims=True)
        pixels = pixels[..., ::-1] if self.channels == "bgr" else pixels
        return (pixels / 255.0 - self.mean) / self.scale

    def _decode(self, encoded: Any) -> Any:
        return tf.ensure_shape(self._resize(decode_upright(encoded)), (*self.image_size, 3))

    def _resize(self, pixels: Any) -> Any:
        """Pixels of one image or a batch, float32, at the size that is wanted."""
        if self.crop is None:
            return self._within_range(tf.image.resize(pixels, self.image_size, self.interpolation))
        height, width = self.image_size
        wanted = tf.floor(tf.constant([height, width], tf.float32) / self.crop)
        pixels = cut_to_middle(pixels, wanted, tf.reduce_max(wanted / tf.cast(tf.shape(pixels)[-3:-1], tf.float32)))
        given = tf.cast(tf.shape(pixels)[-3:-1], tf.float32)
        resized = tf.cast(tf.floor(given * tf.reduce_max(wanted / given) + _ROUNDING), tf.int32)
        pixels = tf.round(self._within_range(tf.image.resize(pixels, resized, self.interpolation, antialias=True)))
        top, left = tf.unstack(tf.cast(tf.round(tf.cast(resized - [height, width], tf.float32) / 2.0), tf.int32))
        return tf.image.crop_to_bounding_box(pixels, top, left, height, width)

    def _within_range(self, pixels: Any) -> Any:
        """Pixels as floats; bicubic interpolation reaches beyond the brightest and the darkest, which others clip."""
        pixels = tf.cast(pixels, tf.float32)
        return tf.clip_by_value(pixels, 0.0, 255.0) if self.interpolation == "bicubic" else pixels

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """Shape of the pixels that come out."""
        return (input_shape[0], *self.image_size, 1 if self.channels == "grey" else 3)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("image_size", "mean", "scale", "channels", "interpolation", "crop")
        return super().get_config() | {name: getattr(self, name) for name in names}


def _numbers(value: Any) -> Any:
    """One number, or a tuple of one for each channel."""
    return tuple(value) if isinstance(value, list | tuple) else value


def as_batch(examples: Any) -> Any:
    """Examples as a tensor: texts and encoded images become strings, whatever they came in; Keras tensors pass."""
    if isinstance(examples, keras.KerasTensor) or tf.is_tensor(examples):
        return examples
    kind = getattr(getattr(examples, "dtype", None), "kind", None)
    return tf.constant(examples.tolist()) if kind in ("U", "O", "S", "T") else tf.convert_to_tensor(examples)
