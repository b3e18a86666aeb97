"""Rows and columns of embeddings, as Milvus takes them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from tfembed.index.client import load_pymilvus

NAME = re.compile(r"[A-Za-z_]\w*")  # of columns and collections
_LONGEST_ID, _LONGEST_TEXT = 512, 65_535


def field_of(field: pa.Field, dim: int) -> dict[str, Any]:
    """What Milvus calls a column of Arrow's."""
    types = load_pymilvus().DataType
    if field.name == "vector":
        return {"field_name": "vector", "datatype": types.FLOAT_VECTOR, "dim": dim}
    if not NAME.fullmatch(field.name):
        raise ValueError(
            f"Column {field.name!r}: Milvus takes names of letters, digits and _, no digit first. Rename it and embed "
            "again, or do not keep it."
        )
    text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type) or pa.types.is_null(field.type)
    if field.name == "id":
        key = {"datatype": types.VARCHAR, "max_length": _LONGEST_ID} if text else {"datatype": types.INT64}
        return {"field_name": "id", "is_primary": True, **key}
    if text:
        return {"field_name": field.name, "datatype": types.VARCHAR, "max_length": _LONGEST_TEXT, "nullable": True}
    if pa.types.is_boolean(field.type):
        return {"field_name": field.name, "datatype": types.BOOL, "nullable": True}
    if pa.types.is_integer(field.type):
        return {"field_name": field.name, "datatype": types.INT64, "nullable": True}
    if pa.types.is_floating(field.type):
        return {"field_name": field.name, "datatype": types.DOUBLE, "nullable": True}
    raise ValueError(
        f"Column {field.name!r} is of type {field.type}: an index takes texts, numbers and booleans. Convert it and "
        "embed again, or do not keep it."
    )


def rows_of(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """What Milvus is given of some rows.

    Raises:
        ValueError: If a text is longer than Milvus takes.
    """
    vectors = batch.column("vector").flatten().to_numpy().reshape(batch.num_rows, -1)
    others = batch.drop_columns(["vector"]).to_pylist()
    for row, vector in zip(others, vectors, strict=True):
        for name, value in row.items():
            most = _LONGEST_ID if name == "id" else _LONGEST_TEXT
            if isinstance(value, str) and len(value.encode()) > most:
                raise ValueError(
                    f"Row {row['id']!r}: {name} has {len(value.encode())} bytes, and an index takes {most} at most. "
                    "Shorten it and embed again, or do not keep it."
                )
        yield {**row, "vector": vector}


def check_same(name: str, known: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Check that embeddings go into a collection: the same encoder, and the same columns.

    Raises:
        ValueError: If they do not.
    """
    if known["kind"] != about["kind"]:
        raise ValueError(
            f"Collection {name!r} holds {known['kind']}s, and these are embeddings of {about['kind']}s, with other ids "
            "and columns. Use another collection; either is found by texts and images where one encoder embeds both."
        )
    if known["fingerprint"] != about["fingerprint"]:
        raise ValueError(
            f"Collection {name!r} was written by encoder {known['encoder']!r} ({known['fingerprint'][:12]}), and these "
            f"embeddings by {about['encoder']!r} ({about['fingerprint'][:12]}): they do not go together. Use another "
            "collection."
        )
    if known["columns"] != about["columns"]:
        raise ValueError(
            f"Collection {name!r} has the columns {known['columns']}, and these embeddings {about['columns']}. Keep "
            "the same ones, or use another collection."
        )
