"""Small features for the tests of the store, made without TensorFlow, here and in other processes."""

import time
from pathlib import Path

import numpy as np

from tfembed.features.arrays import Workplace
from tfembed.features.columns import Column, Features

KEYS = [f"{i:040x}" for i in range(9)]
LENGTHS = np.array([2, 1, 3])


def compute(workplace: Workplace, value: float = 1.0, width: int = 4) -> Features:
    """Three examples with a column of rows and one of sequences."""
    rows = workplace.create((3, width), np.dtype("float32"))
    rows.put([0, 1, 2], [1, 1, 1], np.full((3, 1, width), value, "float32"))
    tokens = workplace.create((6,), np.dtype("int32"))
    tokens.put([0, 2, 3], [2, 1, 3], np.arange(1, 10, dtype="int32").reshape(3, 3))
    offsets = np.array([0, 2, 3, 6])
    columns = {"rows": Column(values=rows), "a/tokens:0": Column(values=tokens, offsets=offsets)}
    return Features(columns=columns, lengths=LENGTHS)


def compute_and_tell(workplace: Workplace, place: Path, *, hang: bool = False) -> Features:
    """The same; a file in `place` for each time it is computed. `hang` waits until it is killed."""
    (place / f"computing-{time.monotonic_ns()}").touch()
    features = compute(workplace)
    while hang:
        time.sleep(60)
    return features
