"""Parts of a result: each written aside and renamed, so that what was done stays done; put together at the end."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfembed.embeddings.chunks import Chunk, Failure
from tfembed.embeddings.columns import column_of

META = b"tfembed"
_CONTENT, _FAILURES, _ZEROS = b"content", b"failures", b"zeros"


def part_path(folder: Path, number: int) -> Path:
    """Where a part lies."""
    return folder / f"{number:06}.parquet"


def done_parts(folder: Path) -> set[int]:
    """The numbers of the parts that are there."""
    return {int(path.stem) for path in folder.glob("[0-9]*.parquet")}


def write_part(folder: Path, chunk: Chunk, vectors: np.ndarray, schema: pa.Schema) -> None:
    """Write what became of a chunk.

    Args:
        folder: Of the parts.
        chunk: Its ids, columns and failures.
        vectors: `float32 (n, dim)`.
        schema: Of the result.
    """
    columns = [pa.array(chunk.ids, schema.field("id").type), vector_array(vectors)]
    columns += [column_of(chunk.kept[name], schema.field(name).type) for name in schema.names[2:]]
    failures = json.dumps([asdict(failure) for failure in chunk.failures]).encode()
    zeros = str(int((~vectors.any(axis=1)).sum())).encode()
    found = schema.with_metadata({_CONTENT: chunk.content.encode(), _FAILURES: failures, _ZEROS: zeros})
    with written_aside(part_path(folder, chunk.number)) as aside:
        pq.write_table(pa.Table.from_arrays(columns, schema=found), aside, use_dictionary=False)


def vector_array(vectors: np.ndarray) -> pa.FixedSizeListArray:
    """Vectors `(n, dim)` as a column of lists of one length, of float32."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1)), vectors.shape[1]
    )


def result_schema(dim: int, id_type: pa.DataType, kept: pa.Schema) -> pa.Schema:
    """The columns of a result: `id`, `vector`, and what is kept."""
    vector = pa.field("vector", pa.list_(pa.field("item", pa.float32()), dim))
    return pa.schema([pa.field("id", id_type), vector, *kept])


def content_of(folder: Path, number: int) -> str | None:
    """What a part was made of, as `Chunk.content` says; None where there is no part."""
    path = part_path(folder, number)
    return pq.read_schema(path).metadata[_CONTENT].decode() if path.exists() else None


def failures_of(folder: Path, num_parts: int) -> Iterator[Failure]:
    """What failed in all parts, in the order of the rows."""
    for number in range(num_parts):
        metadata = pq.read_schema(part_path(folder, number)).metadata
        yield from (Failure(**each) for each in json.loads(metadata[_FAILURES]))


def count_zeros(folder: Path, num_parts: int) -> int:
    """Number of vectors in all parts that are zeros."""
    return sum(int(pq.read_schema(part_path(folder, number)).metadata[_ZEROS]) for number in range(num_parts))


def join_parquet(folder: Path, num_parts: int, target: Path, about: Mapping[str, Any]) -> int:
    """Write one Parquet file of all parts, one of them in memory at a time; returns its number of rows."""
    schema = pq.read_schema(part_path(folder, 0)).with_metadata({META: json.dumps(about).encode()})
    num_rows = 0
    with written_aside(target) as aside, pq.ParquetWriter(aside, schema, use_dictionary=False) as writer:
        for number in range(num_parts):
            part = pq.read_table(part_path(folder, number)).cast(schema)
            num_rows += part.num_rows
            writer.write_table(part)
    return num_rows


def join_npy(folder: Path, num_parts: int, target: Path) -> int:
    """Write one `.npy` file of the vectors of all parts; returns its number of rows."""
    num_rows = sum(pq.read_metadata(part_path(folder, number)).num_rows for number in range(num_parts))
    dim = pq.read_schema(part_path(folder, 0)).field("vector").type.list_size
    with written_aside(target) as aside, open(aside, "xb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (num_rows, dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for number in range(num_parts):
            column = pq.read_table(part_path(folder, number), columns=["vector"])["vector"].combine_chunks()
            file.write(column.flatten().to_numpy().astype("<f4").tobytes())
    return num_rows


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """A name beside a file, which gets the file's own name when all is written; else nothing of it remains."""
    aside = path.with_name(f".aside-{uuid.uuid4().hex}-{path.name}")
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
