"""A run on disk: a folder with the trained model and what it came to."""

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfembed.json_values import to_json

if TYPE_CHECKING:
    import keras

    from tfembed.train import Result

_MODEL, _RECORD = "model.keras", "run.json"
BEST = "best"  # the run of a study's winner


def save_run(folder: str | os.PathLike[str], model: "keras.Model", result: "Result", record: dict[str, Any]) -> Path:
    """Write a run; it is visible only when it is whole.

    Args:
        folder: A folder that does not exist yet.
        model: The trained model.
        result: What training came to; its strategy and metrics are written down.
        record: What else is worth knowing, as JSON values: data, encoder.

    Raises:
        ValueError: If the folder exists.
        OSError: If the disk is full, or the folder cannot be written to; nothing of it remains.

    Example:
        >>> import tempfile, numpy as np, tfembed as te
        >>> data = te.Dataset.from_arrays(np.zeros([4, 8, 8], "uint8"), ["a", "b"] * 2, validation=0, test=0)
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), data.class_names)
        >>> result = te.train(model, data, te.linear_probe())
        >>> folder = save_run(Path(tempfile.mkdtemp(), "mine"), model, result, {"note": "four black squares"})
        >>> sorted(path.name for path in folder.iterdir())
        ['model.keras', 'run.json']
    """
    target = Path(folder)
    check_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    aside.mkdir()
    try:
        model.save(aside / _MODEL)
        (aside / _RECORD).write_text(to_json(record | {"result": result.to_dict()}, indent=1), encoding="utf-8")
        os.rename(aside, target)
    except (OSError, RuntimeError) as error:  # HDF5 says either
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OSError(f"{target} could not be written: {reason}. Make room, or pass another folder.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def check_free(folder: Path) -> None:
    """Check that a run may be written there, before the work and not after it.

    Raises:
        ValueError: If the folder exists, or cannot be made.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists already: pass another folder, or remove it first.")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ValueError(f"{folder} cannot be made: {above} is no folder that can be written to. Pass another one.")


def is_run(folder: str | os.PathLike[str]) -> bool:
    """Whether `load_run` may read a folder: that of a run, or of a study with a winner.

    Example:
        >>> is_run("nowhere")
        False
    """
    path = Path(folder)
    return any((each / _MODEL).is_file() and (each / _RECORD).is_file() for each in (path, path / BEST))


def load_run(folder: str | os.PathLike[str], *, trust: bool = False) -> tuple["keras.Model", dict[str, Any]]:
    """Read a run that `save_run` wrote: the model, and the record with the result in it. Of a study, its winner's.

    Args:
        folder: The run, or the study.
        trust: Read models as well that could do more than compute, as their encoder was trusted when they were made.

    Returns:
        The model, from texts `(n,)` or images to probabilities `(n, num_classes)`, and the record.

    Raises:
        ValueError: If the folder is neither.

    Example:
        >>> import tempfile, numpy as np, tfembed as te
        >>> data = te.Dataset.from_arrays(np.zeros([4, 8, 8], "uint8"), ["a", "b"] * 2, validation=0, test=0)
        >>> model = te.build_image_classifier(te.load_encoder("glyphs"), data.class_names)
        >>> result = te.train(model, data, te.linear_probe())
        >>> again, record = load_run(te.save_run(Path(tempfile.mkdtemp(), "mine"), model, result, {}))
        >>> again.output.shape, record["result"]["strategy"]["name"]
        ((None, 2), 'linear_probe')
    """
    path, record = _run_folder(Path(folder)), read_record(folder)
    import keras
    import keras_hub  # noqa: F401 - registers its layers

    from tfembed.encoders.keras_settings import check_settings

    try:
        return keras.models.load_model(path / _MODEL, safe_mode=not trust), record
    except (TypeError, ValueError):
        check_settings("image")  # Keras wraps what an encoder refuses into many lines
        raise


def read_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the record of a run without its model, and without TensorFlow. Of a study, its winner's.

    Raises:
        ValueError: If the folder is neither.
    """
    path = _run_folder(Path(folder))
    if not (path / _MODEL).is_file() or not (path / _RECORD).is_file():
        raise ValueError(
            f"{path} is no run: expected {_MODEL} and {_RECORD} in it, as `tfembed train --out` writes them."
        )
    return json.loads((path / _RECORD).read_text(encoding="utf-8"))


def _run_folder(path: Path) -> Path:
    return path / BEST if (path / BEST).is_dir() and not (path / _MODEL).exists() else path
