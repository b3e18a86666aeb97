"""Word vectors give what gensim gives: stored values of its own everywhere, and gensim itself where it is installed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfembed as te

FOLDER = Path(__file__).parent / "data" / "vectors"
HANDLES = [f"word2vec:{FOLDER / 'word2vec.bin'}", f"word2vec:{FOLDER / 'word2vec.txt'}"]


@pytest.fixture(scope="module", params=["stored", "gensim"])
def reference(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What gensim says, written down by scripts/make_vector_references.py, or asked of it now."""
    stored = json.loads((FOLDER / "gensim.json").read_text(encoding="utf-8"))
    if request.param == "stored":
        return stored
    pytest.importorskip("gensim", reason="gensim is not installed: pip install 'tfembed[reference]'")
    from gensim.models import KeyedVectors
    from gensim.models.fasttext import load_facebook_vectors

    plain = KeyedVectors.load_word2vec_format(FOLDER / "word2vec.bin", binary=True)
    grams = load_facebook_vectors(str(FOLDER / "fasttext.bin"))
    return {
        "word2vec": {word: plain[word] for word in plain.index_to_key},
        "means": {text: plain.get_mean_vector(text.split(), pre_normalize=False) for text in stored["means"]},
        "nearest": plain.most_similar("king", topn=5),
        "analogy": plain.most_similar(positive=["king", "woman"], negative=["man"], topn=5),
        "fasttext": {word: grams[word] for word in stored["fasttext"]},
        "fasttext_mean": np.mean([grams["the"], grams["kings"]], axis=0),
    }


def check(encoder: te.Encoder, expected: dict[str, Any]) -> None:
    np.testing.assert_allclose(encoder(list(expected)), np.array(list(expected.values())), atol=1e-6)


@pytest.mark.parametrize("handle", HANDLES, ids=["binary", "text"])
def test_vectors_of_words_and_of_texts(handle: str, reference: dict[str, Any]) -> None:
    """A word is its vector, a text the mean of its words."""
    encoder = te.load_encoder(handle)
    check(encoder, reference["word2vec"])
    check(encoder, reference["means"])


@pytest.mark.parametrize("handle", HANDLES, ids=["binary", "text"])
def test_neighbours(handle: str, reference: dict[str, Any]) -> None:
    """The same words in the same order, with the same cosines."""
    encoder = te.load_encoder(handle)
    for found, expected in (
        (te.nearest(encoder, "king", k=5), reference["nearest"]),
        (te.analogy(encoder, ["king", "woman"], ["man"], k=5), reference["analogy"]),
    ):
        assert [each.example for each in found] == [word for word, _ in expected]
        np.testing.assert_allclose([each.similarity for each in found], [cosine for _, cosine in expected], atol=1e-5)


def test_fasttext_with_ngrams(reference: dict[str, Any]) -> None:
    """Known words with their n-grams, unknown ones of n-grams alone, in every script."""
    encoder = te.load_encoder(f"fasttext:{FOLDER / 'fasttext.bin'}")
    check(encoder, reference["fasttext"])
    check(encoder, {"The kings": reference["fasttext_mean"]})
