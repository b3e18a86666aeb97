"""Classifying by neighbours."""

from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder

import tfembed as te
from tfembed.embeddings.embedder import Embedder

TEXTS = ["aaaa", "aaab", "aabb", "zzzz", "zzzy", "zzyy"]


@pytest.fixture
def data() -> te.Dataset:
    """Texts of two kinds, all for training."""
    return te.Dataset.from_arrays(TEXTS, ["a"] * 3 + ["z"] * 3, validation=0, test=0)


def test_neighbours_vote_and_explain(data: te.Dataset) -> None:
    """The nearest examples come first with their cosines, and their votes make the label and its score."""
    encoder = tiny_text_encoder()
    head = te.knn_head(encoder, data, neighbours=3)
    found, other = head.predict(["aaaa", "zzzy"])
    assert (found.label, other.label) == ("a", "z")
    assert found.votes[0].example == "aaaa"
    assert found.votes[0].similarity == pytest.approx(1, abs=1e-6)
    weights = [vote.weight for vote in found.votes]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(1)
    assert found.score == pytest.approx(sum(vote.weight for vote in found.votes if vote.label == found.label))
    vectors = np.asarray(encoder(["aaaa", found.votes[1].example]))
    cosine = vectors[0] @ vectors[1] / np.linalg.norm(vectors, axis=1).prod()
    assert found.votes[1].similarity == pytest.approx(cosine, abs=1e-5)


def test_no_more_neighbours_than_examples(data: te.Dataset) -> None:
    """Where fewer examples are there than may be asked, all are."""
    assert len(te.knn_head(tiny_text_encoder(), data, neighbours=99).predict(["aaaa"])[0].votes) == 6


def with_vectors(vectors: dict[str, list[float]]) -> Embedder:
    """What embeds each text as the vector that it is given here."""
    return Embedder(
        name="table",
        kind="text",
        dim=2,
        fingerprint="a" * 40,
        source=None,
        embed=lambda texts: np.array([vectors[text] for text in texts], np.float32),
    )


def test_lengths_of_vectors_do_not_count() -> None:
    """Neighbours are those of the highest cosine, however long a vector is, and weigh by it (softmax at 0.07)."""
    vectors = {"a": [1.0, 0.1], "b": [300.0, 200.0], "c": [0.0, 900.0], "q": [5.0, 0.0]}
    data = te.Dataset.from_arrays(["a", "b", "c"], ["x", "y", "y"], validation=0, test=0)
    (found,) = te.knn_head(with_vectors(vectors), data, neighbours=2).predict(["q"])
    assert [vote.example for vote in found.votes] == ["a", "b"]
    cosines = np.array([1 / np.hypot(1, 0.1), 3 / np.hypot(3, 2)])
    np.testing.assert_allclose([vote.similarity for vote in found.votes], cosines, atol=1e-6)
    weights = np.exp(cosines / 0.07) / np.exp(cosines / 0.07).sum()
    np.testing.assert_allclose([vote.weight for vote in found.votes], weights, rtol=1e-4)
    assert (found.label, found.score) == ("x", pytest.approx(weights[0], rel=1e-4))


def test_many_votes_outweigh_a_nearer_one() -> None:
    """The label is that of the largest sum of weights; of sums as large, that of the nearer neighbour."""
    vectors = {"a": [1.0, 0.0], "b": [1.0, 0.02], "c": [1.0, 0.03], "q": [1.0, 0.0]}
    data = te.Dataset.from_arrays(["a", "b", "c"], ["x", "y", "y"], validation=0, test=0)
    assert te.knn_head(with_vectors(vectors), data, neighbours=3).predict(["q"])[0].label == "y"
    assert te.knn_head(with_vectors(vectors), data, neighbours=1).predict(["q"])[0].label == "x"
    vectors["b"] = [3.0, 0.0]
    assert te.knn_head(with_vectors(vectors), data, neighbours=2).predict(["q"])[0].label == "x"


def test_other_data_are_refused(data: te.Dataset) -> None:
    """The data must be of the encoder's kind, and for classes; so must the examples."""
    with pytest.raises(ValueError, match="The data are texts for classification: expected images"):
        te.knn_head(tiny_image_encoder(), data)
    with pytest.raises(ValueError, match="The examples are images: expected texts"):
        te.knn_head(tiny_text_encoder(), data).predict(pixels(1))
    with pytest.raises(ValueError, match="neighbours=0"):
        te.knn_head(tiny_text_encoder(), data, neighbours=0)


def test_what_models_do_is_refused_in_a_line(data: te.Dataset, tmp_path: Path) -> None:
    """It is no Keras model: evaluating and exporting it are errors that say what is expected."""
    head = te.knn_head(tiny_text_encoder(), data)
    with pytest.raises(ValueError, match=r"NeighbourHead is no model: expected what build_text_classifier"):
        te.evaluate(head, data.train)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"NeighbourHead is no model: expected what build_text_classifier"):
        te.export(head, tmp_path / "base")  # type: ignore[arg-type]
