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


def test_lengths_do_not_count(vectors: np.ndarray) -> None:
    """A long vector is not nearer for its length: the nearest by their product would be others. Zeros are far away."""
    vectors[3] = 0
    queries = vectors[[5, 20, 40]] + np.random.default_rng(1).normal(size=(3, 6))
    rows, cosines = nearest(vectors, queries, limit=4)
    scales = np.random.default_rng(0).uniform(0.01, 100, (50, 1))
    other_rows, other_cosines = nearest(vectors * scales, queries * 30, limit=4)
    np.testing.assert_array_equal(rows, other_rows)
    np.testing.assert_allclose(cosines, other_cosines, atol=1e-6)
    assert not np.array_equal(rows, np.argsort(-(queries @ vectors.T), axis=1)[:, :4])
    assert nearest(vectors, vectors[3:4], limit=1)[1][0, 0] == 0
    assert rows.dtype == np.int64
    assert cosines.dtype == np.float32


@pytest.mark.parametrize("at_a_time", [1 << 24, 9])
def test_equal_cosines_come_in_the_order_of_the_rows(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    """Of vectors in one direction the first is first, for each query of several."""
    monkeypatch.setattr(module, "_SIMILARITIES_AT_A_TIME", at_a_time)
    vectors = np.array([[0.0, 1.0], [2.0, 0.0], [1.0, 0.0], [7.0, 0.0]])
    rows, _ = nearest(vectors, np.array([[1.0, 0.0], [0.0, 3.0]]), limit=4)
    assert rows[0].tolist() == [1, 2, 3, 0]
    assert rows[1, 0] == 0


def test_some_vectors_are_compared_with_all(vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rows that are asked for, cosines with all come in their order; each with itself is minus infinity."""
    monkeypatch.setattr(module, "_SIMILARITIES_AT_A_TIME", 120)  # two rows at a time
    chosen = np.array([4, 9, 2, 30, 11])
    batches = list(module.similarities(vectors, of=chosen))
    assert [rows.tolist() for rows, _ in batches] == [[4, 9], [2, 30], [11]]
    expected = 1 - cdist(vectors[chosen], vectors, "cosine")
    expected[np.arange(5), chosen] = -np.inf
    np.testing.assert_allclose(np.concatenate([similar for _, similar in batches]), expected, atol=1e-6)
    queries = vectors[:3] + 1
    ((rows, similar),) = module.similarities(vectors, queries, of=np.array([2, 0]))
    assert rows.tolist() == [2, 0]
    np.testing.assert_allclose(similar, 1 - cdist(queries[[2, 0]], vectors, "cosine"), atol=1e-6)
