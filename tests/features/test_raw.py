"""Examples that are prepared anew for each batch."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, tiny_image_encoder
from tiny_models import TEXTS, write_text_module

import tfembed as te
from tfembed.features import FeatureCache
from tfembed.features.raw import RawExamples


def test_images_are_decoded_in_their_order():
    """Encoded images of different formats and sizes, decoded in parallel, come in the order that is asked for."""
    encoder, images = tiny_image_encoder(), pixels(40)
    files = [tf.io.encode_png(image if i % 2 else image[:4]).numpy() for i, image in enumerate(images)]
    rows = np.random.default_rng(0).permutation(40)
    found = RawExamples(encoder, np.array(files, object)).batch(rows)
    expected = np.concatenate([encoder.prepare(tf.constant([files[row]]))["inputs"] for row in rows])
    np.testing.assert_allclose(found["inputs"], expected, atol=1e-6)


def test_an_image_that_is_none_is_an_error():
    """Bytes that cannot be decoded raise TensorFlow's own error, in the middle of a batch too."""
    good = tf.io.encode_png(pixels(1)[0]).numpy()
    source = RawExamples(tiny_image_encoder(), np.array([good, b"no image", good], object))
    with pytest.raises(tf.errors.InvalidArgumentError, match="image"):
        source.batch(np.arange(3))


def test_a_file_that_is_gone_is_an_error():
    """A file that cannot be read any more is named."""
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        RawExamples(tiny_image_encoder(), np.array([Path("gone.png")], object)).batch(np.arange(1))


def test_texts_without_tokens_are_passed_as_they_are(tmp_path):
    """A module that takes texts gets them; its embeddings are those of the encoder, from a cache too."""
    encoder = te.load_encoder(write_text_module(tmp_path / "words"))
    texts = np.array(TEXTS["refund"], object)
    batch = RawExamples(encoder, texts).batch(np.array([2, 0]))
    assert [text.decode() for text in batch["inputs"]] == [texts[2], texts[0]]
    features = FeatureCache(tmp_path / "cache").get(encoder, texts, len(encoder.blocks))
    np.testing.assert_allclose(features.batch(np.arange(3))["inputs"], encoder(texts), atol=1e-6)
