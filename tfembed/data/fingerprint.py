"""A name for the content of examples, equal on every machine and in every process."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_CHUNK_BYTES = 1 << 24


def fingerprint(examples: Sequence[Any] | np.ndarray) -> str:
    """Hash the content of the examples in their order: 64 hexadecimal digits of BLAKE2b.

    Texts count by their UTF-8 bytes, encoded images by their bytes, paths by the bytes of the file they name (not by
    the path), numeric arrays by dtype, shape and values. Each part goes in with its length, so that
    `["ab", "c"]` and `["a", "bc"]` differ.

    Args:
        examples: Strings, bytes or `pathlib.Path` as a list or an array, or a numeric array.

    Raises:
        TypeError: If an example is none of these: its content is unknown, and an address would change at every run.
        OSError: If the file of a path cannot be read.

    Example:
        >>> fingerprint(["ab", "c"]) == fingerprint(np.array(["ab", "c"], object))
        True
        >>> fingerprint(["ab", "c"]) == fingerprint(["a", "bc"])
        False
    """
    digest = hashlib.blake2b(digest_size=32)
    values = examples if isinstance(examples, np.ndarray) else list(examples)
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufc":
        _hash_numbers(digest, values)
        return digest.hexdigest()
    _hash_part(digest, b"examples", str(len(values)).encode())
    for position, value in enumerate(values):
        _hash_part(digest, *_content(value, position))
    return digest.hexdigest()


def _hash_numbers(digest: "hashlib.blake2b", array: np.ndarray) -> None:
    _hash_part(digest, b"array", f"{array.dtype.str} {array.shape}".encode())
    if array.size == 0:
        return
    array = array.reshape(-1) if array.ndim == 0 else array
    rows = max(1, _CHUNK_BYTES * len(array) // array.nbytes)
    for start in range(0, len(array), rows):  # a memory-mapped array is never in memory as a whole
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)


def _hash_part(digest: "hashlib.blake2b", tag: bytes, content: bytes) -> None:
    digest.update(tag + len(content).to_bytes(8, "little"))
    digest.update(content)


def _content(value: Any, position: int) -> tuple[bytes, bytes]:
    if isinstance(value, str):
        return b"text", value.encode()
    if isinstance(value, bytes):
        return b"file", value
    if isinstance(value, Path):
        return b"file", value.read_bytes()
    raise TypeError(
        f"examples[{position}] is of type {type(value).__name__}: expected str, bytes, pathlib.Path or a numeric "
        "array. Convert it, so that its content can be hashed."
    )
