"""The door that examples come in by: after it, a text is a `str` and an image is what its docstring says."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfembed.data.image_files import check_images, looks_like_image
from tfembed.data.raw_labels import is_missing

Place = Callable[[int], str]
"""Tells a reader where an example stands: `place(3) == "intents.csv, line 5"`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Examples that passed the door, with labels as they were found.

    Attributes:
        kind: `"text"` or `"image"`.
        examples: As `as_examples` returns them.
        labels: One raw label each: text, number, or a list of them.
        place: Where each stands, for errors.
        source: What they were read from.
        groups: Name of the group of each, or None.
    """

    kind: str
    examples: np.ndarray
    labels: list[Any]
    place: Place
    source: str
    groups: list[str] | None = None


def as_examples(values: Sequence[Any] | np.ndarray, place: Place) -> tuple[str, np.ndarray]:
    """Bring examples into the one form that the rest of tfembed knows.

    Strings are texts, `pathlib.Path` are image files. Bytes are images if they begin as JPEG, PNG, GIF or BMP do, and
    UTF-8 texts otherwise. Arrays of two or more axes are decoded images. Images are decoded once, to check them.

    Args:
        values: Texts, paths, encoded images, or pixels `uint8` of shape `(n, h, w)`, `(n, h, w, 1)` or `(n, h, w, 3)`.
            Columns of pandas and Polars, and tables of one column, are read as lists.
        place: Where each stands, for errors.

    Returns:
        The kind, `"text"` or `"image"`, and a read-only array: `object (n,)` of `str`, of `Path` or of `bytes`, or
        `uint8` of shape `(n, h, w)` or `(n, h, w, 3)` (a last axis of 1 is dropped), which shares the caller's memory.

    Raises:
        ValueError: If there are no examples, a text is missing, empty or undecodable, an image does not decode, or
            the pixels are not `uint8`.

    Example:
        >>> kind, examples = as_examples(["hello", b"caf\\xc3\\xa9"], lambda i: f"examples[{i}]")
        >>> kind, examples.tolist()
        ('text', ['hello', 'café'])
    """
    if isinstance(values, str | bytes | Path):  # a list would be made of its characters
        raise ValueError(
            f"{str(values)[:40]!r} is one {type(values).__name__}: expected a list of texts or images. Pass it in a "
            "list; rows of a file are embedded by embed_file, and loaded by load_text."
        )
    values = _only_column(values)
    if len(values) == 0:
        raise ValueError("There are no examples: expected at least one text or image.")
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return "image", _as_pixels(values)
    first = next(iter(values))
    if isinstance(first, np.ndarray):
        raise ValueError(
            f"{place(0)} is an array of shape {first.shape}: expected text, a path, encoded bytes, or one array of "
            "all images. If the images are of equal size, stack them with np.stack."
        )
    if isinstance(first, Path) or (isinstance(first, bytes) and looks_like_image(first)):
        return "image", as_images(values, place)
    return "text", as_texts(values, place)


def _only_column(values: Any) -> Any:
    """Return the column of a table that has one; refuse other tables, which list column names, and sets."""
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.dtype.kind in "OSU":  # a DataFrame's values
        values = dict(enumerate(values.T))
    names = values if isinstance(values, Mapping) else _column_names(values)
    if names is not None:
        labels = list(names)
        if len(labels) != 1:
            named = ", ".join(repr(label) for label in labels[:8]) + ", ..." * (len(labels) > 8)
            raise ValueError(
                f"The examples are a table or a dict of {len(labels)} columns ({named}): expected one column of texts "
                "or images. Pass that column, such as data['text']."
            )
        values = values[labels[0]]
    if isinstance(values, Set) or not (hasattr(values, "__len__") and hasattr(values, "__iter__")):
        raise ValueError(
            f"The examples are a {type(values).__name__}: expected a list of texts or images, or one array. Pass "
            "list(...) of it, in the order of the answers."
        )
    return values


def _column_names(values: Any) -> Iterable[Any] | None:
    """Return the names of a table's columns: of pyarrow and Hugging Face, or else of pandas and Polars."""
    names = getattr(values, "column_names", None)
    return getattr(values, "columns", None) if names is None else names


def as_paths(values: Any) -> Any:
    """Make paths of a list of strings that name files, for what takes images; everything else stays as it is.

    Example:
        >>> as_paths(["a.png"])[0].name, as_paths(["a text"])
        ('a.png', ['a text'])
    """
    if isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.dtype.kind in "OU"):
        return [Path(value) if isinstance(value, str) and _names_a_file(value) else value for value in values]
    return values


def _names_a_file(text: str) -> bool:
    return re.fullmatch(r".*\.\w{2,5}", text) is not None or os.path.exists(text)


def as_texts(values: Iterable[Any], place: Place) -> np.ndarray:
    """Bring texts into a read-only `object (n,)` of `str`; see `as_examples`."""
    return _object_array([_as_text(value, place, i) for i, value in enumerate(values)])


def as_images(values: Iterable[Any], place: Place) -> np.ndarray:
    """Bring encoded images, paths or bytes, into a read-only `object (n,)` and check that they decode."""
    images = _object_array(list(values))
    for i, image in enumerate(images):
        if not isinstance(image, Path | bytes):
            raise ValueError(f"{place(i)} is of type {type(image).__name__}: expected a path or encoded bytes.")
    check_images(images.tolist(), place)
    return images


def _as_pixels(values: np.ndarray) -> np.ndarray:
    if values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[3] not in (1, 3)) or 0 in values.shape:
        raise ValueError(
            f"Image arrays of shape {values.shape}: expected (n, height, width), (n, height, width, 1) or "
            "(n, height, width, 3), with the channels last. Move the axes with np.moveaxis, or drop an alpha channel."
        )
    if values.dtype != np.uint8:
        raise ValueError(
            f"Image arrays of type {values.dtype}: expected uint8 from 0 to 255. Convert values in [0, 1] with "
            "(images * 255).round().astype('uint8'), and values in [0, 255] with images.astype('uint8')."
        )
    pixels = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values[:]
    pixels.flags.writeable = False
    return pixels


def _as_text(value: Any, place: Place, position: int) -> str:
    try:
        return _checked_text(value)
    except ValueError as error:
        raise ValueError(f"{place(position)}: {error}") from None


def _checked_text(value: Any) -> str:
    if is_missing(value):
        raise ValueError("the text is missing. Fill it in, or remove the row.")
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise ValueError(
                f"byte {value[error.start]:#04x} at offset {error.start} of the text is not UTF-8. "
                "Decode the text with its own encoding first."
            ) from None
    if not isinstance(value, str):
        raise ValueError(f"expected a text, found {value!r} of type {type(value).__name__}. Convert it first.")
    text = str(value)  # np.str_ is a str too, and would make readers wonder
    if not text.strip():
        raise ValueError("the text is empty. Fill it in, or remove the row.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"character {error.start} of the text is half of a surrogate pair (U+{ord(text[error.start]):X}), which "
            "UTF-8 cannot hold. Remove it."
        ) from None
    return text


def _object_array(values: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    array.flags.writeable = False
    return array
