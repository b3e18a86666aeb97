"""Bounds on what resizing allocates for images that are many times longer than wide, such as separator lines."""

from typing import Any

import tensorflow as tf

MOST_ASPECT = 16  # lengths of what comes out that a side may have before its middle is cut out; photos have fewer


def cut_to_middle(pixels: Any, size: Any, scale: Any) -> Any:
    """Cut the middle out of images of which nothing but the middle will be left once they are resized.

    Args:
        pixels: Images `(..., height, width, channels)`.
        size: Height and width of the middle that is cut out after resizing.
        scale: Factor of resizing.

    Returns:
        The same images; each side that resizing would make longer than 16 times its `size` is cut, evenly at both ends,
        to what gives that length.

    Example:
        >>> [cut_to_middle(tf.zeros([2, width, 3]), (224, 224), 128.0).shape[1] for width in (3, 28, 6000)]
        [3, 28, 28]
    """
    sides = tf.shape(pixels)[-3:-1]
    longest = tf.math.ceil(MOST_ASPECT * tf.cast(size, tf.float32) / tf.cast(scale, tf.float32))
    surplus = tf.maximum(sides - tf.cast(longest, tf.int32), 0)
    top, left = tf.unstack(surplus // 2)
    height, width = tf.unstack(sides - surplus // 2 * 2)  # an odd row more stays, so that the middle is where it was
    return pixels[..., top : top + height, left : left + width, :]


def shrink_thin(pixels: Any, size: tuple[int, int]) -> Any:
    """Shrink images that will be padded to a square, where padding would take many times the room of the image.

    Args:
        pixels: Images, float32 `(..., height, width, channels)`.
        size: Height and width after padding and resizing.

    Returns:
        The same images; the longer side of those that are more than 16 times as long as wide becomes the longer side of
        `size` where it was longer.

    Example:
        >>> shrink_thin(tf.zeros([2, 6000, 3]), (32, 32)).shape.as_list()
        [1, 32, 3]
    """
    sides = tf.shape(pixels)[-3:-1]
    length, most = tf.reduce_max(sides), max(size)
    is_thin = (length > MOST_ASPECT * tf.reduce_min(sides)) & (length > most)

    def shrunk() -> Any:
        smaller = tf.maximum(tf.cast(tf.round(sides * most / length), tf.int32), 1)
        return tf.image.resize(pixels, smaller, antialias=True)

    return tf.cond(is_thin, shrunk, lambda: tf.identity(pixels))
