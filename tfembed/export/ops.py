"""The ops that TensorFlow Serving has, by version; `scripts/serving_ops.py` writes them down."""

import json
from functools import cache
from importlib.resources import files

NEWEST = "2.20"  # the newest TensorFlow Serving there is


@cache
def _known() -> dict[str, dict[str, list[str]]]:
    return json.loads(files("tfembed.export").joinpath("serving_ops.json").read_text(encoding="utf-8"))


def served_versions() -> tuple[str, ...]:
    """The versions whose ops are known."""
    return tuple(_known())


def missing_ops(ops: set[str], version: str = NEWEST) -> list[str]:
    """Name the ops that a version of TensorFlow Serving does not have.

    Args:
        ops: Names of ops.
        version: Of TensorFlow Serving, such as `"2.20"`.

    Raises:
        ValueError: If the ops of this version are not known.

    Example:
        >>> missing_ops({"MatMul", "PyFunc", "CaseFoldUTF8"})
        ['PyFunc']
    """
    if version not in _known():
        raise ValueError(f"Unknown version {version!r} of TensorFlow Serving: pass one of {', '.join(_known())}.")
    served = {op for names in _known()[version].values() for op in names}
    return sorted(ops - served)
