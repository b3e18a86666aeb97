"""Columns of tables: CSV, TSV, JSONL and Parquet files, with the line of each row as an editor shows it."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Column = str | int
"""A name; or a position from 0, for a file without a header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The columns that were asked for.

    Attributes:
        path: The file.
        columns: The cells of each column: `str` from CSV and TSV, what the file holds otherwise.
        lines: The line that each row starts on, from 1; for Parquet, the row's number from 1.
        unit: `"line"` or `"row"`.
    """

    path: Path
    columns: Mapping[Column, list[Any]]
    lines: Sequence[int]
    unit: str = "line"

    def place(self, row: int) -> str:
        """Where a row stands, for errors: `intents.csv, line 5`."""
        return f"{self.path}, {self.unit} {self.lines[row]}"

    def labels(self, column: Column, separator: str | None) -> list[Any]:
        """The cells of a column of labels; with a separator, the texts among them as lists of labels."""
        cells = self.columns[column]
        if separator is None:
            return cells
        return [_split_cell(cell, separator) if isinstance(cell, str) else cell for cell in cells]


def read_table(path: Path, columns: Sequence[Column]) -> Table:
    """Read columns of a table, all rows or none.

    CSV is comma-separated (or semicolon-separated, if its first line holds semicolons and no comma), with texts in
    double quotes where they hold a separator, a quote or a line break. TSV has no quoting: a quote is a character like
    any other. Text is UTF-8, with or without a byte order mark; line breaks are read as `\\n`, and empty lines at the
    end of a file are no rows.

    Args:
        path: Ends in `.csv`, `.tsv`, `.txt` (tab-separated), `.jsonl`, `.ndjson` or `.parquet`.
        columns: Names; or positions from 0, which say that a CSV or TSV has no header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or malformed, is not UTF-8, or lacks a column.
    """
    reader = _READERS.get(path.suffix.lower())
    if path.is_dir():
        raise ValueError(f"{path} is a folder: expected a table ({', '.join(_READERS)}). Name a file in it.")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file. Check the path; it is taken from {Path.cwd()}.")
    if reader is None:
        raise ValueError(
            f"{path}: the suffix {path.suffix!r} names no table that can be read: expected {', '.join(_READERS)}. "
            "Rename or convert it (a compressed file must be unpacked)."
        )
    if len({type(column) for column in columns}) > 1:
        raise ValueError(f"Columns {list(columns)}: expected all names, or all positions in a file without a header.")
    return reader(path, columns)


def _read_csv(path: Path, columns: Sequence[Column]) -> Table:
    text = _decode(path)
    first_line = text.split("\n", 1)[0]
    separator = ";" if ";" in first_line and "," not in first_line else ","
    return _delimited(path, columns, _records(path, text, separator, csv.QUOTE_MINIMAL))


def _read_tsv(path: Path, columns: Sequence[Column]) -> Table:
    return _delimited(path, columns, _records(path, _decode(path), "\t", csv.QUOTE_NONE))


def _read_jsonl(path: Path, columns: Sequence[Column]) -> Table:
    rows = []
    # Not splitlines(): a JSON text may hold other characters that it takes for line ends.
    for number, line in enumerate(_decode(path).rstrip().split("\n"), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}, line {number}: not valid JSON at column {error.colno} ({error.msg}): expected one object "
                "a line, as {...}. Correct the line."
            ) from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: found {type(row).__name__}, expected an object, as {{...}}.")
        for column in columns:
            if column not in row:
                raise ValueError(_missing_column(f"{path}, line {number}", column, list(row)))
        rows.append(row)
    return Table(
        path=path,
        columns={column: [row[column] for row in rows] for column in columns},
        lines=range(1, len(rows) + 1),
    )


def _read_parquet(path: Path, columns: Sequence[Column]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = file.schema_arrow.names
            for column in columns:
                if column not in present:
                    raise ValueError(_missing_column(str(path), column, present))
            table = file.read(columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file ({error}). Write it again.") from None
    if table.num_rows == 0:
        raise ValueError(f"{path} has columns but no rows. Add some, or check that it is the right file.")
    cells: dict[Column, list[Any]] = {column: _parquet_cells(path, table[column]) for column in columns}
    return Table(path=path, columns=cells, lines=range(1, table.num_rows + 1), unit="row")


def _parquet_cells(path: Path, values: Any) -> list[Any]:
    import pyarrow as pa

    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return values.to_pylist()
    cells: list[Any] = []
    for row, value in enumerate(values.cast(pa.large_binary()).to_pylist(), start=1):  # to name the row of a bad text
        try:
            cells.append(value if value is None else value.decode())
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, row {row}: byte {value[error.start]:#04x} at offset {error.start} of the text is not UTF-8. "
                "Write the file again from correctly decoded texts."
            ) from None
    return cells


_READERS: dict[str, Callable[[Path, Sequence[Column]], Table]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".txt": _read_tsv,
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".parquet": _read_parquet,
}


def _decode(path: Path) -> str:
    content = path.read_bytes()
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        line = before.count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: byte {content[error.start]:#04x} at offset {error.start} of the "
            "file is not UTF-8. Save the file as UTF-8 (for instance: iconv -f WINDOWS-1252 -t UTF-8)."
        ) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise ValueError(f"{path} is empty: expected a table. Check that it is the right file.")
    return text


def _records(path: Path, text: str, separator: str, quoting: int) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line it starts on."""
    reader = csv.reader(io.StringIO(text.rstrip("\n"), newline=""), delimiter=separator, quoting=quoting, strict=True)  # type: ignore[arg-type]
    limit = csv.field_size_limit(len(text) + 1)  # by default it refuses more than 131,072 characters
    try:
        line = 1
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise ValueError(
                    f"{path}, line {line}: not valid CSV ({error}). Close each quoted text, and double the quotes "
                    "in it."
                ) from None
            if not fields:
                raise ValueError(f"{path}, line {line}: the line is empty. Delete it.")
            yield line, fields
            line = reader.line_num + 1
    finally:
        csv.field_size_limit(limit)


def _delimited(path: Path, columns: Sequence[Column], records: Iterator[tuple[int, list[str]]]) -> Table:
    first_line, header = next(records)
    has_header = isinstance(columns[0], str)
    names: list[Column] = list(header) if has_header else list(range(len(header)))
    for column in columns:
        if column not in names:
            raise ValueError(_missing_column(str(path), column, names))
        if names.count(column) > 1:
            raise ValueError(f"{path}, line {first_line}: two columns are named {column!r}. Rename one.")
    rows = [] if has_header else [header]
    lines = [] if has_header else [first_line]
    for line, fields in records:
        if len(fields) != len(names):
            raise ValueError(
                f"{path}, line {line}: {len(fields)} fields where line {first_line} has {len(names)}. "
                "In CSV, put a text that holds the separator in double quotes; in TSV, remove the tab from it."
            )
        rows.append(fields)
        lines.append(line)
    if not rows:
        raise ValueError(f"{path} has a header but no rows. Add some, or check that it is the right file.")
    positions = {column: names.index(column) for column in columns}
    return Table(path=path, columns={column: [row[i] for row in rows] for column, i in positions.items()}, lines=lines)


def _split_cell(cell: str, separator: str) -> list[str] | None:
    """The labels in a cell: none in a cell that holds only the separator; an empty cell is a missing label."""
    if not cell.strip():
        return None
    return [] if cell.strip() == separator.strip() else [label.strip() for label in cell.split(separator)]


def _missing_column(where: str, column: Column, present: Sequence[Column]) -> str:
    if isinstance(column, str):
        return (
            f"{where}: there is no column {column!r}, only {', '.join(repr(name) for name in present)}. Name one of "
            "these; for a CSV or TSV without a header, pass positions from 0."
        )
    return (
        f"{where}: there is no column {column}, only {', '.join(str(name) for name in present)}. Positions are for CSV "
        "and TSV without a header; elsewhere pass names."
    )
