"""The model of serving_load.py called in this process, by its signature; prints what it found, as JSON.

    python serving_calls.py BASE EXAMPLES

Each line of standard input asks for a turn: how many examples a call has, and for how many seconds.
"""

import json
import random
import statistics
import sys
import time
from pathlib import Path

import tensorflow as tf
import tensorflow_text  # noqa: F401 - registers its ops
from serving_clients import raw_examples


def main() -> None:
    base, file = sys.argv[1:]
    name, examples = raw_examples(file)
    model = tf.saved_model.load(str(Path(base) / "1"))  # kept: signatures hold no variables
    signature = model.signatures["serving_default"]
    random.Random(0).shuffle(examples)
    asked = 0
    for line in sys.stdin:
        size, seconds = int(line.split()[0]), float(line.split()[1])
        times: list[float] = []
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            batch = [examples[(asked + k) % len(examples)] for k in range(size)]
            asked += size
            before = time.perf_counter()
            signature(**{name: tf.constant(batch)})["label"].numpy()
            times.append(time.perf_counter() - before)
        rate = size * len(times) / (time.perf_counter() - started)
        print(json.dumps({"rate": rate, "p50": statistics.median(times) * 1000}), flush=True)


if __name__ == "__main__":
    main()
