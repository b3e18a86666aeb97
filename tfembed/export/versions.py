"""Versions of a model in its base path: published by renaming, withdrawn by renaming."""

import json
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

RECORD = "tfembed.json"
_ASIDE = ".incomplete-"
_WITHDRAWN = re.compile(r"\.withdrawn-(\d+)")
CONFIG = "models.config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a model.

    Attributes:
        number: Its own.
        folder: Where it lies.
        num_bytes: Of all its files.
        withdrawn: Whether `rollback` took it away from TF Serving.
        record: What `tfembed.json` says of it; empty for one that tfembed did not write.
    """

    number: int
    folder: Path
    num_bytes: int
    withdrawn: bool
    record: dict[str, Any]


@contextmanager
def writing_aside(base: Path) -> Iterator[Path]:
    """A name for a folder in a base path that TF Serving does not look at; what is there at the end is removed.

    What exports that were killed have left is removed too. The lock tells them from those that are at work: the system
    takes it from a process that ends.
    """
    base.mkdir(parents=True, exist_ok=True)
    for lock in base.glob(f"{_ASIDE}*.lock"):
        with suppress(OSError, filelock.Timeout), filelock.FileLock(lock, blocking=False):
            _remove(lock.with_suffix(""))
            lock.unlink()
    aside = base / f"{_ASIDE}{uuid.uuid4().hex}"
    lock = aside.with_name(f"{aside.name}.lock")
    with filelock.FileLock(lock):
        try:
            yield aside
        finally:
            _remove(aside)
            lock.unlink(missing_ok=True)


def _remove(aside: Path) -> None:
    """Remove a folder, and what lies beside it under its name."""
    shutil.rmtree(aside, ignore_errors=True)
    aside.with_name(f"{aside.name}.npz").unlink(missing_ok=True)


def publish(folder: Path, base: Path) -> Path:
    """Rename a folder to the next version: one above the highest there is or was."""
    while True:
        target = base / str(max(_numbers(base), default=0) + 1)
        try:
            os.rename(folder, target)
            return target
        except OSError:
            if not target.exists():  # else another process took the number
                raise


def versions(base_path: str | os.PathLike[str]) -> list[Version]:
    """The versions in a base path, withdrawn ones too, the highest first.

    Raises:
        ValueError: If there is no such folder, or no version in it, or what tfembed wrote of one is damaged.

    Example:
        >>> import tempfile, tfembed as te
        >>> base = tempfile.mkdtemp()
        >>> _ = te.export(te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"]), base)
        >>> [(version.number, version.record["encoder"]) for version in versions(base)]
        [(1, 'glyphs')]
    """
    base = Path(base_path)
    found = _numbers(base) if base.is_dir() else {}
    if not found:
        raise ValueError(f"{base} has no versions: expected folders named 1, 2, ... as an export makes them.")
    return [_read(number, found[number]) for number in sorted(found, reverse=True)]


def rollback(base_path: str | os.PathLike[str]) -> Version:
    """Withdraw the highest version, so that TF Serving goes back to the one below it, which is returned.

    The files stay, under a name that TF Serving does not look at; rename the folder to its number to take it back.

    Raises:
        ValueError: If there is no version below the highest.

    Example:
        >>> import tempfile
        >>> base = Path(tempfile.mkdtemp())
        >>> (base / "1").mkdir(), (base / "2").mkdir()  # as two calls of `export` make them
        (None, None)
        >>> rollback(base).number
        1
    """
    served = [version for version in versions(base_path) if not version.withdrawn]
    if len(served) < 2:
        raise ValueError(
            f"{base_path} has {len(served)} version to serve: expected two or more, one to withdraw and one below it."
        )
    os.rename(served[0].folder, Path(base_path) / f".withdrawn-{served[0].number}")
    return served[1]


def write_models_config(folder: Path) -> Path | None:
    """Write the `models.config` that TF Serving takes (`--model_config_file`), where a folder has several models.

    Args:
        folder: Whose folders are base paths.

    Returns:
        The file; None where there are fewer than two models, or, with a warning, where it cannot be written.
    """
    found = {path.parents[1] for path in folder.glob("*/*/saved_model.pb") if path.parent.name.isdecimal()}
    bases = sorted(base for base in found if not base.name.startswith("."))
    if len(bases) < 2:
        return None
    entries = [
        f"  config {{\n    name: {json.dumps(base.name)}\n    base_path: {json.dumps(str(base.resolve()))}\n"
        '    model_platform: "tensorflow"\n  }\n'
        for base in bases
    ]
    aside = folder / f".{CONFIG}-{os.getpid()}"
    try:
        aside.write_text(f"model_config_list {{\n{''.join(entries)}}}\n", encoding="utf-8")
        return aside.rename(folder / CONFIG)
    except OSError as error:  # the version itself is out
        warnings.warn(f"{folder / CONFIG} could not be written: {error}. Write it yourself.", stacklevel=2)
        return None


def _numbers(base: Path) -> dict[int, Path]:
    """From the number of each version, also of withdrawn ones, to its folder."""
    found = {}
    for path in base.iterdir():
        withdrawn = _WITHDRAWN.fullmatch(path.name)
        if path.is_dir() and (withdrawn or path.name.isdecimal()):
            found[int(withdrawn[1] if withdrawn else path.name)] = path
    return found


def _read(number: int, folder: Path) -> Version:
    file = folder / "assets.extra" / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}. Export the model again, or remove the file.") from error
    return Version(
        number=number,
        folder=folder,
        num_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        withdrawn=folder.name.startswith("."),
        record=record,
    )
