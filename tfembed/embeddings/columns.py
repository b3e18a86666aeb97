"""The types of the columns that are kept: of a CSV, whose cells are all text, numbers where every cell is one."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from tfembed.data.table_rows import is_delimited
from tfembed.embeddings.chunks import RawRow

# 007 is a name; so is what has more digits than a float64 holds.
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,14})")
_NUMBER = re.compile(_WHOLE.pattern + r"(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_FROM_NARROW = (pa.null(), pa.int64(), pa.float64(), pa.string())  # of cells of a CSV; each holds those before it


def widened(schema: pa.Schema, rows: Sequence[RawRow], source: Path) -> pa.Schema:
    """The types that hold what columns held so far, and some more rows.

    Args:
        schema: Of the kept columns so far; null before there are any.
        rows: With cells of these.
        source: Where they are from.

    Raises:
        ValueError: If the values of a column do not go together.
    """
    fields = []
    for i, field in enumerate(schema):
        cells = [row.kept[i] for row in rows]
        if is_delimited(source):
            found = max(field.type, _type_of(cells), key=_FROM_NARROW.index)
            fields.append(pa.field(field.name, found))
            continue
        try:
            one = pa.schema([(field.name, pa.array(cells).type)])
            fields.append(pa.unify_schemas([pa.schema([field]), one], promote_options="permissive").field(0))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
            raise ValueError(
                f"{source}: column {field.name!r} holds values that do not go together ({error}). Make them all texts, "
                "or all numbers, or do not keep it."
            ) from None
    return pa.schema(fields)


def column_of(cells: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Cells as a column; of a CSV, an empty one among numbers is missing.

    Example:
        >>> column_of(["3", ""], pa.int64()).to_pylist()
        [3, None]
    """
    if pa.types.is_null(kind):
        return pa.nulls(len(cells))
    if kind in _FROM_NARROW[1:3] and any(isinstance(cell, str) for cell in cells):
        return pa.array([cell or None for cell in cells], pa.string()).cast(kind)
    return pa.array(cells, kind)


def _type_of(cells: Sequence[str]) -> pa.DataType:
    filled = [cell for cell in cells if cell]
    if not filled:
        return pa.null()
    if all(_WHOLE.fullmatch(cell) for cell in filled):
        return pa.int64()
    return pa.float64() if all(_NUMBER.fullmatch(cell) for cell in filled) else pa.string()
