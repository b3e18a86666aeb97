"""Peak memory while features of more and more texts are computed, stored and read: it does not grow with their number.

    python benchmarks/streaming_memory.py 20000 100000 1000000

The encoder is tiny: what is measured is the streaming. One process takes the numbers one after the other, since a peak
never falls; how much each adds to it is the figure. What remains are a few numbers per text (its place and its length).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

TESTS = Path(__file__).parents[1] / "tests"
PROGRAM = """
import json, os, resource, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from tiny_encoders import tiny_text_encoder
import tfembed as te

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

encoder, cache = tiny_text_encoder(), te.FeatureCache(sys.argv[2])
words = [f"sixteen letters {i}"[i % 10 :][:16] for i in range(100)]
cache.get(encoder, np.array(words * 20, object), 1).batch(np.arange(256))  # everything is imported and traced
for count in map(int, sys.argv[3:]):
    before, texts = peak(), np.array(words, object)[np.arange(count) % len(words)]
    start = time.perf_counter()
    features = cache.get(encoder, texts, 1)
    middle = time.perf_counter()
    tokens = sum(int(features.batch(np.arange(i, min(i + 256, count)))["mask"].sum()) for i in range(0, count, 256))
    read = time.perf_counter() - middle
    stored = sum(each.values.nbytes for each in features.columns.values()) / 2**20
    print(json.dumps([count, tokens, stored, middle - start, read, peak(), peak() - before]), flush=True)
"""


def measure(counts: list[int], folder: str) -> list[list[float]]:
    """For each number of texts: tokens, megabytes stored, seconds to encode and to read, peak in MB, and its growth."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(TESTS), folder, *map(str, counts)]
    run = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory over the number of texts.")
    parser.add_argument("counts", nargs="*", type=int, default=[20_000, 100_000, 1_000_000])
    parser.add_argument("--quick", action="store_true", help="without the million")
    parser.add_argument("--shared", help="not needed: the texts are made up")
    options = parser.parse_args()
    counts = options.counts[:2] if options.quick else options.counts
    table = Table(title="Features at cut 1 of a tiny encoder, computed, stored and read")
    for name in ("texts", "tokens", "stored, MB", "encoding, s", "reading, s", "peak memory, MB", "growth, MB"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for row in measure(counts, folder):
            table.add_row(*(f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" for value in row))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
