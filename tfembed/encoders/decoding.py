"""Encoded images to pixels in the graph, upright: turned as the EXIF orientation of a photo says."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

_MOST_SEGMENTS = 1000  # that are searched for EXIF, so that a made-up file of millions costs little
_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112
_SHORT = 3
_LONG = 4

# A step of a walk: from the content and a position in it to the next position, and to that of EXIF, 0 if it isn't here.
Step = Callable[[Any, Any], tuple[Any, Any]]


def decode_upright(encoded: Any) -> Any:
    """Decode an image, and turn and mirror it as its EXIF orientation says, as viewers and browsers show it.

    The orientation is read from the EXIF segment of a JPEG and from the eXIf chunk of a PNG (Exif 2.32, section 4.6.4;
    PNG 3rd edition, section 11.3.4.5). All of it are ops of TensorFlow, so that an exported model does the same.

    Args:
        encoded: A JPEG, PNG, GIF or BMP, string `()`.

    Returns:
        uint8 `(height, width, 3)`; of an animation the first frame.

    Raises:
        tf.errors.InvalidArgumentError: If it is none of these.

    Example:
        >>> import numpy as np
        >>> decode_upright(tf.io.encode_png(np.zeros([2, 3, 1], "uint8"))).shape.as_list()
        [2, 3, 3]
    """
    pixels = tf.ensure_shape(tf.io.decode_image(encoded, channels=3, expand_animations=False), (None, None, 3))
    has_exif = _mentions(encoded, r"Exif\x00\x00") | _mentions(encoded, "eXIf")
    return tf.cond(has_exif, lambda: _turned(pixels, image_orientation(encoded)), lambda: pixels)


# A function, since eager loops are slow; one that stays a call, since nodes of a branch not taken cost time as well.
@tf.function(
    input_signature=[tf.TensorSpec([], tf.string)], autograph=False, experimental_attributes={"_noinline": True}
)
def image_orientation(encoded: Any) -> Any:
    """Read the EXIF orientation of an encoded image.

    Args:
        encoded: An image, string `()`.

    Returns:
        int64 `()`, 1 to 8; 1, upright, where the image says nothing that can be read.

    Example:
        >>> int(image_orientation(b"GIF89a"))
        1
    """
    start = tf.case(
        [
            (tf.equal(tf.strings.substr(encoded, 0, 2), b"\xff\xd8"), lambda: _walk(encoded, 2, _jpeg_step)),
            (tf.equal(tf.strings.substr(encoded, 0, 8), _PNG), lambda: _walk(encoded, 8, _png_step)),
        ],
        default=lambda: tf.constant(0, tf.int64),
    )
    return tf.cond(start > 0, lambda: _read_orientation(encoded, start), lambda: tf.constant(1, tf.int64))


def _mentions(encoded: Any, pattern: str) -> Any:
    """Return whether a pattern occurs; much quicker than a walk, and than a match of the whole."""
    return tf.not_equal(tf.strings.regex_replace(encoded, pattern, "", replace_global=False), encoded)


def _turned(pixels: Any, orientation: Any) -> Any:
    """Pixels upright; those of orientation 1 are not copied."""
    sides = tf.where(orientation >= 5, [1, 0, 2], [0, 1, 2])
    is_upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    is_mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    turned = tf.transpose(pixels, sides)[:: tf.where(is_upside_down, -1, 1), :: tf.where(is_mirrored, -1, 1)]
    return tf.ensure_shape(turned, (None, None, 3))


def _walk(encoded: Any, start: int, step: Step) -> Any:
    """Position of the EXIF data, from segment to segment; 0 where there are none."""
    length = tf.cast(tf.strings.length(encoded), tf.int64)
    _, place = tf.while_loop(
        lambda position, place: (place == 0) & (position < length),
        lambda position, _: step(encoded, position),
        [tf.constant(start, tf.int64), tf.constant(0, tf.int64)],
        maximum_iterations=_MOST_SEGMENTS,
    )
    return place


def _jpeg_step(encoded: Any, position: Any) -> tuple[Any, Any]:
    """A segment of a JPEG: 0xFF, a marker, the segment's length with that of itself, the content."""
    head = _bytes_at(encoded, position, 10)
    is_padding = (head[0] == 0xFF) & (head[1] == 0xFF)
    is_scan = (head[1] == 0xDA) | (head[0] != 0xFF)  # behind its start is no EXIF
    is_exif = tf.reduce_all(tf.equal(tf.gather(head, [1, 4, 5, 6, 7, 8, 9]), [0xE1, *b"Exif\0\0"]))
    after = position + tf.where(is_padding, tf.constant(1, tf.int64), 2 + _number(head[2:4]))
    return tf.where(is_scan, tf.int64.max, after), tf.where(is_exif & ~is_scan, position + 10, 0)


def _png_step(encoded: Any, position: Any) -> tuple[Any, Any]:
    """A chunk of a PNG: the content's length, a name, the content, a checksum."""
    head = _bytes_at(encoded, position, 8)
    is_exif = tf.reduce_all(head[4:] == list(b"eXIf"))
    return position + 12 + _number(head[:4]), tf.where(is_exif, position + 8, 0)


def _read_orientation(encoded: Any, start: Any) -> Any:
    """The orientation of EXIF data, which are laid out as a TIFF file: a header, and a table with 12 bytes an entry."""
    order = tf.strings.substr(encoded, *_within(encoded, start, 4))
    is_little = order == b"II*\0"

    def number(values: Any) -> Any:
        return _number(tf.where(is_little, tf.reverse(values, [-1]), values))

    table = start + number(_bytes_at(encoded, start + 4, 4))
    count = tf.maximum(number(_bytes_at(encoded, table, 2)), 1)
    entries = tf.reshape(_bytes_at(encoded, table + 2, 12 * count), [-1, 12])
    kinds = number(entries[:, 2:4])
    values = tf.where(kinds == _SHORT, number(entries[:, 8:10]), number(entries[:, 8:]))
    is_one = (number(entries[:, 4:8]) == 1) & ((kinds == _SHORT) | (kinds == _LONG))
    is_valid = (number(entries[:, :2]) == _ORIENTATION) & is_one & (values >= 1) & (values <= 8)
    found = tf.reduce_max(tf.concat([[1], tf.where(is_valid, values, 1)], axis=0))
    return tf.where(is_little | (order == b"MM\0*"), found, 1)


def _bytes_at(encoded: Any, position: Any, count: Any) -> Any:
    """So many bytes of a string as int64 `(count,)`; zeros stand for those behind its end."""
    taken = tf.strings.substr(encoded, *_within(encoded, position, count))
    return tf.cast(tf.io.decode_raw([taken], tf.uint8, fixed_length=tf.cast(count, tf.int32))[0], tf.int64)


def _within(encoded: Any, position: Any, count: Any) -> tuple[Any, Any]:
    """Position and count for `tf.strings.substr`, which fails beyond the end."""
    length = tf.cast(tf.strings.length(encoded), tf.int64)
    return tf.minimum(position, length), tf.cast(count, tf.int64)


def _number(values: Any) -> Any:
    """Bytes `(..., n)` as numbers, the most significant first."""
    weights = 256 ** tf.range(values.shape[-1] - 1, -1, -1, dtype=tf.int64)
    return tf.reduce_sum(values * weights, axis=-1)
