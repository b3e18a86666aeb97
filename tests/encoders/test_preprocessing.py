"""Images to pixels of one size; padding cut to measure."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.encoders.preprocessing import ImagePreprocessing, mask_name, trim_padding


def test_padding_is_cut_to_the_longest_text():
    """Every tensor is cut to the longest text of the batch."""
    inputs = {
        "token_ids": tf.constant([[5, 6, 0, 0], [5, 0, 0, 0]]),
        "padding_mask": tf.constant([[1, 1, 0, 0], [1, 0, 0, 0]]),
    }
    trimmed = trim_padding(inputs)
    assert {name: value.numpy().tolist() for name, value in trimmed.items()} == {
        "token_ids": [[5, 6], [5, 0]],
        "padding_mask": [[1, 1], [1, 0]],
    }


def test_one_token_stays_where_there_is_none():
    """A batch of empty texts keeps one place, since nothing can be computed of none."""
    assert trim_padding({"input_mask": tf.zeros([2, 4], tf.int32)})["input_mask"].shape == (2, 1)


def test_without_a_mask_nothing_is_cut():
    """Inputs without a padding mask are returned as they are."""
    inputs = {"words": tf.zeros([2, 4])}
    assert trim_padding(inputs) is inputs
    assert mask_name(inputs) is None
    assert mask_name(tf.zeros([2, 4])) is None


def test_values_are_scaled():
    """Pixels from 0 to 255 become values from -1 to 1 with mean and scale 0.5."""
    layer = ImagePreprocessing((2, 2), mean=0.5, scale=0.5)
    images = np.stack([np.zeros([2, 2, 3]), np.full([2, 2, 3], 255)]).astype("uint8")
    np.testing.assert_allclose(layer(tf.constant(images))[:, 0, 0, 0], [-1.0, 1.0])


@pytest.mark.parametrize("shape", [(3, 6, 5), (3, 6, 5, 1), (3, 6, 5, 3)])
def test_every_shape_comes_out_the_same(shape):
    """Grey images with and without a channel, and coloured ones, come out with three channels."""
    layer = ImagePreprocessing((4, 4))
    assert layer(tf.zeros(shape, tf.uint8)).shape == (3, 4, 4, 3)


def test_encoded_images_of_different_sizes_are_one_batch():
    """JPEG and PNG files of different sizes become one batch; their colours stay."""
    red = tf.constant([255, 0, 0], tf.uint8)
    files = [
        tf.io.encode_png(tf.ones([5, 7, 1], tf.uint8) * red),
        tf.io.encode_jpeg(tf.ones([9, 9, 1], tf.uint8) * red),
    ]
    batch = ImagePreprocessing((4, 4))(tf.stack(files))
    np.testing.assert_allclose(batch, np.broadcast_to([1.0, 0.0, 0.0], [2, 4, 4, 3]), atol=0.02)


def test_bytes_that_are_no_image_are_refused():
    """Bytes that cannot be decoded raise TensorFlow's own error."""
    with pytest.raises(tf.errors.InvalidArgumentError, match="image"):
        ImagePreprocessing((4, 4))(tf.constant([b"no image"]))


def test_the_layer_survives_its_config():
    """A layer made of its config prepares the same."""
    layer = ImagePreprocessing((4, 5), mean=0.5, scale=0.25)
    images = tf.fill([1, 6, 6, 3], tf.constant(9, tf.uint8))
    np.testing.assert_allclose(ImagePreprocessing.from_config(layer.get_config())(images), layer(images))
