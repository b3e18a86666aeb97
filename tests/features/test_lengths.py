"""The limit of a text: chosen from the training texts or given, saved, and the same wherever texts are embedded."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import Letters, tiny_image_encoder, tiny_text_encoder
from tiny_models import write_text_module

import tfembed as te
from tfembed.features import encode, fit_sequence_length, lengths

COPY = "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"  # Keras, when it saves


def texts_of(*lengths):
    return np.array(["abcdefghijklmnop"[:length] for length in lengths], object)


MOSTLY_SHORT = texts_of(*[3, 5, 7] * 40, 16)


def test_the_limit_is_the_99th_percentile(caplog):
    """One text in a hundred may be longer: the limit is the length of the 99th, up to the next multiple of 8."""
    encoder = tiny_text_encoder()
    assert fit_sequence_length(encoder, MOSTLY_SHORT) == encoder.sequence_length == 8
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name.startswith("tfembed.")
    assert "cut off at 8 tokens (the 99th percentile" in record.message
    assert "1 of 121 are longer, up to 16 tokens" in record.message


def test_one_text_of_fifty_is_not_cut_off(caplog):
    """The 99th percentile is the length of a text, which at least 99 in a hundred do not exceed."""
    assert fit_sequence_length(tiny_text_encoder(), texts_of(*[8] * 49, 9)) == 16


def test_of_many_texts_some_are_looked_at(caplog, monkeypatch):
    """Of 24 texts, where 10 are looked at at most, it is every third, from the first on."""
    monkeypatch.setattr(lengths, "_MOST_LOOKED_AT", 10)
    assert fit_sequence_length(tiny_text_encoder(), texts_of(*[12, 3, 16] * 8)) == 16
    assert not caplog.records
    tiny = tiny_text_encoder()
    tiny.limit_length(4)
    fit_sequence_length(tiny, texts_of(*[12, 3, 16] * 8))
    assert "8 of 8 are longer, up to 12 tokens" in caplog.text


def test_where_nothing_is_cut_off_no_warning_is_given(caplog):
    """A limit that no text exceeds is said at the level of information."""
    caplog.set_level(logging.INFO)
    assert fit_sequence_length(tiny_text_encoder(), texts_of(3, 9, 12)) == 16
    assert [record.levelno for record in caplog.records] == [logging.INFO]


def test_other_training_texts_choose_again():
    """A limit that was chosen follows the texts of the next training."""
    encoder = tiny_text_encoder()
    assert fit_sequence_length(encoder, texts_of(3)) == 8
    assert fit_sequence_length(encoder, texts_of(12)) == 16


def test_a_limit_that_was_given_stays(caplog):
    """A limit of one's own is kept, and what it cuts off is counted."""
    encoder = tiny_text_encoder()
    encoder.limit_length(4)
    assert fit_sequence_length(encoder, MOSTLY_SHORT) == encoder.sequence_length == 4
    assert "cut off at 4 tokens (as given): 81 of 121 are longer" in caplog.text


@keras.saving.register_keras_serializable(package="tests")
class Ended(Letters):
    """Letters with a separator, 2, after the last one."""

    def call(self, texts):
        return super().call(tf.strings.join([texts, "\x02"]))


LIMITED = {
    Letters: ([[97, 98, 0, 0], [97, 98, 99, 100], [97, 98, 99, 100]], [2, 4, 4], [2, 4, 7]),
    Ended: ([[97, 98, 2, 0], [97, 98, 99, 2], [97, 98, 99, 2]], [3, 4, 4], [3, 5, 8]),
}


@pytest.mark.parametrize("layer", LIMITED)
def test_long_texts_keep_their_first_tokens_and_the_separator(layer):
    """Of a text that is cut off, the first tokens and a separator at its end stay, in every way that it is prepared."""
    encoder, texts = tiny_text_encoder(), texts_of(2, 4, 7)
    encoder.preprocessing = layer()
    encoder.limit_length(4)
    expected, limited, lengths = LIMITED[layer]
    in_graph = tf.function(encoder.prepare, input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    for prepare in (in_graph, encoder.prepare, lambda given: encoder.tokenize(given)[0]):
        prepared = prepare(tf.constant(texts.tolist()))
        assert prepared["token_ids"].numpy().tolist() == expected
        assert prepared["padding_mask"].numpy().sum(axis=1).tolist() == limited
    batch = encode(encoder, texts, 0).batch(np.arange(3))
    assert batch["token_ids"].tolist() == expected
    np.testing.assert_allclose(encode(encoder, texts, 3).batch(np.arange(3))["inputs"], encoder(texts), atol=1e-6)
    assert encoder.tokenize(tf.constant(texts.tolist()))[1].numpy().tolist() == lengths


def test_a_limit_changes_only_what_is_longer():
    """Texts within the limit have the embeddings that they had; longer ones have not."""
    free, limited, texts = tiny_text_encoder(), tiny_text_encoder(), texts_of(2, 4, 7)
    limited.limit_length(4)
    np.testing.assert_allclose(limited(texts)[:2], free(texts)[:2], atol=1e-6)
    assert np.abs(limited(texts)[2] - free(texts)[2]).max() > 1e-3


@pytest.mark.filterwarnings(COPY)
def test_the_limit_is_saved_with_the_model(minilm, tmp_path):
    """A model that is saved and loaded cuts texts off where it did in training, and keeps that limit."""
    encoder = te.load_encoder("minilm", sequence_length=6)
    model = te.build_text_classifier(encoder, ["a", "b"])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").get_layer("encoder")
    assert loaded.sequence_length == fit_sequence_length(loaded, texts_of(1)) == 6
    long = ["one two three four five six seven eight"]
    np.testing.assert_allclose(loaded(long), encoder(long), atol=1e-5)
    assert np.abs(loaded(long) - minilm(long)).max() > 1e-2


def test_minilm_keeps_its_separator(minilm):
    """What is left of a long text begins and ends as every text does."""
    encoder = te.load_encoder("minilm", sequence_length=6)
    ids = encoder.prepare(tf.constant(["one two three four five six seven eight", "one"]))["token_ids"].numpy()
    whole = minilm.prepare(tf.constant(["one two three four five six seven eight"]))["token_ids"].numpy()
    assert ids[0].tolist() == [*whole[0, :5], whole[0, -1]]
    assert ids[1, 2] == whole[0, -1]


def test_more_tokens_than_by_default_can_be_kept():
    """A limit beyond the encoder's default reaches its preprocessing; one beyond its positions is refused."""
    long = tf.constant(["word " * 400])
    assert te.load_encoder("minilm", sequence_length=300).prepare(long)["token_ids"].shape == (1, 300)
    with pytest.raises(ValueError, match=r"sequence_length=600: .* at most 512 tokens"):
        te.load_encoder("minilm", sequence_length=600)


@pytest.mark.parametrize("limit", [1, 0, -3, 17])
def test_limits_out_of_range_are_refused(limit):
    """At least a first and a last token, at most what the preprocessing keeps; the message says so."""
    with pytest.raises(ValueError, match=f"sequence_length={limit}: expected 2 to 16"):
        tiny_text_encoder().limit_length(limit)


def test_encoders_without_tokens_have_no_limit(tmp_path):
    """Encoders of images, and of texts as they are, take none, and none is chosen for them."""
    folder = write_text_module(tmp_path / "words")
    for handle in ("glyphs", folder):
        with pytest.raises(ValueError, match="takes no tokens with a padding mask"):
            te.load_encoder(handle, sequence_length=8)
    assert fit_sequence_length(te.load_encoder(folder), texts_of(3)) is None
    assert fit_sequence_length(tiny_image_encoder(), np.zeros([1, 8, 8, 3], "uint8")) is None
