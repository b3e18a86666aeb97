"""Columns of tables: CSV, TSV, JSONL and Parquet files, with the line of each row as an editor shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfembed.data.groups import group_names
from tfembed.data.table_rows import Column, missing_column, place_of, rows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The columns that were asked for.

    Attributes:
        path: The file.
        columns: The cells of each column: `str` from CSV and TSV, what the file holds otherwise.
        lines: The line that each row starts on, from 1; for Parquet, the row's number from 1.
    """

    path: Path
    columns: Mapping[Column, list[Any]]
    lines: Sequence[int]

    def place(self, row: int) -> str:
        """Where a row stands, for errors: `intents.csv, line 5`."""
        return place_of(self.path, self.lines[row])

    def groups(self, column: Column | None) -> list[str] | None:
        """The names of groups in a column; None where no such column was read."""
        return group_names(self.columns[column], self.place) if column is not None and column in self.columns else None

    def labels(self, column: Column, separator: str | None) -> list[Any]:
        """The cells of a column of labels; with a separator, the texts among them as lists of labels."""
        cells = self.columns[column]
        if separator is None:
            return cells
        if not separator:
            raise ValueError("label_separator='' separates nothing: pass what stands between labels, such as '|'.")
        return [_split_cell(cell, separator) if isinstance(cell, str) else cell for cell in cells]


def read_table(path: Path, columns: Sequence[Column]) -> Table:
    """Read columns of a table, all rows or none.

    CSV is separated by commas, semicolons, tabs or pipes: by the first of these under which its header has the columns,
    or as a first line such as `sep=;` says. Texts that hold a separator, a quote or a line break are in double quotes.
    TSV has no quoting: a quote is a character like any other. Text is UTF-8 or UTF-16, with or without a byte order
    mark; line breaks are read as `\\n`, and empty lines at the end of a file are no rows.

    Args:
        path: Ends in `.csv`, `.tsv`, `.txt` (tab-separated), `.jsonl`, `.ndjson` or `.parquet`.
        columns: Names; or positions from 0, which say that a CSV or TSV has no header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or malformed, in another encoding, or lacks a column.
    """
    cells: list[list[Any]] = [[] for _ in columns]
    lines = []
    for row in rows_of(path, columns):
        if row.problem:
            raise ValueError(f"{place_of(path, row.number)}: {row.problem}")
        lines.append(row.number)
        for column, cell in zip(cells, row.cells, strict=True):
            column.append(cell)
    return Table(path=path, columns=dict(zip(columns, cells, strict=True)), lines=lines)


def is_frame(value: Any) -> bool:
    """True for a DataFrame of pandas or Polars, which is told by what it has.

    Example:
        >>> is_frame("intents.csv")
        False
    """
    return hasattr(value, "columns") and hasattr(value, "__getitem__") and hasattr(value, "shape")


def read_frame(frame: Any, columns: Sequence[Column]) -> Table:
    """Read columns of a DataFrame of pandas or Polars; its rows are counted from 0.

    Raises:
        ValueError: If it has no rows, or lacks a column.
    """
    present = list(frame.columns)
    for column in columns:
        if column not in present:
            raise ValueError(f"DataFrame: {missing_column(column, present)}")
    cells = {column: [_cell(value) for value in frame[column]] for column in columns}
    if not len(frame):
        raise ValueError("The DataFrame has no rows: expected at least one.")
    return Table(path=Path("DataFrame"), columns=cells, lines=range(len(frame)))


def _cell(value: Any) -> Any:
    """A cell as files have it; what marks a missing one in pandas is None."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return value.tolist() if hasattr(value, "tolist") else value


def read_grouped_table(path: Path, columns: Sequence[Column], groups: Column | None, *, is_second: bool) -> Table:
    """Read columns of a table as `read_table` does, with the column of groups if there is one.

    Args:
        path: The table.
        columns: Columns that it must have.
        groups: Column of groups, or None.
        is_second: Whether the table is a split that was passed, which need not have groups.
    """
    if groups is None or (is_second and not has_column(path, groups)):
        return read_table(path, columns)
    return read_table(path, (*columns, groups))


def has_column(path: Path, column: Column) -> bool:
    """True if a table has a column; False also where it cannot be read, which `read_table` explains.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "visits.csv")
        >>> _ = file.write_text("text,patient\\nit hurts,ann\\n")
        >>> has_column(file, "patient"), has_column(file, "doctor")
        (True, False)
    """
    try:
        first = next(rows_of(path, (column,)), None)
    except (OSError, ValueError):
        return False
    return first is not None and not first.problem


def _split_cell(cell: str, separator: str) -> list[str] | None:
    """Return the labels in a cell: none in a cell that holds only separators; an empty cell is a missing label.

    A separator before the first label or behind the last one separates nothing; an empty label between others is one
    that is missing.
    """
    if not cell.strip():
        return None
    labels = [label.strip() for label in cell.strip().split(separator if separator.isspace() else separator.strip())]
    filled = [i for i, label in enumerate(labels) if label]
    return labels[filled[0] : filled[-1] + 1] if filled else []
