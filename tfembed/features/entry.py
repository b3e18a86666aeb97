"""One entry of the store: a folder of arrays with a description, whole or not there at all."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from tfembed.features.arrays import DiskArray, writing
from tfembed.features.columns import Column, Features

META = "meta.json"
_OFFSETS = "offsets.npy"
_CHUNK_BYTES = 1 << 20


class DamagedError(ValueError):
    """An entry is not what was written; the message says what is wrong."""


def finish_entry(folder: Path, features: Features, about: dict[str, Any]) -> None:
    """Describe the arrays in a folder; the description is written last.

    Args:
        folder: Where the arrays of `features` were made.
        features: With every column on disk.
        about: What is worth knowing, as JSON values.

    Raises:
        FolderError: If the disk is full.
    """
    columns = {}
    for name, column in features.columns.items():
        array = column.values
        if isinstance(array, DiskArray):
            columns[name] = {
                "file": array.path.name,
                "shape": list(array.shape),
                "dtype": array.dtype.name,
                "is_sequence": column.offsets is not None,
            }
    with writing(folder):
        offsets = np.concatenate([[0], np.cumsum(features.lengths)])
        with (folder / _OFFSETS).open("wb") as file:
            np.lib.format.write_array(file, offsets, allow_pickle=False)
        files = {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(folder.glob("*.npy"))}
        meta: dict[str, Any] = {"about": about, "columns": columns, "files": files}
        meta["checksum"] = _meta_checksum(meta)
        (folder / META).write_text(json.dumps(meta, indent=1), encoding="utf-8")


def read_meta(folder: Path) -> dict[str, Any]:
    """Read the description of an entry.

    Raises:
        FileNotFoundError: If there is no entry.
        DamagedError: If it is missing or was altered.
    """
    with _reading(folder):
        content = (folder / META).read_text(encoding="utf-8")
        try:
            meta = json.loads(content)
            is_whole = meta["checksum"] == _meta_checksum(meta)
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(f"{META} is torn") from error
    if not is_whole:
        raise DamagedError(f"{META} was altered")
    return meta


def open_entry(folder: Path) -> tuple[Features, int]:
    """Open an entry; its files stay readable if it is removed meanwhile. Their content is not looked at.

    Returns:
        The features, and a number that another entry in this place would not have.

    Raises:
        FileNotFoundError: If there is no entry.
        DamagedError: If its files are not what the description says.
    """
    meta = read_meta(folder)
    with _reading(folder):
        identity = (folder / META).stat().st_ino
        with (folder / _OFFSETS).open("rb") as file:
            offsets = np.lib.format.read_array(file, allow_pickle=False)
        columns = {
            name: Column(
                values=DiskArray.open(folder / each["file"], tuple(each["shape"]), _dtype(each["dtype"])),
                offsets=offsets if each["is_sequence"] else None,
            )
            for name, each in meta["columns"].items()
        }
    return Features(columns=columns, lengths=np.diff(offsets)), identity


def check_entry(folder: Path) -> None:
    """Compare every byte of an entry with its checksums, at several gigabytes a second.

    Raises:
        FileNotFoundError: If there is no entry.
        DamagedError: If a file is missing, torn or altered.
    """
    for name, (size, checksum) in read_meta(folder)["files"].items():
        with _reading(folder):
            found = (folder / name).stat().st_size
            if found != size:
                raise DamagedError(f"{name} has {found} bytes, expected {size}")
            if _checksum(folder / name) != checksum:
                raise DamagedError(f"{name} was altered")


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Tell an entry that is gone from one that lacks a file, or has one that cannot be read."""
    try:
        yield
    except DamagedError:
        raise
    except (OSError, ValueError) as error:
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no entry {folder}.") from error
        raise DamagedError(str(error)) from error


def _checksum(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _meta_checksum(meta: dict[str, Any]) -> str:
    content = {name: value for name, value in meta.items() if name != "checksum"}
    return xxhash.xxh3_128(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _dtype(name: str) -> np.dtype:
    if name == "bfloat16":
        import ml_dtypes  # gives NumPy the name

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)
