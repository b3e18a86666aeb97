"""Examples that were typed, or that stand in files which were named."""

import os
from collections.abc import Sequence
from pathlib import Path

from tfembed.data.image_files import is_system_file, looks_like_image
from tfembed.data.table_rows import is_table, text_lines
from tfembed.data.tables import read_table

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")
_HEAD_BYTES = 16


def examples_in(path: Path) -> Sequence[str | Path]:
    """Read the texts of a file, as `texts_in` does; of a folder, list the images in it."""
    if not path.is_dir():
        return texts_in(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return [each for each in files if not any(map(is_system_file, each.relative_to(path).parts))]


def texts_in(path: Path, column: str = "text") -> list[str]:
    """Read the texts of a file: the column of a table; of other files, and of those named `.txt`, a text a line.

    Raises:
        ValueError: If the file is empty, in another encoding than UTF-8 or UTF-16, or has no such column.
    """
    if is_table(path) and path.suffix.lower() != ".txt":
        table = read_table(path, (column,))
        return [str(cell) for cell in table.columns[column] if cell is not None]
    return [line.rstrip("\n") for line in text_lines(path) if line.strip()]


def texts_of(typed: Sequence[str], column: str = "text") -> list[str]:
    """Return texts as they were typed, and in place of a table that was named, the texts in it.

    Raises:
        ValueError: If an image was named, or a file that does not exist.

    Example:
        >>> texts_of(["where is my card?"])
        ['where is my card?']
    """
    texts: list[str] = []
    for text in typed:
        check_text(text, tables=True)
        texts += texts_in(Path(text), column) if _is_file(text) and is_table(Path(text)) else [text]
    return texts


def check_text(text: str, *, tables: bool = False) -> None:
    """Refuse the name of a file where a text is expected: it would be taken for the text itself.

    Args:
        text: Text as it was typed.
        tables: Whether the name of a table is fine, if the table exists.

    Raises:
        ValueError: If it names an image or a table.
    """
    path, exists = Path(text), _is_file(text)
    looks_like_name = exists or not any(map(str.isspace, text))
    if is_table(path) and looks_like_name and not (tables and exists):
        problem = "is a table" if exists else "names a table that does not exist"
    elif path.suffix.lower() in _IMAGE_SUFFIXES and looks_like_name:
        problem = "names an image"
    elif exists and looks_like_image(_head(path)):
        problem = "is an image"
    else:
        return
    expected = "texts, or a table that holds them" if tables else "texts"
    raise ValueError(f"{text!r} {problem}: expected {expected}. Type the text itself, or correct the path.")


def _is_file(text: str) -> bool:
    try:
        return os.path.isfile(text)
    except ValueError:  # a null character
        return False


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(_HEAD_BYTES)
