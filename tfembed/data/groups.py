"""Groups: rows that must not straddle splits, because they share a name or are the same example."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from tfembed.data.examples import Place
from tfembed.data.raw_labels import is_missing


def group_names(values: Sequence[Any] | np.ndarray, place: Place) -> list[str]:
    """Check the names of groups, texts or whole numbers, and bring them into one form.

    Args:
        values: Name of the group of each row.
        place: Place of each row, for errors.

    Raises:
        ValueError: If a name is missing, or is neither a text nor a whole number.

    Example:
        >>> group_names([" ann ", 7, 7.0], lambda i: f"groups[{i}]")
        ['ann', '7', '7']
    """
    cells = np.asarray(values).tolist() if hasattr(values, "__array__") else values  # also columns of pandas and Polars
    return [_group_name(value, place, row) for row, value in enumerate(cells)]


def _group_name(value: Any, place: Place, row: int) -> str:
    if isinstance(value, str) and value.strip():
        return unicodedata.normalize("NFC", value).strip()
    if is_missing(value) or isinstance(value, str):
        raise ValueError(f"{place(row)}: the group is missing. Fill it in, or remove the row.")
    if isinstance(value, Integral) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    raise ValueError(f"{place(row)}: the group {value!r} is neither a text nor a whole number. Convert it first.")


def number(keys: Iterable[Hashable]) -> np.ndarray:
    """Number keys in the order of their first appearance, `int64 (n,)`.

    Example:
        >>> number(["b", "a", "b"]).tolist()
        [0, 1, 0]
    """
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def content_groups(examples: np.ndarray) -> np.ndarray:
    """Number examples so that equal ones, and only these, have the same number.

    Texts are equal if they are the same to the last character, images if their pixels are, or the bytes of their files.

    Args:
        examples: As in `Split.examples`.

    Returns:
        `int64 (n,)`.

    Raises:
        OSError: If a file cannot be read.

    Example:
        >>> content_groups(np.array(["yes", "no", "yes"], object)).tolist()
        [0, 1, 0]
    """
    if examples.ndim > 1:
        return number(_digest(row.tobytes()) for row in examples)
    sizes = [_size(example) for example in examples]
    repeated = {size for size, count in Counter(sizes).items() if count > 1}  # other files need not be read
    return number(
        _content(example) if size is None or size in repeated else size
        for example, size in zip(examples, sizes, strict=True)
    )


def _size(example: Any) -> int | None:
    if isinstance(example, Path):
        return example.stat().st_size
    return len(example) if isinstance(example, bytes) else None


def _content(example: Any) -> Hashable:
    if isinstance(example, Path):
        return _digest(example.read_bytes())
    return _digest(example) if isinstance(example, bytes) else example


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def merge_groups(*numberings: np.ndarray) -> np.ndarray:
    """Merge numberings of the same rows: rows that share a number in any of them, also by way of others, are one group.

    Args:
        numberings: Integers `(n,)` each.

    Returns:
        `int64 (n,)`, numbered in the order of first appearance.

    Example:
        >>> merge_groups(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])).tolist()
        [0, 0, 0, 1]
    """
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    size = len(numberings[0])
    edges, num_nodes = [], size
    for numbering in numberings:
        _, places = np.unique(numbering, return_inverse=True)
        edges.append(places + num_nodes)
        num_nodes += int(places.max(initial=-1)) + 1
    columns, rows = np.concatenate(edges), np.tile(np.arange(size), len(numberings))
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(num_nodes, num_nodes))
    return number(connected_components(graph, directed=False)[1][:size].tolist())


def are_trivial(groups: np.ndarray | None) -> bool:
    """True if every row is a group of its own."""
    return groups is None or len(np.unique(groups)) == len(groups)
