"""Reading embeddings that were written, and what they say of themselves."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfembed.embeddings.parts import META


def about_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file of embeddings says of itself: `encoder`, `kind`, `dim`, `fingerprint`, `source`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `embed_file` did not write it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: there is no such file. Check the path; it is taken from {Path.cwd()}.")
    try:
        metadata = pq.read_schema(path).metadata or {}
    except pa.ArrowException:
        metadata = {}
    if META not in metadata:
        raise ValueError(f"{path} holds no embeddings: expected a Parquet file that `tfembed embed` wrote.")
    return json.loads(metadata[META])


def is_embeddings(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one that `embed_file` wrote."""
    try:
        return Path(path).suffix.lower() == ".parquet" and bool(about_of(path))
    except (ValueError, OSError):
        return False


def read_vectors(path: str | os.PathLike[str]) -> np.ndarray:
    """All vectors of a file, `float32 (n, dim)`, in memory."""
    column = pq.read_table(path, columns=["vector"])["vector"]
    return np.concatenate([each.flatten().to_numpy() for each in column.chunks]).reshape(len(column), -1)


def read_column(path: str | os.PathLike[str], name: str) -> list[Any]:
    """A column that was kept.

    Raises:
        ValueError: If there is none of that name.
    """
    names = pq.read_schema(path).names
    if name not in names:
        raise ValueError(
            f"{path} has no column {name!r}, only {', '.join(names)}. Embed again with --keep {name}, or name another."
        )
    return pq.read_table(path, columns=[name])[name].to_pylist()
