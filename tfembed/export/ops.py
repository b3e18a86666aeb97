"""The ops that TensorFlow Serving has, by version; `scripts/serving_ops.py` writes them down."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

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


def ops_in(folder: Path) -> set[str]:
    """The names of all ops of a SavedModel.

    Raises:
        OSError: If there is no `saved_model.pb`.
        ValueError: If it is damaged.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = folder / "saved_model.pb"
    try:
        graphs = SavedModel.FromString(file.read_bytes()).meta_graphs
    except DecodeError as error:
        raise ValueError(f"{file} is no SavedModel: {error}. Export the model again.") from error
    return {op.name for graph in graphs for op in graph.meta_info_def.stripped_op_list.op}
