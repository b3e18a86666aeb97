"""Rows a second and peak memory of `tfembed embed` for 1,000, 20,000 and 100,000 rows; recall of the indexes.

    python benchmarks/embed_throughput.py [1000 20000 100000] [--encoder minilm] [--quick]

The texts are of 3 to 30 words, made up with a seed. Each number of rows is embedded by a process of its own, from CSV
to Parquet; peak memory is that of the whole process, TensorFlow and encoder included, and beside it how much more that
is than after one text. Recall is measured on the largest number of rows, for 200 other texts as queries and
10 neighbours, against comparing with all of them; it needs the extra `index`.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

TESTS = Path(__file__).parents[1] / "tests"
_WORDS, _QUERIES, _NEIGHBOURS = 2_000, 200, 10
PROGRAM = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
import tfembed as te
encoder = sys.argv[2]
if encoder == "tiny":
    from tiny_encoders import tiny_text_encoder
    encoder = tiny_text_encoder()
else:
    encoder = te.load_encoder(encoder)
te.embed(encoder, ["a text"])  # everything is imported and traced
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
start = time.perf_counter()
te.embed_file(encoder, sys.argv[3], sys.argv[4])
seconds = time.perf_counter() - start
print(json.dumps([seconds, before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("counts", nargs="*", type=int, default=[1_000, 20_000, 100_000])
    parser.add_argument("--encoder", default="minilm", help="a handle; or tiny, to measure what is around the encoder")
    parser.add_argument("--quick", action="store_true", help="1,000 rows alone")
    parser.add_argument("--shared", help="not needed: the texts are made up")
    options = parser.parse_args()
    counts = options.counts[:1] if options.quick else options.counts
    print("command:", " ".join(sys.argv), flush=True)
    table = Table(title=f"tfembed embed, encoder {options.encoder}")
    for name in ("rows", "seconds", "rows a second", "peak memory, MB", "more than for one text, MB"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            output = Path(folder) / f"{count}.parquet"
            seconds, before, peak = embed(
                write_texts(Path(folder) / f"{count}.csv", count, seed=0), output, options.encoder
            )
            row = (f"{count:,}", f"{seconds:.1f}", f"{count / seconds:,.0f}", f"{peak:,.0f}", f"{peak - before:,.0f}")
            table.add_row(*row)
            print("  ".join(row), flush=True)
        Console(width=110).print(table)
        queries = Path(folder) / "queries.parquet"
        embed(write_texts(Path(folder) / "queries.csv", _QUERIES, seed=1), queries, options.encoder)
        measure_recall(Path(folder) / f"{counts[-1]}.parquet", queries, Path(folder))


def write_texts(path: Path, count: int, seed: int) -> Path:
    """A table of texts of 3 to 30 made-up words."""
    rng = np.random.default_rng(seed)
    letters = np.random.default_rng(99).integers(97, 123, (_WORDS, 9)).astype("uint8")
    words = [bytes(row[: 2 + i % 7]).decode() for i, row in enumerate(letters)]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text"])
        for length in rng.integers(3, 31, count):
            writer.writerow([" ".join(words[i] for i in rng.integers(0, _WORDS, length))])
    return path


def embed(source: Path, output: Path, encoder: str) -> list[float]:
    """Seconds, and megabytes of memory before and after."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(TESTS), encoder, str(source), str(output)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(run.stdout)


def measure_recall(embeddings: Path, queries: Path, folder: Path) -> None:
    """Print what share of the exact neighbours each index finds, and how long it takes."""
    import tfembed as te
    from tfembed.embeddings.evaluation import recall
    from tfembed.embeddings.nearest import nearest
    from tfembed.embeddings.stored import read_vectors
    from tfembed.index.collection import INDEX_TYPES

    vectors, asked = read_vectors(embeddings), read_vectors(queries)
    exact = nearest(vectors, asked, _NEIGHBOURS)[0].tolist()
    table = Table(title=f"{len(vectors):,} vectors in Milvus Lite, {len(asked)} queries, {_NEIGHBOURS} neighbours")
    for name in ("index", "recall against exact search", "seconds to write", "queries a second"):
        table.add_column(name, justify="right")
    for index_type in INDEX_TYPES:
        try:
            opened = te.open_index(folder / f"{index_type}.db")
        except ValueError as error:
            print(f"recall is skipped: {error}")
            return
        with opened as index:
            start = time.perf_counter()
            index.upsert(embeddings, index_type)
            index.search(asked[:1], _NEIGHBOURS)
            written = time.perf_counter() - start
            start = time.perf_counter()
            found = [[each.id for each in near] for near in index.search(asked, _NEIGHBOURS)]
            seconds = time.perf_counter() - start
        table.add_row(index_type, f"{recall(found, exact):.4f}", f"{written:.1f}", f"{len(asked) / seconds:,.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
