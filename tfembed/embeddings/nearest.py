"""The nearest vectors by comparing with all: exact, in memory, what an approximate index is measured against."""

from collections.abc import Iterator

import numpy as np

_SIMILARITIES_AT_A_TIME = 1 << 24


def nearest(vectors: np.ndarray, queries: np.ndarray | None = None, limit: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Find the vectors with the highest cosine.

    Args:
        vectors: Where to look, `(n, dim)`.
        queries: For which, `(m, dim)`; None for the vectors themselves, each of which is then not compared with itself.
        limit: How many of each.

    Returns:
        Their rows `int64 (m, limit)`, the nearest first, and the cosines `float32 (m, limit)`; fewer columns where
        there are fewer vectors.

    Raises:
        ValueError: If there is nothing to find.

    Example:
        >>> rows, cosines = nearest(np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]]), limit=1)
        >>> rows[:, 0].tolist()
        [2, 2, 0]
    """
    limit = min(limit, len(vectors) - (queries is None))
    if limit < 1:
        raise ValueError(f"{len(vectors)} vectors, and {limit} neighbours asked for: expected at least one of each.")
    rows, cosines = [], []
    for _, similar in similarities(vectors, queries):
        # the highest cosines first, then these in order: to sort all of them takes many times as long
        highest = np.sort(np.argpartition(-similar, limit - 1, axis=1)[:, :limit], axis=1)
        found = np.take_along_axis(similar, highest, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        rows.append(np.take_along_axis(highest, order, axis=1))
        cosines.append(np.take_along_axis(found, order, axis=1))
    return np.concatenate(rows), np.concatenate(cosines)


def similarities(
    vectors: np.ndarray, queries: np.ndarray | None = None, of: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cosines of queries with all vectors, some queries at a time.

    Args:
        vectors: `(n, dim)`.
        queries: `(m, dim)`; None for the vectors themselves, whose cosine with themselves is then minus infinity.
        of: Rows of the queries; None for all.

    Yields:
        Rows of the queries, and their cosines `float32 (some, n)`.
    """
    base = _normalised(vectors)
    given = base if queries is None else _normalised(queries)
    chosen = np.arange(len(given)) if of is None else of
    step = max(1, _SIMILARITIES_AT_A_TIME // max(1, len(base)))
    for start in range(0, len(chosen), step):
        rows = chosen[start : start + step]
        similar = given[rows] @ base.T
        if queries is None:
            similar[np.arange(len(rows)), rows] = -np.inf
        yield rows, similar


def _normalised(vectors: np.ndarray) -> np.ndarray:
    values = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(lengths == 0, 1.0, lengths)
