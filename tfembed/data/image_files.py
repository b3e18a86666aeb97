"""Encoded images, as bytes or as paths: check that they decode, read them, measure them."""

import io
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

EncodedImage = bytes | Path

# By content, as TensorFlow's decode_image goes by content. MPO is a JPEG with further pictures after the first.
_FORMATS = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "GIF": "GIF", "BMP": "BMP"}
_EXPECTED = "expected JPEG, PNG, GIF or BMP"
# All that tf.image.decode_bmp reads right: no palettes, and three or four colors in this order.
_BMP_MODES = ("L", "RGB", "RGBA")
_BMP_BITS = (8, 24, 32)
_BMP_MASKS = (0xFF0000, 0xFF00, 0xFF)
_RAW = 0
_BIT_FIELDS = 3


def check_images(examples: Sequence[EncodedImage], place: Callable[[int], str]) -> None:
    """Decode every image once, in a thread pool, so that no bad one waits to stop a training run.

    Raises:
        ValueError: If images are missing, unreadable, truncated or of another format; names the first and up to
            three more.

    Example:
        >>> check_images([b"GIF89a"], lambda i: f"examples[{i}]")
        Traceback (most recent call last):
        ...
        ValueError: examples[0]: not an image (expected JPEG, PNG, GIF or BMP). Replace or remove it.
    """
    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(_problem, examples))
    bad = [i for i, problem in enumerate(problems) if problem]
    if not bad:
        return
    also = ""
    if len(bad) > 1:
        named = ", ".join(_named(place(i), examples[i]) for i in bad[1:4])
        also = f" {len(bad) - 1} more of {len(examples)} cannot be used: {named}{', ...' if len(bad) > 4 else ''}."
    raise ValueError(f"{_named(place(bad[0]), examples[bad[0]])}: {problems[bad[0]]}. Replace or remove it.{also}")


def read_images(examples: Sequence[EncodedImage] | np.ndarray) -> list[bytes]:
    """The encoded bytes of images that are kept as paths; bytes pass through.

    Args:
        examples: Paths or encoded bytes, as `Split.examples` of an image dataset holds them.

    Raises:
        TypeError: If the examples are decoded arrays.
        OSError: If a file cannot be read any more.

    Example:
        >>> read_images([b"GIF89a..."])
        [b'GIF89a...']
    """
    for example in examples[:1]:
        if not isinstance(example, bytes | Path):
            raise TypeError(
                f"Cannot read images from {type(example).__name__}: expected paths or encoded bytes. "
                "Decoded arrays need no reading: use them as they are."
            )
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_bytes_of, examples))


def image_sizes(examples: Sequence[EncodedImage]) -> list[tuple[int, int]]:
    """Width and height in pixels of each image as viewers show it, from its header alone."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_size_of, examples))


def turn_upright(image: Any) -> Any:
    """Turn and mirror an image of Pillow as its EXIF orientation says; one whose EXIF is damaged stays as it is."""
    from PIL import ImageOps

    if "exif" not in image.info:  # Pillow would look for more, and decode all of a PNG to find it
        return image
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises SyntaxError, struct.error, KeyError, ...
        return image


def is_system_file(name: str) -> bool:
    """Whether a file or folder is hidden, or one that operating systems leave behind.

    Example:
        >>> [is_system_file(name) for name in (".DS_Store", "Thumbs.db", "__MACOSX", "cat.png")]
        [True, True, True, False]
    """
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


def looks_like_image(value: bytes) -> bool:
    """Whether bytes begin as JPEG, PNG, GIF or BMP do.

    A BMP has zeros in bytes 6 to 9: a text that begins with "BM" has none.
    """
    is_bmp = value[:2] == b"BM" and value[6:10] == b"\0\0\0\0"
    return is_bmp or value.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"))


def _named(place: str, example: EncodedImage) -> str:
    return f"{place} ({example})" if isinstance(example, Path) and str(example) not in place else place


def _bytes_of(example: EncodedImage) -> bytes:
    return example.read_bytes() if isinstance(example, Path) else example


def _size_of(example: EncodedImage) -> tuple[int, int]:
    from PIL import ExifTags, Image

    with Image.open(example if isinstance(example, Path) else io.BytesIO(example)) as image:
        try:
            is_sideways = "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        except Exception:  # damaged, as in `turn_upright`
            is_sideways = False
        width, height = image.size
        return (height, width) if is_sideways else (width, height)


def _problem(example: EncodedImage) -> str | None:
    """What is wrong with an image, or None."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(example, Path) and not example.is_file():
        return "there is no such file"
    try:
        content = _bytes_of(example)
        if not content:
            return "the file is empty"
        with Image.open(io.BytesIO(content)) as image:
            if image.format not in _FORMATS:
                return f"a {image.format} image, which TensorFlow does not decode ({_EXPECTED})"
            form = _bmp_form(content, image.mode) if image.format == "BMP" else None
            if form is not None:
                return f"a BMP image {form}, which TensorFlow does not decode (save it as PNG)"
            image.load()
            if image.format == "PNG" and not _has_png_end(content):
                return "the image is truncated: its end marker is missing"
    except UnidentifiedImageError:
        return f"not an image ({_EXPECTED})"
    except Exception as error:  # broken content makes Pillow raise OSError, SyntaxError, struct.error, zlib.error, ...
        return f"the image cannot be decoded: {error}"
    return None


def _bmp_form(content: bytes, mode: str) -> str | None:
    """Name what makes a BMP one that TensorFlow does not read, or reads wrong; None where it reads it right."""
    start, header_size = struct.unpack_from("<II", content, 10)
    if header_size == 12:
        return "of OS/2"
    if mode not in _BMP_MODES:
        return "with a palette"
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", content, 18)
    if bits not in _BMP_BITS:
        return f"of {bits} bits a pixel"
    if compression not in (_RAW, _BIT_FIELDS):
        return "that is compressed"
    if compression == _BIT_FIELDS and struct.unpack_from("<III", content, 54) != _BMP_MASKS:
        return "with another order of colors"
    row_size = (width * bits + 31) // 32 * 4
    return "with bytes behind its end" if len(content) > start + row_size * abs(height) else None


def _has_png_end(content: bytes) -> bool:
    """Return whether the chunks of a PNG, each with a length, a name and a checksum, end with the one for its end."""
    position = 8
    while position + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        if name == b"IEND":
            return True
        position += 12 + length
    return False
