"""Larger than memory: what is in memory is a batch, however many examples there are."""

import importlib.util
from pathlib import Path


def test_peak_memory_does_not_grow_with_the_number_of_texts(tmp_path):
    """Computing, storing and reading features of 100,000 texts takes hardly more memory than 20,000 did."""
    path = Path(__file__).parents[2] / "benchmarks" / "streaming_memory.py"
    spec = importlib.util.spec_from_file_location("streaming_memory", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    few, many = module.measure([20_000, 100_000], str(tmp_path))
    (_, _, stored, _, _, _, growth) = many
    assert stored - few[2] > 30  # megabytes: what would be seen if it were in memory
    assert growth < 12  # of which the places and lengths of 80,000 texts are 5
