"""Files of a study that are there whole, or not at all."""

import json
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from tfembed.json_values import to_json


def write_whole(path: Path, content: bytes) -> None:
    """Write a file beside and rename it; on the disk before it has its name.

    Raises:
        OSError: If there is no room, or no writing there; nothing of it remains.
    """
    aside = path.with_name(f".aside-{path.name}-{uuid.uuid4().hex}")
    try:
        with open(aside, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        with suppress(OSError):
            aside.unlink()


def write_json(path: Path, values: Any) -> None:
    """Write JSON whole; see `write_whole`."""
    write_whole(path, to_json(values, indent=1).encode())


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        ValueError: If the file holds none, such as one that a power failure tore.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} holds no JSON ({error}): it was altered or torn. Remove it, and search again."
        ) from error


def sweep(folder: Path) -> None:
    """Remove what killed processes left behind."""
    for path in list(folder.rglob(".aside-*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
