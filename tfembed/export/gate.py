"""The gate: a fresh process without tfembed must give the predictions of the model in memory."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tfembed.export.ops import NEWEST, missing_ops
from tfembed.export.raw_inputs import input_name
from tfembed.predict import ModelParts

_FRESH = Path(__file__).with_name("fresh.py")
_ERROR = re.compile(r"[\w.]*(Error|Exception): \S")
_OP = re.compile(r"{{node ([^}]+)}}")
_ENVIRONMENT = {"TF_USE_LEGACY_KERAS": "1"}  # TensorFlow then leaves Keras 3 alone, which takes long to import
_TOLERANCE = 1e-4  # of probabilities and standardized values; padding to another length changes the order of sums
_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of values far from 0, where float32 is coarse


class ExportError(RuntimeError):
    """An exported model does not do what the model in memory does, or what TF Serving needs.

    Nothing is published then.

    Example:
        >>> issubclass(ExportError, RuntimeError)
        True
    """


def _why(stderr: str) -> str:
    """The error that a process ended with, and at which op: TensorFlow writes that behind it, after empty lines."""
    lines = [line.strip() for line in stderr.strip().splitlines()]
    found = ([line for line in lines if _ERROR.match(line)] or lines or ["no message"])[-1].rstrip(".")
    ops = _OP.findall(stderr)
    return f"{found} (at {ops[-1]})." if ops else f"{found}."


@contextmanager
def fresh_process() -> Iterator[subprocess.Popen[str]]:
    """A process without tfembed that starts while the model is being written, and waits for what to do with it."""
    pipe, command = subprocess.PIPE, [sys.executable, "-P", str(_FRESH)]
    with subprocess.Popen(
        command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe, text=True, env=os.environ | _ENVIRONMENT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def check(
    process: subprocess.Popen[str], folder: Path, parts: ModelParts, raw: list[bytes], expected: np.ndarray
) -> None:
    """Compare an export with what the model in memory gives.

    Args:
        process: From `fresh_process`.
        folder: Of the SavedModel.
        parts: Of the model.
        raw: What clients send.
        expected: What the model in memory gives for it, `(n, num_classes)`, or values `(n, 1)`.

    Raises:
        ExportError: If it fails or disagrees, in any of the ways that clients call it, or TF Serving lacks an op.
    """
    answer = folder.with_name(f"{folder.name}.npz")
    request = {
        "folder": str(folder),
        "answer": str(answer),
        "input": input_name(parts),
        "inputs": [base64.b64encode(each).decode() for each in raw],
        "by_example": "classify" if parts.class_names else "regress",
    }
    try:
        _, said = process.communicate(json.dumps(request))
        if process.returncode:
            raise ExportError(f"A fresh process cannot use the exported model: {_why(said)} Nothing was published.")
        with np.load(answer) as found:
            _check_all(parts, raw, expected, dict(found))
    finally:
        answer.unlink(missing_ok=True)


def _check_all(parts: ModelParts, raw: list[bytes], expected: np.ndarray, found: dict[str, np.ndarray]) -> None:
    if missing := missing_ops(set(found["ops"].tolist())):
        raise ExportError(
            f"TensorFlow Serving {NEWEST} has no op {', '.join(missing)}, which the model needs. Nothing was published."
        )
    for way in ("batch", "single", "examples"):
        outputs = {name.removeprefix(f"{way}/"): value for name, value in found.items() if name.startswith(f"{way}/")}
        count = len(next(iter(outputs.values())))
        _compare(parts, raw[:count], expected[:count], values_of(parts, outputs), way)
    for name, value in found.items():
        if name.startswith("empty/") and len(value):
            raise ExportError(f"A batch of no input gives {len(value)} of {name[6:]!r}. Nothing was published.")


def values_of(parts: ModelParts, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Outputs of a signature in the order of the classes, `(n, num_classes)`; values `(n, 1)` of a regressor."""
    if not parts.class_names:
        return next(iter(outputs.values()))[:, np.newaxis]
    place = {name.encode(): i for i, name in enumerate(parts.class_names)}
    ranked, scores = outputs["labels"] if "labels" in outputs else outputs["classes"], outputs["scores"]
    values = np.zeros_like(scores)
    for row, labels in enumerate(ranked):
        values[row, [place[label] for label in labels]] = scores[row]
    return values


def _compare(parts: ModelParts, raw: list[bytes], expected: np.ndarray, values: np.ndarray, way: str) -> None:
    difference = np.abs(values - expected).max(axis=1)
    worst = int(difference.argmax())
    mean, scale = parts.target_scale or (0.0, 1.0)
    away, size = (float(np.abs(values).max()) for values in (expected[worst] - mean, expected[worst]))
    if not difference[worst] <= _TOLERANCE * max(scale, away) + _ROUNDING * size:
        how = {"batch": "", "single": " alone", "examples": " in a tf.Example"}[way]
        raise ExportError(
            f"The exported model gives {values[worst].tolist()} for the input {raw[worst][:60]!r}{how}, where the "
            f"model in memory gives {expected[worst].tolist()}. Nothing was published."
        )
