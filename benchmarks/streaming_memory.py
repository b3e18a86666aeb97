"""Peak memory while features of more and more texts are computed, stored, and read: flat, whatever their number.

    python benchmarks/streaming_memory.py 20000 100000 1000000

Prints a table. The encoder is tiny: what is measured is the streaming.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import json, resource, sys, time
import keras, numpy as np, tensorflow as tf
sys.path.insert(0, sys.argv[3])
from tiny_encoders import tiny_text_encoder
import tfembed as te

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

encoder, cache = tiny_text_encoder(), te.FeatureCache(sys.argv[2])
words = [f"sixteen letters {i}"[i % 10 :][:16] for i in range(100)]
cache.get(encoder, np.array(words * 20, object), 1)  # traced, and everything imported
before, found = peak(), []
for count in map(int, sys.argv[1].split(",")):
    texts = np.array(words, object)[np.arange(count) % len(words)]
    start = time.perf_counter()
    features = cache.get(encoder, texts, 1)
    middle = time.perf_counter()
    total = sum(float(features.batch(np.arange(i, min(i + 32, count)))["mask"].sum()) for i in range(0, count, 32))
    seconds = time.perf_counter() - middle
    found.append({"texts": count, "peak": peak(), "before": before, "encode": middle - start, "read": seconds})
print(json.dumps(found))
"""


def measure(counts: str, folder: str) -> list[dict[str, float]]:
    """What a process that computes and reads features of so many texts, one number after the other, uses at most."""
    tests = Path(__file__).parents[1] / "tests"
    command = [sys.executable, "-c", PROGRAM, counts, folder, str(tests)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    print(measure(sys.argv[1], tempfile.mkdtemp()))
