"""Nearest neighbours and analogies."""

from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import tiny_text_encoder
from tiny_vectors import WORDS, vectors, write_text

import tfembed as te


@pytest.fixture(scope="module", params=["mean", "sif"])
def words(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> te.Encoder:
    file = write_text(tmp_path_factory.mktemp("words") / "words.txt")
    return te.load_encoder(f"glove:{file}", pooling=request.param)


def test_king_without_man_and_with_woman_is_queen(words: te.Encoder) -> None:
    """The analogy that everybody knows; the words that ask are left out."""
    found = te.analogy(words, plus=["king", "woman"], minus=["man"])
    assert found[0].example == "queen"
    assert found[0].similarity > found[1].similarity
    assert {"king", "woman", "man"}.isdisjoint(each.example for each in found)
    assert len(found) == len(WORDS) - 3 if len(WORDS) - 3 < 10 else 10


def test_the_neighbours_of_a_word(words: te.Encoder) -> None:
    """All others in the order of their cosine; a word is not its own neighbour, however it is written."""
    rows = vectors() / np.linalg.norm(vectors(), axis=1, keepdims=True)
    cosines = rows @ rows[WORDS.index("king")]
    expected = [WORDS[i] for i in np.argsort(-cosines) if WORDS[i] != "king"][:3]
    found = te.nearest(words, "King!", k=3)
    assert [each.example for each in found] == expected
    np.testing.assert_allclose(
        [each.similarity for each in found], [cosines[WORDS.index(word)] for word in expected], atol=1e-5
    )


def test_lengths_of_vectors_do_not_count(tmp_path: Path) -> None:
    """Cosines are compared: a long vector is no nearer for its length, nor does a long one weigh more in an analogy."""
    rows = {"a": [1, 0, 0], "b": [90, 40, 0], "c": [0.02, 0.001, 0], "d": [1, 50, 1], "e": [0, 0.3, 0.2]}
    (tmp_path / "v.txt").write_text("\n".join(f"{word} {' '.join(map(str, row))}" for word, row in rows.items()))
    words = te.load_encoder(f"glove:{tmp_path / 'v.txt'}")
    unit = {word: np.array(row) / np.linalg.norm(row) for word, row in rows.items()}

    def expected(target: np.ndarray, but: str) -> list[tuple[str, float]]:
        cosines = {word: float(unit[word] @ target / np.linalg.norm(target)) for word in rows if word not in but}
        return sorted(cosines.items(), key=lambda each: -each[1])

    for found, wanted in (
        (te.nearest(words, "a"), expected(unit["a"], "a")),
        (te.analogy(words, ["b", "e"], ["a"]), expected(unit["b"] + unit["e"] - unit["a"], "bea")),
        (te.nearest(words, "a", among=["d", "c", "b"]), expected(unit["a"], "ae")),
    ):
        assert [each.example for each in found] == [word for word, _ in wanted]
        np.testing.assert_allclose([each.similarity for each in found], [c for _, c in wanted], atol=1e-5)


def test_more_than_there_are(words: te.Encoder) -> None:
    """There are as many neighbours as there is to search in."""
    assert len(te.nearest(words, "king", k=100)) == len(WORDS) - 1


def test_sentences_among_sentences() -> None:
    """Any encoder of texts finds the nearest of given texts, the query itself aside."""
    encoder, texts = tiny_text_encoder(), ["a card", "a cord", "zzz", "where is it"]
    found = te.nearest(encoder, "a card", texts, k=2)
    vectors = encoder(texts).numpy()
    cosines = vectors @ vectors[0] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[0])
    order = [i for i in np.argsort(-cosines) if i != 0][:2]
    assert [each.example for each in found] == [texts[i] for i in order]


def test_images_among_images(glyphs: te.Encoder) -> None:
    """The same for images, each as it was given."""
    images = np.stack([np.full([8, 8], shade, "uint8") for shade in (0, 250, 9)])
    found = te.nearest(glyphs, images[0], images)
    assert [int(each.example[0, 0]) for each in found] == [9, 250]


def test_what_cannot_be_searched(words: te.Encoder) -> None:
    """Without a vocabulary, examples to search in are needed; unknown words have no neighbours."""
    with pytest.raises(ValueError, match="pass among=, a list of examples"):
        te.nearest(tiny_text_encoder(), "a card")
    with pytest.raises(ValueError, match="'zebra' has no embedding: the encoder knows none of its words"):
        te.nearest(words, "zebra")
    with pytest.raises(ValueError, match="k=0: expected 1 or more"):
        te.nearest(words, "king", k=0)
    with pytest.raises(ValueError, match=r"Pass \['king'\]"):
        te.analogy(words, "king", ["man"])


def test_words_of_the_shared_glove_file(shared: Path) -> None:
    """Real vectors: king - man + woman is queen, and the neighbours of a word make sense."""
    encoder = te.load_encoder(f"glove:{shared / 'data' / 'glove' / 'glove.6B.50d.5k.txt'}")
    assert te.analogy(encoder, ["king", "woman"], ["man"], k=1)[0].example == "queen"
    assert "berlin" in [each.example for each in te.nearest(encoder, "germany")]
