"""Encoders of word vectors: pooling, unknown words, handles, errors."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_vectors import WORDS, vectors, write, write_fasttext, write_text, write_word2vec

import tfembed as te
from tfembed.encoders.words.fasttext import read_fasttext
from tfembed.encoders.words.layer import Words
from tfembed.encoders.words.subwords import Subwords, ngram_buckets
from tfembed.features import fit_sequence_length


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


def weights_of(places: list[int]) -> np.ndarray:
    """The weights of words by their places, of a vocabulary without counts: Zipf's law, and a = 0.001."""
    shares = 1 / (1 + np.array(places)) / (1 / np.arange(1, len(WORDS) + 1)).sum()
    return (1e-3 / (1e-3 + shares))[:, np.newaxis]


POOLED = {
    "mean": lambda places: vectors()[places].mean(axis=0),
    "max": lambda places: vectors()[places].max(axis=0),
    "sif": lambda places: (weights_of(places) * vectors()[places]).sum(axis=0) / len(places),
}


@pytest.mark.parametrize("pooling", POOLED)
def test_unknown_words_are_left_out(pooling: str, tmp_path: Path) -> None:
    """A text has the vector of its known words, whatever stands between them and beside it; of none, it is zeros."""
    encoder = te.load_encoder(f"glove:{write_text(tmp_path / 'words.txt')}", pooling=pooling)
    texts = ["zebra is okapi do", "", "zebra", "?!", "do is king queen woman zebra"]
    places = [WORDS.index(word) for word in ("is", "do", "king", "queen", "woman")]
    expected = [POOLED[pooling](places[:2]), *[np.zeros(4)] * 3, POOLED[pooling](places)]
    np.testing.assert_allclose(encoder(texts), expected, rtol=1e-4, atol=1e-6)
    for text, vector in zip(texts, expected, strict=True):
        np.testing.assert_allclose(encoder([text])[0], vector, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("pooling", POOLED)
def test_a_vector_of_unknown_words_counts(pooling: str, tmp_path: Path) -> None:
    """Where the file has a vector of unknown words, each of them has it."""
    file = write_text(tmp_path / "words.txt", (*WORDS, "<unk>"))
    encoder, unknown = te.load_encoder(f"glove:{file}", pooling=pooling), vectors((*WORDS, "<unk>"))[-1]
    np.testing.assert_allclose(encoder(["zebra"])[0], unknown, rtol=1e-5)
    if pooling == "mean":
        np.testing.assert_allclose(encoder(["king zebra"])[0], (vectors()[1] + unknown) / 2, rtol=1e-5)


def test_words_too_short_for_ngrams_are_left_out(tmp_path: Path) -> None:
    """A model of fastText has no vector of an unknown letter alone where its n-grams are longer."""
    words = Words(max_length=6, subwords={"shortest": 5, "longest": 6, "num_buckets": 9}, skip_unknown=True)
    words.set_vocabulary([b"the"])
    prepared = words(tf.constant(["x the x", "x"]))
    assert prepared["token_ids"].numpy().tolist() == [[1, 0, 0, 0, 0, 0], [0] * 6]
    assert prepared["shares"].numpy().tolist() == [[1, 0, 0, 0, 0, 0], [0] * 6]
    assert prepared["padding_mask"].numpy().sum(axis=1).tolist() == [1, 0]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")  # Keras, saving
def test_a_saved_model_leaves_unknown_words_out(tmp_path: Path) -> None:
    """What is left out is saved with the model."""
    encoder = te.load_encoder(f"glove:{write_text(tmp_path / 'words.txt')}", sequence_length=2)
    model = te.build_text_classifier(encoder, ["a", "b"])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").get_layer("encoder")
    np.testing.assert_allclose(again(["zebra king man tree"])[0], vectors()[[1, 3]].mean(axis=0), rtol=1e-5)


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
    """Words cost little: a thousand count; of a limit that is asked for, the first words, and no other."""
    handle = f"glove:{write_text(tmp_path / 'words.txt')}"
    text = " ".join(["tree"] * 500 + ["king"] * 500)
    np.testing.assert_allclose(te.load_encoder(handle)([text])[0], (vectors()[5] + vectors()[1]) / 2, rtol=1e-4)
    limited = te.load_encoder(handle, sequence_length=3)
    text = "zebra tree tree is king"  # unknown words are none
    np.testing.assert_allclose(limited([text])[0], (2 * vectors()[5] + vectors()[6]) / 3, rtol=1e-4)
    np.testing.assert_allclose(te.embed(limited, [text]), limited([text]), atol=1e-6)
    assert (
        te.load_encoder(handle, sequence_length=2000).prepare(tf.constant(["tree " * 3000]))["token_ids"].shape[1]
        == 2000
    )
    with pytest.raises(ValueError, match=r"sequence_length=1: expected 2 to 1024"):
        te.load_encoder(handle, sequence_length=1)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")  # Keras, saving
def test_a_module_keeps_the_first_words(tmp_path: Path) -> None:
    """What is written as a module, and loaded as an encoder again, cuts texts off where the encoder did."""
    encoder = te.load_encoder(f"glove:{write_text(tmp_path / 'words.txt')}", sequence_length=2)
    again = te.load_encoder(te.export_module(encoder, tmp_path / "module"))
    for each in (encoder, again):
        np.testing.assert_allclose(each(["king zebra man tree"])[0], vectors()[[1, 3]].mean(axis=0), rtol=1e-5)


def test_training_chooses_how_many_words_are_kept(tmp_path: Path) -> None:
    """A limit that training chooses keeps the first words too."""
    encoder = te.load_encoder(f"glove:{write_text(tmp_path / 'words.txt')}")
    assert fit_sequence_length(encoder, np.array(["king man"], object)) == 8
    np.testing.assert_allclose(encoder(["man " * 8 + "tree"])[0], vectors()[3], rtol=1e-5)


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
