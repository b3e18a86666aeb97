"""Encoded images, as bytes or as paths: check that they decode, read them, measure them."""

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

EncodedImage = bytes | Path

# By content, as TensorFlow's decode_image goes by content. MPO is a JPEG with further pictures after the first.
_FORMATS = {"JPEG": "JPEG", "MPO": "JPEG", "PNG": "PNG", "GIF": "GIF", "BMP": "BMP"}
_EXPECTED = "expected JPEG, PNG, GIF or BMP"
_BMP_MODES = ("L", "RGB", "RGBA")  # tf.image.decode_bmp reads no palettes


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
    """Width and height in pixels of each image, from its header alone."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_size_of, examples))


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
    from PIL import Image

    with Image.open(example if isinstance(example, Path) else io.BytesIO(example)) as image:
        return image.size


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
            if image.format == "BMP" and image.mode not in _BMP_MODES:
                return "a BMP image with a palette, which TensorFlow does not decode (save it as PNG)"
            image.load()
            if image.format == "PNG" and b"IEND" not in content[-4096:]:
                return "the image is truncated: its end marker is missing"
    except UnidentifiedImageError:
        return f"not an image ({_EXPECTED})"
    except Exception as error:  # broken content makes Pillow raise OSError, SyntaxError, struct.error, zlib.error, ...
        return f"the image cannot be decoded: {error}"
    return None
