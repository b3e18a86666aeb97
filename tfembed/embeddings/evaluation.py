"""How good embeddings are: whether what belongs together lies together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfembed.embeddings.nearest import similarities

_MOST_QUERIES, _MOST_FOR_SILHOUETTE, _MOST_IN_PICTURE = 5_000, 5_000, 2_000
KS = (1, 5, 10)


def measure_labels(
    vectors: np.ndarray, labels: Sequence[Any], *, ks: Sequence[int] = KS, seed: int = 0
) -> dict[str, float]:
    """Measure embeddings by labels: rows of the same label should be near each other.

    Each row is a query for the others; those of its label are what it should find. Of many rows, 5,000 are drawn to be
    queries; all are searched.

    Args:
        vectors: `(n, dim)`.
        labels: One each; rows whose label is None are left out.
        ks: Numbers of neighbours that precision and recall are of.
        seed: Of what is drawn.

    Returns:
        `neighbour_accuracy` (share of queries whose nearest row has their label), `silhouette` (by cosine, from -1 to
        1), `mean_average_precision`, and for each k `precision@k` and `recall@k`; also `rows`, `labels` and `queries`,
        the numbers of them. A row that is alone with its label is no query.

    Raises:
        ValueError: If there are not two labels, or no label has two rows.

    Example:
        >>> vectors = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> measure_labels(vectors, ["a", "a", "b", "b"], ks=[1])["mean_average_precision"]
        1.0
    """
    known = [i for i, label in enumerate(labels) if label is not None]
    names, classes = np.unique([str(labels[i]) for i in known], return_inverse=True)
    counts = np.bincount(classes) if known else np.zeros(1, int)
    if len(names) < 2 or counts.max() < 2:
        raise ValueError(
            f"{len(names)} labels, the most frequent one of {counts.max()} rows: expected two labels at least, and two "
            "rows of one. Name the column that says what belongs together."
        )
    vectors = np.asarray(vectors)[known]
    rng = np.random.default_rng(seed)
    queries = _drawn(np.flatnonzero(counts[classes] > 1), _MOST_QUERIES, rng)
    return {
        "rows": len(known),
        "labels": len(names),
        "queries": len(queries),
        **_retrieval(vectors, classes, queries, ks),
        "silhouette": _silhouette(vectors, classes, rng),
    }


def _retrieval(vectors: np.ndarray, classes: np.ndarray, queries: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
    """Precision, recall and average precision of each query, averaged."""
    sums: dict[str, float] = {}
    counts = np.bincount(classes)
    for rows, similar in similarities(vectors, of=queries):
        order = np.argsort(-similar, axis=1, kind="stable")[:, :-1]  # the query itself comes last
        is_right = classes[order] == classes[rows][:, np.newaxis]
        found, wanted = np.cumsum(is_right, axis=1), (counts[classes[rows]] - 1)[:, np.newaxis]
        precisions = found / np.arange(1, is_right.shape[1] + 1)
        batch = {
            "neighbour_accuracy": is_right[:, 0],
            "mean_average_precision": (precisions * is_right).sum(axis=1) / wanted[:, 0],
        }
        for k in ks:
            last = min(k, is_right.shape[1]) - 1
            batch[f"precision@{k}"] = found[:, last] / k
            batch[f"recall@{k}"] = found[:, last] / wanted[:, 0]
        for name, values in batch.items():
            sums[name] = sums.get(name, 0.0) + float(values.sum())
    return {name: value / len(queries) for name, value in sums.items()}


def _silhouette(vectors: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> float:
    from sklearn.metrics import silhouette_score

    rows = _drawn(np.arange(len(classes)), _MOST_FOR_SILHOUETTE, rng)
    num_labels = len(np.unique(classes[rows]))
    if not 1 < num_labels < len(rows):
        return float("nan")
    return float(silhouette_score(vectors[rows], classes[rows], metric="cosine"))


def measure_pairs(first: np.ndarray, second: np.ndarray, scores: Sequence[float]) -> dict[str, float]:
    """Measure embeddings by pairs with a score each, such as STS: similar pairs should have a high cosine.

    Args:
        first: `(n, dim)`.
        second: `(n, dim)`.
        scores: Higher for more similar pairs.

    Returns:
        `pairs`, their number, and `spearman`, the rank correlation of cosines and scores, from -1 to 1.

    Raises:
        ValueError: If there are fewer than two pairs, or all have the same score.

    Example:
        >>> two = np.array([[1.0, 0.0], [0.0, 1.0]])
        >>> round(measure_pairs(two, np.array([[1.0, 0.1], [1.0, 0.0]]), [5, 1])["spearman"], 6)
        1.0
    """
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    values = np.asarray(scores, float)
    if len(values) < 2 or not np.isfinite(values).all() or (values == values[0]).all():
        raise ValueError(f"{len(values)} scored pairs: expected two at least, with numbers that are not all the same.")
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines = (first * second).sum(axis=1) / np.where(lengths == 0, 1.0, lengths)
    return {"pairs": len(values), "spearman": float(spearmanr(cosines, values).statistic)}


def project(vectors: np.ndarray, *, method: str = "pca", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bring embeddings into two dimensions, for a picture; of many rows, 2,000 are drawn.

    Args:
        vectors: `(n, dim)`.
        method: `"pca"`, which keeps distances as they are as far as two dimensions can; or `"tsne"`, which keeps
            neighbours together and takes longer.
        seed: Of what is drawn, and of t-SNE.

    Returns:
        The rows that were drawn, and their places `(n, 2)`.

    Raises:
        ValueError: If there is no such method, or there are fewer than three rows.

    Example:
        >>> project(np.eye(4))[1].shape
        (4, 2)
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method not in ("pca", "tsne"):
        raise ValueError(f"Unknown method {method!r}: pass pca or tsne.")
    if len(vectors) < 3:
        raise ValueError(f"{len(vectors)} rows: a picture needs three at least.")
    rows = _drawn(np.arange(len(vectors)), _MOST_IN_PICTURE, np.random.default_rng(seed))
    values = np.asarray(vectors[rows], np.float64)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    if method == "pca":
        return rows, PCA(2, random_state=seed).fit_transform(values)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    return rows, TSNE(2, random_state=seed, init="pca", perplexity=perplexity).fit_transform(values)


def recall(found: Sequence[Sequence[Any]], exact: Sequence[Sequence[Any]]) -> float:
    """Which share of the exact neighbours an index found.

    Example:
        >>> recall([[1, 2], [3, 5]], [[2, 1], [3, 4]])
        0.75
    """
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, exact, strict=True)]))


def _drawn(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
