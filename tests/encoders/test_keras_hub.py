"""Presets of KerasHub: by folder, the same embeddings as KerasHub's own backbone and preprocessing give."""

import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tiny_presets import IMAGES, TEXTS, write_preset

import tfembed as te

SENTENCES = ["where is my card", "", "The fox, isn't it? Ça va", "quick brown fox and again and again"]


def pictures(count: int) -> np.ndarray:
    """Random images of 20 x 28 pixels."""
    return np.random.default_rng(0).integers(0, 256, (count, 20, 28, 3)).astype("uint8")


@pytest.mark.parametrize("name", TEXTS)
def test_a_preset_of_texts_gives_what_its_backbone_gives(name, tmp_path):
    """The mean over a text's tokens, of what the backbone makes of what the preprocessor makes."""
    backbone, preprocessor = write_preset(name, tmp_path / name)
    tokens = preprocessor(tf.constant(SENTENCES))
    vectors = backbone(tokens)
    vectors = np.asarray(vectors["sequence_output"] if isinstance(vectors, dict) else vectors)
    mask = np.asarray(tokens["padding_mask"], "float32")[..., np.newaxis]
    expected = (vectors * mask).sum(1) / mask.sum(1)
    encoder = te.load_encoder(tmp_path / name)
    assert (encoder.spec.kind, encoder.spec.name, encoder.dim) == ("text", name, 8)
    np.testing.assert_allclose(encoder(SENTENCES), expected, atol=1e-5)


@pytest.mark.parametrize("name", IMAGES)
def test_a_preset_of_images_gives_what_its_backbone_gives(name, tmp_path):
    """The mean of the feature maps, or the class token, of what the backbone makes of what the converter makes."""
    backbone, converter = write_preset(name, tmp_path / name)
    if name == "dinov2_fitted":
        backbone = keras_hub.models.Backbone.from_preset(str(tmp_path / name), image_shape=(16, 16, 3))
    images = pictures(3)
    prepared = converter(tf.constant(images))
    outputs = np.asarray(backbone({"images": prepared} if isinstance(backbone.input, dict) else prepared))
    expected = outputs.mean((1, 2)) if outputs.ndim == 4 else outputs[:, 0]
    encoder = te.load_encoder(tmp_path / name)
    assert (encoder.spec.kind, encoder.spec.image_size) == ("image", converter.image_size)
    np.testing.assert_allclose(encoder(images), expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-5)
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    np.testing.assert_allclose(encoder(encoded), encoder(images), atol=1e-5 * np.abs(expected).max())


def test_the_pooler_of_bert_can_be_asked_for(tmp_path):
    """`output="pooled_output"` gives the dense layer on the first token; another output is refused with the choice."""
    backbone, preprocessor = write_preset("bert", tmp_path / "bert")
    encoder = te.load_encoder(tmp_path / "bert", output="pooled_output")
    expected = backbone(preprocessor(tf.constant(SENTENCES)))["pooled_output"]
    np.testing.assert_allclose(encoder(SENTENCES), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"no output 'pool': choose one of \['pooled_output', 'sequence_output'\]"):
        te.load_encoder(tmp_path / "bert", output="pool")


def test_a_preset_may_have_random_weights_or_those_of_a_file(tmp_path):
    """`weights=None` leaves the weights as they are drawn; a file of weights is read in place of the preset's."""
    write_preset("bert", tmp_path / "bert")
    pretrained = te.load_encoder(tmp_path / "bert")(SENTENCES).numpy()
    drawn = te.load_encoder(tmp_path / "bert", weights=None)(SENTENCES).numpy()
    assert np.abs(drawn - pretrained).max() > 0.1
    file = (tmp_path / "bert" / "model.weights.h5").rename(tmp_path / "other.weights.h5")
    np.testing.assert_allclose(te.load_encoder(tmp_path / "bert", weights=file)(SENTENCES), pretrained, atol=1e-6)


def test_a_preset_without_its_preprocessor_says_so(tmp_path):
    """A folder into which the backbone alone was saved names the file that is missing, and what writes it."""
    write_preset("bert", tmp_path / "bert")
    (tmp_path / "bert" / "tokenizer.json").unlink()
    (tmp_path / "bert" / "preprocessor.json").unlink()
    with pytest.raises(ValueError, match=r"not whole: `tokenizer.json` doesn't exist.*save_to_preset") as error:
        te.load_encoder(tmp_path / "bert")
    assert "\n" not in str(error.value)


def test_more_tokens_than_positions_are_refused(tmp_path):
    """`sequence_length` may be up to the number of positions."""
    write_preset("bert", tmp_path / "bert")
    assert te.load_encoder(tmp_path / "bert", sequence_length=40).sequence_length == 40
    with pytest.raises(ValueError, match="sequence_length=41: encoder 'bert' has positions for at most 40 tokens"):
        te.load_encoder(tmp_path / "bert", sequence_length=41)


@pytest.mark.parametrize(
    "handle",
    ["bert_tiny_en_uncased", "keras_hub:bert_tiny_en_uncased", "kaggle://keras/bert/keras/bert_tiny_en_uncased"],
)
def test_presets_are_known_by_name(handle, monkeypatch):
    """The name of a preset, with or without its scheme, reaches KerasHub; offline, the message says what to do."""

    def unreachable(preset, **options):
        asked.append(preset)
        raise ConnectionError("Max retries exceeded\nwith url")

    asked = []
    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", unreachable)
    with pytest.raises(
        ConnectionError, match=r"could not be downloaded: Max retries exceeded with url\..*model_download"
    ) as error:
        te.load_encoder(handle)
    assert repr(handle) in str(error.value)
    assert "'keras/bert/keras/bert_tiny_en_uncased" in str(error.value)
    assert asked == [handle.removeprefix("keras_hub:")]


@pytest.mark.parametrize("handle", ["bert_tiny_en_uncased", "kaggle://keras/bert/keras/bert_tiny_en_uncased/3"])
def test_a_preset_in_the_cache_needs_no_network(handle, tmp_path, monkeypatch):
    """What kagglehub downloaded whole is taken by the preset's name or address; it has no file besides to ask for."""
    address = "kaggle://keras/bert/keras/bert_tiny_en_uncased/3"
    monkeypatch.setattr(keras_hub.models.Backbone, "presets", {"bert_tiny_en_uncased": {"kaggle_handle": address}})
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("the network was asked"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    place = tmp_path / "models" / "keras" / "bert" / "keras" / "bert_tiny_en_uncased"
    write_preset("bert", place / "3")
    (place / "3.complete").touch()
    expected = te.load_encoder(place / "3")(SENTENCES)
    np.testing.assert_array_equal(te.load_encoder(handle)(SENTENCES), expected)


def test_a_preset_that_is_no_encoder_is_refused(tmp_path):
    """A model of other things than texts or images says what it takes."""
    backbone = keras_hub.models.WhisperBackbone(
        vocabulary_size=10, num_layers=1, num_heads=2, hidden_dim=4, intermediate_dim=8
    )
    backbone.save_to_preset(str(tmp_path / "whisper"))
    with pytest.raises(ValueError, match=r"WhisperBackbone, which takes \['decoder_padding_mask'.*expected an encoder"):
        te.load_encoder(tmp_path / "whisper")
