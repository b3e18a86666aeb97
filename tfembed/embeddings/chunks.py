"""The rows of a table or the images of a folder, some at a time, checked as everything that enters tfembed is."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from tfembed.data import fingerprint
from tfembed.data.examples import as_images, as_texts
from tfembed.data.image_files import is_system_file
from tfembed.data.table_rows import Row, place_of, rows_of
from tfembed.embeddings.options import EmbedOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A row that has no embedding.

    Attributes:
        row: Its number from 0.
        place: Where it stands.
        reason: What is wrong with it, and what to do.
    """

    row: int
    place: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """Some rows, one behind the other.

    Attributes:
        number: Of the chunk, from 0.
        num_rows: How many rows it was made of.
        rows: The numbers, from 0, of those that can be embedded.
        ids: Of these: text or whole numbers.
        examples: Texts or paths.
        places: Where each stands.
        kept: Further columns by name.
        failures: The other rows.
        content: A name for everything that its embeddings and columns depend on, the same in every process.
    """

    number: int
    num_rows: int
    rows: list[int]
    ids: list[Any]
    examples: list[Any]
    places: list[str]
    kept: dict[str, list[Any]]
    failures: list[Failure]
    content: str

    def without(self, good: Sequence[int], failures: Sequence[Failure]) -> "Chunk":
        """Some of its rows, by their places in `rows`, and other failures."""
        return replace(
            self,
            rows=[self.rows[i] for i in good],
            ids=[self.ids[i] for i in good],
            examples=[self.examples[i] for i in good],
            places=[self.places[i] for i in good],
            kept={name: [cells[i] for i in good] for name, cells in self.kept.items()},
            failures=sorted(failures, key=lambda failure: failure.row),
        )


def chunks(
    path: Path, kind: str, options: EmbedOptions, wanted: Callable[[int], bool] = lambda number: True
) -> Iterator[Chunk]:
    """Read a table or a folder of images, `options.rows_per_part` rows at a time; images are decoded, to check them.

    Args:
        path: A table as `read_table` knows it; a folder of images, at any depth, taken in the order of their paths.
        kind: Of the examples: `"text"` or `"image"`.
        options: Which columns.
        wanted: Whether a chunk is wanted, by its number; the others are read over.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or holds nothing of this kind.
    """
    rows = iter(raw_rows(path, kind, options))
    for number in count():
        raw = list(islice(rows, options.rows_per_part))
        if not raw:
            return
        if not wanted(number):
            continue
        good, failures = [], [Failure(row=r.row, place=r.place, reason=r.problem) for r in raw if r.problem]
        for row, reason in _checked([row for row in raw if not row.problem], kind):
            if reason:
                failures.append(Failure(row=row.row, place=row.place, reason=reason))
            else:
                good.append(row)
        kept = {name: [row.kept[i] for row in good] for i, name in enumerate(options.keep)}
        examples, ids = [row.example for row in good], [row.id for row in good]
        yield Chunk(
            number=number,
            num_rows=len(raw),
            rows=[row.row for row in good],
            ids=ids,
            examples=examples,
            places=[row.place for row in good],
            kept=kept,
            failures=sorted(failures, key=lambda failure: failure.row),
            content=_content(examples, (len(raw), ids, kept, [(failure.row, failure.reason) for failure in failures])),
        )


def _content(examples: list[Any], others: Any) -> str:
    digest = hashlib.blake2b(repr(others).encode(), digest_size=16)
    return f"{fingerprint(examples)[:32]}{digest.hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """A row as it was found; with a problem, it has no example."""

    row: int
    place: str
    id: Any = None
    example: Any = None
    kept: tuple[Any, ...] = ()
    problem: str = ""


def raw_rows(path: Path, kind: str, options: EmbedOptions) -> Iterator[RawRow]:
    """The rows, without a look into their examples; see `chunks`."""
    if path.is_dir():
        return _files(path, kind, options)
    column = options.column or ("text" if kind == "text" else "path")
    columns = [column, *([options.id] if options.id else []), *options.keep]
    make: Callable[[Any], Any] = (lambda cell: cell) if kind == "text" else (lambda cell: _image(path, cell))
    return (
        _row_of(number, row, place_of(path, row.number), options, make)
        for number, row in enumerate(rows_of(path, columns))
    )


def _row_of(number: int, row: Row, place: str, options: EmbedOptions, make: Callable[[Any], Any]) -> RawRow:
    if row.problem:
        return RawRow(row=number, place=place, problem=row.problem)
    found: Any = row.cells[1] if options.id else number
    if options.id and not _is_id(found):
        why = f"{found!r} in column {options.id!r} is no id: expected a text or a whole number. Fill it in."
        return RawRow(row=number, place=place, problem=why)
    try:
        example = make(row.cells[0])
    except ValueError as error:
        return RawRow(row=number, place=place, problem=str(error))
    return RawRow(row=number, place=place, id=found, example=example, kept=row.cells[1 + bool(options.id) :])


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return value != ""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _image(table: Path, cell: Any) -> Path:
    if not isinstance(cell, str) or not cell.strip():
        raise ValueError(f"{cell!r} is no path to an image. Fill it in, or remove the row.")
    path = table.parent / cell.strip()
    if not path.is_file():
        raise ValueError(f"there is no image {path}. Correct the path; it is taken from the folder of the table.")
    return path


def _files(folder: Path, kind: str, options: EmbedOptions) -> Iterator[RawRow]:
    if kind != "image":
        raise ValueError(f"{folder} is a folder: expected a table, since the encoder takes texts.")
    if options.column or options.id or options.keep:
        raise ValueError(f"{folder} is a folder of images: it has no columns. Leave column, id and keep out.")
    number = -1
    for number, file in enumerate(_visible(folder)):
        yield RawRow(row=number, place=str(file), id=file.relative_to(folder).as_posix(), example=file)
    if number < 0:
        raise ValueError(f"The folder {folder} holds no files: expected images.")


def _visible(folder: Path) -> Iterator[Path]:
    """The files under a folder by name, one folder at a time, without what operating systems leave there."""
    with os.scandir(folder) as entries:
        found = sorted(entry.name for entry in entries if not is_system_file(entry.name))
    for name in found:
        path = folder / name
        if path.is_dir():
            yield from _visible(path)
        else:
            yield path


def _checked(rows: list[RawRow], kind: str) -> list[tuple[RawRow, str]]:
    """Each row with what is wrong with its example, or nothing."""
    check = as_texts if kind == "text" else as_images
    if not rows:
        return []
    try:
        check([row.example for row in rows], lambda i: "")
    except ValueError:
        return [(row, _problem(row, check)) for row in rows]
    return [(row, "") for row in rows]


def _problem(row: RawRow, check: Callable[[Any, Any], np.ndarray]) -> str:
    try:
        check([row.example], lambda i: row.place)
    except ValueError as error:
        return str(error).removeprefix(f"{row.place}: ")
    return ""
