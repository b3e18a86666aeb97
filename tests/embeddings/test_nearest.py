"""Exact neighbours."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tfembed.embeddings import nearest as module
from tfembed.embeddings.nearest import nearest


@pytest.fixture
def vectors() -> np.ndarray:
    """Fifty vectors of different lengths."""
    return np.random.default_rng(0).normal(size=(50, 6)) * np.arange(1, 51)[:, np.newaxis]


@pytest.mark.parametrize("at_a_time", [1 << 24, 120])
def test_nearest_is_what_comparing_all_gives(
    vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    """Rows and cosines are those of comparing every pair, however many are compared at a time."""
    monkeypatch.setattr(module, "_SIMILARITIES_AT_A_TIME", at_a_time)
    queries = vectors[:7] + 0.1
    expected = 1 - cdist(queries, vectors, "cosine")
    rows, cosines = nearest(vectors, queries, limit=5)
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :5])
    np.testing.assert_allclose(cosines, -np.sort(-expected, axis=1)[:, :5], atol=1e-6)


def test_a_vector_is_not_its_own_neighbour(vectors: np.ndarray) -> None:
    """Compared among themselves, each has the others alone, even where two are equal."""
    twice = np.concatenate([vectors[:3], vectors[:3]])
    rows, _ = nearest(twice, limit=9)
    assert rows.shape == (6, 5)
    assert rows[:, 0].tolist() == [3, 4, 5, 0, 1, 2]


def test_nothing_to_find_is_refused() -> None:
    """One vector alone has no neighbour."""
    with pytest.raises(ValueError, match="expected at least one of each"):
        nearest(np.ones([1, 2]))
