"""Batches of texts are embedded in parts of like length: less padding, the same embeddings in the same order."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder
from tfembed.export.by_length import embed_by_length


def _texts(count: int) -> tf.Tensor:
    lengths = np.random.default_rng(0).integers(1, 17, count)
    return tf.constant(["abcdefghijklmnop"[:length] for length in lengths], tf.string, [count])


@pytest.mark.parametrize("count", [0, 1, 15, 16, 33, 100])
def test_embeddings_and_their_order_are_those_of_the_whole_batch(count: int) -> None:
    encoder, texts = tiny_text_encoder(), _texts(count)
    spec = tf.TensorSpec([None], tf.string)
    function = tf.function(lambda raw: embed_by_length(encoder, raw), input_signature=[spec])

    found = function(texts)

    assert found.shape == (count, encoder.dim)
    expected = encoder(texts) if count else np.empty((0, encoder.dim))  # some ops refuse an empty batch on their own
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_part_is_padded_to_its_own_longest_text(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, texts = tiny_text_encoder(), _texts(64)
    assert encoder.dim == 6  # is found out by a run of its own
    shapes, run = [], encoder.run

    def watched(features: dict, *cuts: int) -> tf.Tensor:
        shapes.append(tuple(features["token_ids"].shape))
        return run(features, *cuts)

    monkeypatch.setattr(encoder, "run", watched)

    embed_by_length(encoder, texts)

    lengths = np.sort([len(text) for text in texts.numpy()])
    assert shapes == [(16, part.max()) for part in np.split(lengths, 4)]
    assert sum(rows * length for rows, length in shapes) < 0.75 * 64 * 16


def test_images_are_embedded_together() -> None:
    encoder, images = tiny_image_encoder(), pixels(40)
    np.testing.assert_array_equal(embed_by_length(encoder, tf.constant(images)), encoder(images))
