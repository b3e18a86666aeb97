"""Augmented copies of images: what is frozen sees each of them once, and its features are kept like any others."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.data import Dataset, read_images
from tfembed.data.split import concatenate_splits, number_groups
from tfembed.encoders.decoding import decode_upright


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What may happen to a copy of an image; each is drawn evenly between its extremes.

    Attributes:
        flip: Whether it may be mirrored, left to right.
        rotation: At most so many degrees, either way.
        shift: At most this share of height and width, either way.
        zoom: At most this share larger or smaller.
        brightness: At most this share of the value range lighter or darker.
        contrast: At most this share more or less.

    Raises:
        ValueError: If a share is not from 0 to below 1, or the rotation not from 0 to 180.

    Example:
        >>> gentle = Augmentation(rotation=5, flip=True)
        >>> gentle.rotation, gentle.shift
        (5, 0.1)
    """

    flip: bool = False
    rotation: float = 10.0
    shift: float = 0.1
    zoom: float = 0.1
    brightness: float = 0.1
    contrast: float = 0.1

    def __post_init__(self) -> None:
        for name in ("shift", "zoom", "brightness", "contrast"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"Augmentation has {name} {getattr(self, name)}: pass 0 to below 1.")
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"Augmentation has rotation {self.rotation}: pass 0 to 180 degrees.")


def augment(data: Dataset, num_copies: int, *, augmentation: Augmentation | None = None, seed: int = 0) -> Dataset:
    """Let augmented copies of the training images join them; validation and test stay as they are.

    Images are decoded and changed in parallel; the same seed gives the same copies. A copy is in the group of its
    original, with which it stays in every fold; it is learned from, and never measured on.

    Args:
        data: Images with labels, as pixels `uint8 (n, height, width)` or `(n, height, width, 3)`, paths or bytes.
        num_copies: Of each image, at least 1.
        augmentation: What may happen to them; `Augmentation()` if None.
        seed: Of what is drawn.

    Raises:
        ValueError: If the data are no images, or there are no copies to make.

    Example:
        >>> data = Dataset.from_arrays(np.zeros([4, 8, 8], "uint8"), [0, 1] * 2, ["a", "b"], validation=0, test=0)
        >>> len(augment(data, 2).train)
        12
    """
    if data.kind != "image":
        raise ValueError(f"The data are {data.kind}s: expected images. Texts are not augmented.")
    if not isinstance(num_copies, Integral) or num_copies < 1:
        raise ValueError(f"Cannot make {num_copies} copies of each image: pass a whole number, 1 or more.")
    copies = list(_copies(data.train.examples, num_copies, augmentation or Augmentation(), seed))
    train, *_ = number_groups([data.train, data.validation, data.test])
    repeated = train.subset(np.tile(np.arange(len(train)), num_copies))
    changed = np.empty_like(repeated.examples)
    changed[:] = copies if changed.dtype == object else np.stack(copies).reshape(changed.shape)
    made = replace(repeated, examples=changed, is_derived=np.ones(len(repeated), bool))
    return replace(data, train=concatenate_splits([train, made]), recipe=None)


def _copies(examples: np.ndarray, num_copies: int, augmentation: Augmentation, seed: int) -> Iterator[Any]:
    encoded = examples.dtype == object
    given = tf.constant(read_images(list(examples))) if encoded else examples
    rows = tf.data.Dataset.range(num_copies * len(examples))

    def change(row: Any) -> Any:
        image = tf.gather(given, row % len(examples))
        pixels = decode_upright(image) if encoded else image
        pixels = pixels if encoded or len(examples.shape) == 4 else pixels[..., tf.newaxis]
        changed = _change(tf.cast(pixels, tf.float32) / 255.0, augmentation, tf.stack([tf.cast(seed, tf.int64), row]))
        rounded = tf.cast(tf.round(tf.clip_by_value(changed, 0.0, 1.0) * 255.0), tf.uint8)
        return tf.io.encode_png(rounded) if encoded else rounded

    yield from rows.map(change, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def _change(pixels: Any, augmentation: Augmentation, seed: Any) -> Any:
    """Pixels `(height, width, channels)` in [0, 1], moved and made lighter or darker."""
    drawn = tf.random.stateless_uniform([7], seed, -1.0, 1.0)
    pixels = _move(pixels, augmentation, drawn)
    mean = tf.reduce_mean(pixels)
    pixels = (pixels - mean) * (1.0 + augmentation.contrast * drawn[4]) + mean + augmentation.brightness * drawn[5]
    return tf.image.flip_left_right(pixels) if augmentation.flip and drawn[6] > 0 else pixels


def _move(pixels: Any, augmentation: Augmentation, drawn: Any) -> Any:
    """Turn about the centre, zoom and shift; what comes in from outside continues the edge."""
    height, width = tf.cast(tf.shape(pixels)[0], tf.float32), tf.cast(tf.shape(pixels)[1], tf.float32)
    angle = math.radians(augmentation.rotation) * drawn[0]
    scale = 1.0 + augmentation.zoom * drawn[1]
    cos, sin = tf.cos(angle) / scale, tf.sin(angle) / scale
    x, y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
    right = x - cos * x + sin * y + augmentation.shift * drawn[2] * width
    down = y - sin * x - cos * y + augmentation.shift * drawn[3] * height
    transform = tf.stack([cos, -sin, right, sin, cos, down, 0.0, 0.0])
    return keras.ops.image.affine_transform(pixels, transform, interpolation="bilinear", fill_mode="nearest")
