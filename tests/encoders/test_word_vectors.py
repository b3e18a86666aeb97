"""Encoders of word vectors: pooling, unknown words, handles, errors."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_vectors import WORDS, vectors, write, write_fasttext, write_text, write_word2vec

import tfembed as te
from tfembed.encoders.words.fasttext import read_fasttext
from tfembed.encoders.words.subwords import Subwords, ngram_buckets


@pytest.mark.parametrize("pooling", [None, "mean", "max", "sif"])
def test_pooling(pooling: str | None, tmp_path: Path) -> None:
    """The mean, the maximum, or the weighted sum over the number of words (Arora et al. 2017), worked out by hand."""
    encoder = te.load_encoder(f"glove:{write_text(tmp_path / 'words.txt')}", pooling=pooling)
    places = [WORDS.index(word) for word in ("the", "king", "is")]
    rows = vectors()[places]
    shares = 1 / (1 + np.array(places)) / (1 / np.arange(1, len(WORDS) + 1)).sum()
    weights = 1e-3 / (1e-3 + shares)
    expected = {"max": rows.max(axis=0), "sif": (weights[:, np.newaxis] * rows).sum(axis=0) / 3}
    np.testing.assert_allclose(encoder(["The king is"])[0], expected.get(pooling or "", rows.mean(axis=0)), rtol=1e-5)


def test_weights_come_from_the_counts_of_a_file(tmp_path: Path) -> None:
    """fastText counts its words; with its counts a text is weighted, and not by their places."""
    encoder = te.load_encoder(f"fasttext:{write_fasttext(tmp_path / 'words.bin', num_buckets=0)}", pooling="sif")
    counts = 100.0 - np.arange(len(WORDS))
    weights = 1e-3 / (1e-3 + counts / counts.sum())
    expected = (weights[[1, 3]] @ vectors()[[1, 3]]) / 2
    np.testing.assert_allclose(encoder(["king man"])[0], expected, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "max", "sif"])
def test_texts_without_words(pooling: str, tmp_path: Path) -> None:
    """A text without a known word is the vector of zeros, alone and beside others."""
    encoder = te.load_encoder(f"glove:{write_text(tmp_path / 'words.txt')}", pooling=pooling)
    assert encoder(["", "?!", "zebra"]).numpy().tolist() == [[0.0] * 4] * 3
    np.testing.assert_allclose(encoder(["", "the king"])[1], encoder(["the king"])[0], atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max", "sif"])
def test_unknown_words_do_not_count(pooling: str, tmp_path: Path) -> None:
    """A text has the vector of its known words, alone and padded beside a longer text; NumPy says which one."""
    encoder = te.load_encoder(f"glove:{write_text(tmp_path / 'words.txt')}", pooling=pooling)
    king, tree = vectors()[1], vectors()[5]
    texts = ["king zebra tree xylophone", "king tree", "the king is the queen"]
    embeddings = encoder(texts).numpy()
    np.testing.assert_allclose(embeddings[0], embeddings[1], rtol=1e-6)
    np.testing.assert_allclose(encoder(texts[:1])[0], embeddings[0], rtol=1e-6)
    features = te.FeatureCache.in_memory().get(encoder, np.array(texts, object), len(encoder.blocks))
    np.testing.assert_allclose(features.batch(np.arange(3))["inputs"], embeddings, rtol=1e-5)
    if pooling != "sif":
        expected = (king + tree) / 2 if pooling == "mean" else np.maximum(king, tree)
        np.testing.assert_allclose(embeddings[0], expected, rtol=1e-5)


def test_unknown_words_of_fasttext_are_made_of_ngrams(tmp_path: Path) -> None:
    """A known word is the mean of its row and those of its n-grams; an unknown one of its n-grams; by hand."""
    file, subwords = write_fasttext(tmp_path / "words.bin"), Subwords(shortest=2, longest=3, num_buckets=20)
    plain = read_fasttext(write_fasttext(tmp_path / "plain.bin", num_buckets=0)).vectors
    rng = np.random.default_rng(1)
    buckets = rng.normal(size=(20, 4)).astype("float32")
    encoder = te.load_encoder(f"fasttext:{file}")

    def grams(word: str) -> np.ndarray:
        return buckets[ngram_buckets([word], subwords).flat_values.numpy()]

    king = np.concatenate([plain[[1 + WORDS.index("king")]], grams("king")]).mean(axis=0)
    zebra = grams("zebra").mean(axis=0)
    np.testing.assert_allclose(encoder(["king", "zebra"]), [king, zebra], rtol=1e-4)
    np.testing.assert_allclose(encoder(["Zebra king"])[0], (king + zebra) / 2, rtol=1e-4)
    with pytest.raises(ValueError, match=r"pooling='max' needs one vector for each word.* or the \.vec file"):
        te.load_encoder(f"fasttext:{file}", pooling="max")


def test_long_texts_keep_their_words(tmp_path: Path) -> None:
    """Words cost little: a thousand count. Of a limit that is asked for the first words stay: there is no separator."""
    handle = f"glove:{write_text(tmp_path / 'words.txt')}"
    text = " ".join(["tree"] * 500 + ["king"] * 500)
    np.testing.assert_allclose(te.load_encoder(handle)([text])[0], (vectors()[5] + vectors()[1]) / 2, rtol=1e-4)
    limited = te.load_encoder(handle, sequence_length=3)
    np.testing.assert_allclose(limited([text])[0], vectors()[5], rtol=1e-4)
    tokens, counts = limited.tokenize(tf.constant([text, "king"]))
    assert tokens["padding_mask"].numpy().sum(axis=1).tolist() == [3, 1]
    assert counts.numpy().tolist() == [1000, 1]


def test_what_an_encoder_is_called(tmp_path: Path) -> None:
    """After its file, without what only says the format."""
    encoder = te.load_encoder(f"word2vec:{write_word2vec(tmp_path / 'news.300d.bin.gz')}")
    assert (encoder.spec.name, encoder.spec.kind, encoder.dim) == ("news.300d", "text", 4)
    assert encoder.spec.source == str(tmp_path / "news.300d.bin.gz")


BAD = {
    "word2vec:no/such.bin": "There is no file 'no/such.bin': expected word2vec: and the path",
    "glove:{}/words.bin": r"expected a name that ends in \.txt or \.vec for text, and \.gz",
    "word2vec:{}/words.model": r"or \.bin for the binary format",
}


@pytest.mark.parametrize("handle", BAD)
def test_bad_handles(handle: str, tmp_path: Path) -> None:
    """What is expected of a handle is said."""
    for name in ("words.bin", "words.model"):
        write(tmp_path / name, b"")
    with pytest.raises(ValueError, match=BAD[handle]):
        te.load_encoder(handle.format(tmp_path))


@pytest.mark.parametrize("option", [{"pooling": "cls"}, {"output": "x"}, {"preprocessing": "x"}, {"weights": None}])
def test_options_that_word_vectors_do_not_have(option: dict[str, str], tmp_path: Path) -> None:
    """They are refused, not ignored."""
    with pytest.raises(ValueError, match=r"pass one of mean, max, sif|Leave it out"):
        te.load_encoder(f"glove:{write_text(tmp_path / 'words.txt')}", **option)
