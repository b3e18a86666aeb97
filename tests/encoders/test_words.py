"""Texts to words: what a tokenizer should do, in the graph."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_vectors import WORDS

from tfembed.encoders.words.layer import Words
from tfembed.encoders.words.subwords import Subwords, ngram_buckets


def words_of(vocabulary: list[str], text: str) -> list[str]:
    layer = Words(max_length=16)
    layer.set_vocabulary([word.encode() for word in vocabulary])
    return [word.decode() for word in layer.split(tf.constant([text])).flat_values.numpy()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The KING is", ["the", "king", "is"]),
        ("the king, the queen!", ["the", "king", ",", "the", "queen"]),  # unknown punctuation is left out
        ("Don't", ["do", "n't"]),
        ("don\u2019t", ["do", "n't"]),
        ("is the king's", ["is", "the", "king", "s"]),
        ("(e-mail)", ["e-mail"]),  # known as it stands
        ("king-queen", ["king", "queen"]),
        ("  \t the\u00a0king\u3000tree\n", ["the", "king", "tree"]),
        ("CAFÉ", ["café"]),
        ("zebra the", ["zebra", "the"]),  # unknown words stay
        ("", []),
        (" ?! ", []),
        ("king\x00queen", ["king", "queen"]),
    ],
)
def test_words_of_a_vocabulary_in_lower_case(text: str, expected: list[str]) -> None:
    """Case, punctuation, contractions, white space of every kind."""
    assert words_of(list(WORDS), text) == expected


def test_without_contractions_in_the_vocabulary_words_are_split_at_the_apostrophe() -> None:
    """Vectors that were made without such a tokenizer have `don` and `t`."""
    assert words_of(["don", "t", "the"], "don't the") == ["don", "t", "the"]


def test_a_vocabulary_with_capitals_is_looked_up_as_it_stands() -> None:
    """Where Apple and apple are two words, the text says which; what is not there is looked for in lower case."""
    vocabulary = ["Apple", "apple", "Paris", "the"]
    assert words_of(vocabulary, "The Apple, apple; PARIS") == ["the", "Apple", "apple", "PARIS"]


def test_places_and_padding() -> None:
    """Words are numbered from 1 on in the order of the vocabulary, 0 is unknown; long texts are cut off."""
    layer = Words(max_length=4)
    layer.set_vocabulary([word.encode() for word in WORDS])
    found = layer(tf.constant(["the zebra is", "", "the king is the queen"]))
    assert found["token_ids"].numpy().tolist() == [[1, 0, 7, 0], [0, 0, 0, 0], [1, 2, 7, 1]]
    assert found["padding_mask"].numpy().tolist() == [[1, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
    assert {name: value.dtype for name, value in found.items()} == dict.fromkeys(found, tf.int32)
    nothing = layer(tf.constant([], tf.string))
    assert nothing["token_ids"].shape == nothing["padding_mask"].shape == [0, 4]


@pytest.mark.parametrize("counts", [None, [70, 20, 10]])
def test_weights_of_words(counts: list[int] | None) -> None:
    """a / (a + p) with a = 0.001, and p from the counts, or from Zipf's law; unknown words are rare."""
    layer = Words(max_length=4, weighted=True)
    layer.set_vocabulary([b"a", b"b", b"c"], None if counts is None else np.array(counts))
    shares = np.array(counts) / 100 if counts else np.array([1, 1 / 2, 1 / 3]) / (1 + 1 / 2 + 1 / 3)
    found = layer(tf.constant(["c zebra a b"]))["word_weights"]
    expected = (1e-3 / (1e-3 + np.array([shares[2], 0, shares[0], shares[1]])))[np.newaxis]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_unknown_words_come_in_ngrams() -> None:
    """A known word is one token, an unknown one as many as it has n-grams, which share it evenly."""
    subwords = Subwords(shortest=3, longest=4, num_buckets=50)
    layer = Words(max_length=12, subwords={"shortest": 3, "longest": 4, "num_buckets": 50}, weighted=True)
    layer.set_vocabulary([b"the", b"king"], np.array([3, 1]))
    found = layer(tf.constant(["king abc the", "the"]))
    buckets = ngram_buckets(tf.constant(["abc"]), subwords).flat_values.numpy()
    assert len(buckets) == 5  # <ab abc bc> <abc abc>
    assert found["token_ids"][0].numpy().tolist() == [2, *(3 + buckets), 1, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(found["shares"][0], [1, *[0.2] * 5, 1, 0, 0, 0, 0, 0])
    assert found["padding_mask"].numpy().sum(axis=1).tolist() == [7, 1]
    assert found["word_weights"][0, 1] == 1


def test_a_word_too_short_for_ngrams_is_unknown() -> None:
    """A letter alone has no n-grams of five letters."""
    layer = Words(max_length=3, subwords={"shortest": 5, "longest": 6, "num_buckets": 50})
    layer.set_vocabulary([b"the"])
    found = layer(tf.constant(["x the"]))
    assert found["token_ids"].numpy().tolist() == [[0, 1, 0]]
    assert found["shares"].numpy().tolist() == [[1, 1, 0]]


def test_ngrams_of_one_letter_leave_the_marks_out() -> None:
    """`<` and `>` alone say nothing."""
    assert ngram_buckets(tf.constant(["ab"]), Subwords(shortest=1, longest=1, num_buckets=9)).row_lengths() == [2]


@pytest.mark.parametrize("wrong", [(0, 3, 5), (4, 3, 5), (3, 6, 0)])
def test_subwords_are_checked(wrong: tuple[int, int, int]) -> None:
    """Lengths below one, or no bucket, make no n-grams."""
    with pytest.raises(ValueError, match="expected 1 or more letters"):
        Subwords(shortest=wrong[0], longest=wrong[1], num_buckets=wrong[2])


def test_the_vocabulary_is_saved(tmp_path: Path) -> None:
    """Words and counts go into the file, and come out of it."""
    layer = Words(max_length=4, weighted=True)
    layer.set_vocabulary(["café".encode(), b"b\xff"], np.array([3, 1]))
    layer.save_assets(str(tmp_path))
    again = Words.from_config(layer.get_config())
    again.load_assets(str(tmp_path))
    assert again.words == ["café", "b\ufffd"]
    texts = tf.constant(["café", b"b\xff x"])
    for name, value in layer(texts).items():
        np.testing.assert_array_equal(again(texts)[name], value)
