"""Rows of tables, one after the other: CSV, TSV, JSONL and Parquet files of any size, few rows in memory at a time."""

import codecs
import contextlib
import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from tfembed.spelling import did_you_mean

Column = str | int
"""A name; or a position from 0, for a file without a header."""

_ROWS_AT_A_TIME = 4096
_SEPARATORS = (",", ";", "\t", "|")
_SEP_LINE = re.compile(r"(?i)sep=(\S|\t)\n?$")
_QUOTED = re.compile(r'"[^"]*"?')
_LONGEST_CELL = 1 << 28  # characters; what an unclosed quote can swallow at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a table.

    Attributes:
        number: The line it starts on, from 1; in Parquet, the row's number from 1.
        cells: Of the columns asked for, in their order: `str` from CSV and TSV, what the file holds otherwise.
        problem: Why there are no cells; empty where there are.
    """

    number: int
    cells: tuple[Any, ...] = ()
    problem: str = ""


def rows_of(path: Path, columns: Sequence[Column]) -> Iterator[Row]:
    """Read columns of a table row by row; see `read_table` for what a table is.

    Args:
        path: Ends in `.csv`, `.tsv`, `.txt` (tab-separated), `.jsonl`, `.ndjson` or `.parquet`.
        columns: Names; or positions from 0, which say that a CSV or TSV has no header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty, in another encoding, lacks a column, or cannot be read on behind some row. A
            row that is malformed by itself has a `problem` instead.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: expected a table ({', '.join(_READERS)}). Name a file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file. Check the path; it is taken from {Path.cwd()}.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{path}: the suffix {path.suffix!r} names no table that can be read: expected {', '.join(_READERS)}. "
            "Rename or convert it (a compressed file must be unpacked)."
        )
    if len({type(column) for column in columns}) > 1:
        raise ValueError(f"Columns {list(columns)}: expected all names, or all positions in a file without a header.")
    return reader(path, columns)


def place_of(path: Path, number: int) -> str:
    """Where a row stands, for errors.

    Example:
        >>> place_of(Path("intents.csv"), 5)
        'intents.csv, line 5'
    """
    return f"{path}, {unit_of(path)} {number}"


def is_table(path: Path) -> bool:
    """Whether a file is a table by its suffix.

    Example:
        >>> is_table(Path("intents.CSV")), is_table(Path("cat.png"))
        (True, False)
    """
    return path.suffix.lower() in _READERS


def is_delimited(path: Path) -> bool:
    """Whether all cells of a table are text, as in CSV and TSV."""
    return _READERS.get(path.suffix.lower()) in (_read_csv, _read_tsv)


def unit_of(path: Path) -> str:
    """What rows are counted in: `"line"` or `"row"`, which those of a DataFrame are, without a suffix."""
    return "row" if path.suffix.lower() in (".parquet", "") else "line"


def _read_csv(path: Path, columns: Sequence[Column]) -> Iterator[Row]:
    lines = text_lines(path)
    first, start = next(lines), 1
    if (announced := _SEP_LINE.match(first)) is not None:  # Excel's
        first, start = next(lines, ""), 2
    separator = announced[1] if announced else _separator_of(first, columns)
    return _delimited(path, columns, _records(path, chain([first], lines), separator, csv.QUOTE_MINIMAL, start))


def _separator_of(first: str, columns: Sequence[Column]) -> str:
    """Return the separator of a CSV: the first under which its header has the columns, or else that is in its line."""
    for separator in _SEPARATORS:
        with contextlib.suppress(csv.Error):
            header = next(csv.reader([first], delimiter=separator, strict=True), [])
            if all(column in header for column in columns):
                return separator
    unquoted = _QUOTED.sub("", first)
    return next((separator for separator in _SEPARATORS if separator in unquoted), ",")


def _read_tsv(path: Path, columns: Sequence[Column]) -> Iterator[Row]:
    return _delimited(path, columns, _records(path, text_lines(path), "\t", csv.QUOTE_NONE))


def _read_jsonl(path: Path, columns: Sequence[Column]) -> Iterator[Row]:
    blank = 0  # lines that hold nothing count only where another one follows
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip():
            blank += 1
            continue
        for earlier in range(number - blank, number):
            yield Row(number=earlier, problem=_no_json(json.JSONDecodeError("Expecting value", "", 0)))
        blank = 0
        yield _json_row(number, line, columns)


def _json_row(number: int, line: str, columns: Sequence[Column]) -> Row:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        return Row(number=number, problem=_no_json(error))
    if not isinstance(found, dict):
        return Row(number=number, problem=f"found {type(found).__name__}, expected an object, as {{...}}.")
    for column in columns:
        if column not in found:
            return Row(number=number, problem=missing_column(column, list(found)))
    return Row(number=number, cells=tuple(found[column] for column in columns))


def _no_json(error: json.JSONDecodeError) -> str:
    return (
        f"not valid JSON at column {error.colno} ({error.msg}): expected one object a line, as {{...}}. Correct the "
        "line."
    )


def _read_parquet(path: Path, columns: Sequence[Column]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            for column in columns:
                if column not in present:
                    raise ValueError(f"{path}: {missing_column(column, present)}")
            for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=list(columns)):
                cells = [_parquet_cells(batch.column(str(column))) for column in columns]
                for row in zip(*cells, strict=True):
                    number += 1
                    bad = [cell.why for cell in row if isinstance(cell, _Undecodable)]
                    yield Row(number=number, problem=bad[0]) if bad else Row(number=number, cells=row)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file ({error}). Write it again.") from None
    if number == 0:
        raise ValueError(f"{path} has columns but no rows. Add some, or check that it is the right file.")


@dataclass(frozen=True, slots=True)
class _Undecodable:
    why: str


def _parquet_cells(values: Any) -> list[Any]:
    import pyarrow as pa

    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return values.to_pylist()
    return [None if value is None else _decoded(value) for value in values.cast(pa.large_binary()).to_pylist()]


def _decoded(value: bytes) -> "str | _Undecodable":
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        return _Undecodable(
            f"byte {value[error.start]:#04x} at offset {error.start} of the text is not UTF-8. Write the file again "
            "from correctly decoded texts."
        )


_MARKS = {  # UTF-32's begins as UTF-16's does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

_READERS: dict[str, Callable[[Path, Sequence[Column]], Iterator[Row]]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".txt": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}


def text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, each with `\\n` at its end whatever the file has there.

    The file is UTF-8; UTF-16 or UTF-32 with a byte order mark; or UTF-16 without one whose first two characters are
    ASCII.

    Raises:
        ValueError: If the file is empty, or is in another encoding.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "others.txt")
        >>> _ = file.write_text("caf\u00e9\\n", encoding="utf-16")
        >>> list(text_lines(file))
        ['caf\u00e9\\n']
    """
    empty, encoding = True, _encoding_of(path)
    try:
        with open(path, encoding=encoding, newline=None) as file:
            waiting = []  # until something that is not blank shows that the file is not empty
            for line in file:
                if empty and not line.strip():
                    waiting.append(line)
                    continue
                if empty and "\0" in line:
                    raise ValueError(
                        f"{path}: the first line holds zero bytes, as UTF-16 does that was converted as if it were "
                        "another encoding. Save the original as UTF-8."
                    )
                empty = False
                yield from waiting
                waiting.clear()
                yield line
    except UnicodeError as error:
        broken = f"{path}: not valid {encoding} ({error}). Save the file as UTF-8."
        raise ValueError(_not_utf8(path) if encoding == "utf-8-sig" else broken) from None
    if empty:
        raise ValueError(f"{path} is empty. Check that it is the right file.")


def _encoding_of(path: Path) -> str:
    with open(path, "rb") as file:
        head = file.read(4)
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding
    are_zeros = [byte == 0 for byte in head]  # a table begins with two ASCII characters
    if are_zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if are_zeros == [True, False, True, False] else "utf-8-sig"


def _not_utf8(path: Path) -> str:
    """Where a file is not UTF-8: what decodes it piece by piece does not tell."""
    offset, number = 0, 1
    with open(path, "rb") as file:
        for line in file:
            try:
                line.decode()
            except UnicodeDecodeError as error:
                before = line[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
                return (
                    f"{path}, line {number + before.count(10)}: byte {line[error.start]:#04x} at offset "
                    f"{offset + error.start} of the file is not UTF-8. Save the file as UTF-8 (for instance: iconv -f "
                    "WINDOWS-1252 -t UTF-8)."
                )
            offset += len(line)
            number += line.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(10)
    return f"{path} changed while it was read. Read it again."


def _records(
    path: Path, lines: Iterator[str], separator: str, quoting: int, start: int = 1
) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it starts on, the first at `start`; of empty lines, those that a record follows."""
    reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=True)  # type: ignore[arg-type]
    empty: list[int] = []
    line = start
    while True:
        limit = csv.field_size_limit(_LONGEST_CELL)  # by default it refuses more than 131,072 characters
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {line}: not valid CSV ({error}). Close each quoted text, and double the quotes in it."
            ) from None
        finally:
            csv.field_size_limit(limit)
        if fields is None:
            return
        if fields:
            yield from ((number, []) for number in empty)
            empty.clear()
            yield line, fields
        else:
            empty.append(line)
        line = reader.line_num + start


def _delimited(path: Path, columns: Sequence[Column], records: Iterator[tuple[int, list[str]]]) -> Iterator[Row]:
    first_line, header = next(records, (1, []))
    if not header:
        raise ValueError(f"{path}, line {first_line}: the line is empty. Delete it.")
    has_header = isinstance(columns[0], str)
    names: list[Column] = list(header) if has_header else list(range(len(header)))
    for column in columns:
        if column not in names:
            raise ValueError(f"{path}: {missing_column(column, names)}{_hint_of_separator(path, header)}")
        if names.count(column) > 1:
            raise ValueError(f"{path}, line {first_line}: two columns are named {column!r}. Rename one.")
    positions = [names.index(column) for column in columns]
    any_rows = False
    for line, fields in records if has_header else chain([(first_line, header)], records):
        any_rows = True
        if len(fields) == len(names):
            yield Row(number=line, cells=tuple(fields[i] for i in positions))
        elif not fields:
            yield Row(number=line, problem="the line is empty. Delete it.")
        else:
            yield Row(
                number=line,
                problem=f"{len(fields)} fields where line {first_line} has {len(names)}. In CSV, put a text that holds "
                "the separator in double quotes; in TSV, remove the tab from it.",
            )
    if not any_rows:
        raise ValueError(f"{path} has a header but no rows. Add some, or check that it is the right file.")


def _hint_of_separator(path: Path, header: Sequence[str]) -> str:
    """Say that a table with a single column, which should be separated by tabs, is separated by something else."""
    separator = next((each for each in _SEPARATORS if each in header[0]), None)
    if len(header) > 1 or separator is None:
        return ""
    return (
        f" Its first line has no tab but {separator!r}: a file that is separated by it must be named {path.stem}.csv."
    )


def missing_column(column: Column, present: Sequence[Column]) -> str:
    """The error about a column that a table does not have, with those that it has."""
    if isinstance(column, str):
        return (
            f"there is no column {column!r}, only {', '.join(repr(name) for name in present)}."
            f"{did_you_mean(column, map(str, present))} Name one of these; for a CSV or TSV without "
            "a header, pass positions from 0."
        )
    return (
        f"there is no column {column}, only {', '.join(str(name) for name in present)}. Positions are for CSV and TSV "
        "without a header; elsewhere pass names."
    )
