"""Tables for the tests of embeddings, in every format, and an encoder that counts what it is given."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfembed.embeddings.embedder import Embedder

ROWS = [{"text": f"text number {i}", "name": f"row-{i}", "price": i} for i in range(10)]


def write_rows(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    """A table in the format of its suffix."""
    if path.suffix == ".csv":
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def counting_embedder(seen: list[str], fails_at: str = "", fingerprint: str = "a" * 40) -> Embedder:
    """Turns a text into its length and its last letter; notes what it was given, and fails at a text."""

    def embed(examples: np.ndarray) -> np.ndarray:
        if fails_at and fails_at in examples.tolist():
            raise RuntimeError("no memory left")
        seen.extend(examples.tolist())
        return np.array([[len(text), ord(text[-1])] for text in examples], np.float32)

    return Embedder(name="counting", kind="text", dim=2, fingerprint=fingerprint, source=None, embed=embed)
