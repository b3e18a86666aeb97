"""Resizing of thin images: bounded in what it allocates, and right."""

from typing import Any

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from tfembed.encoders.pixels import ImagePixels, Resized
from tfembed.encoders.preprocessing import ImagePreprocessing

LAYERS = [
    ImagePreprocessing((16, 16), crop=0.875, interpolation="bicubic"),
    Resized(18, crop=(16, 16)),
    Resized(18, crop=(16, 40)),
]
LONG = [(3, 200), (3, 401), (200, 5), (1, 999), (2, 1000)]
ORDINARY = [(30, 40), (31, 17), (16, 256), (1, 16), (33, 2)]


def image(height: int, width: int) -> Any:
    return tf.constant(np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8))


def padded() -> ImagePixels:
    return ImagePixels(keras_hub.layers.ImageConverter((32, 32), pad_to_aspect_ratio=True, crop_to_aspect_ratio=False))


@pytest.fixture
def resized_areas(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pixels that come out of each call of `tf.image.resize`."""
    resize, areas = tf.image.resize, []

    def recorded(*args: Any, **options: Any) -> Any:
        resized = resize(*args, **options)
        areas.append(resized.shape[-3] * resized.shape[-2])
        return resized

    monkeypatch.setattr(tf.image, "resize", recorded)
    return areas


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (2, 6000)])
def test_resizing_a_thin_image_takes_little_room(layer, size, resized_areas):
    """Of an image of which the middle is cut out, no more is resized than 16 times what comes out."""
    layer(image(*size))
    assert max(resized_areas) <= 17 * 18 * 40


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("size", LONG)
def test_the_middle_of_a_thin_image_is_where_it_was(layer, size, monkeypatch):
    """What comes out of a thin image is what comes out of resizing all of it, to a step of brightness."""
    bounded = layer(image(*size))
    for module in ("preprocessing", "pixels"):
        monkeypatch.setattr(f"tfembed.encoders.{module}.cut_to_middle", lambda pixels, *_: pixels)
    np.testing.assert_allclose(bounded, layer(image(*size)), atol=1.001 / 255)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("size", ORDINARY)
def test_other_images_come_out_as_before(layer, size, monkeypatch):
    """An image that is not thin is resized as a whole, bit by bit as without a bound."""
    bounded = layer(image(*size))
    for module in ("preprocessing", "pixels"):
        monkeypatch.setattr(f"tfembed.encoders.{module}.cut_to_middle", lambda pixels, *_: pixels)
    np.testing.assert_array_equal(bounded, layer(image(*size)))


def test_a_thin_image_is_shrunk_before_it_is_padded():
    """A converter of KerasHub that pads gets thin images small, and others as they are."""
    layer, sizes = padded(), []
    convert = layer.converter.call
    layer.converter.call = lambda pixels: sizes.append(tuple(pixels.shape[:2])) or convert(pixels)
    for size in ((2, 6000), (6000, 2), (30, 40), (2, 32)):
        assert layer(tf.stack([tf.io.encode_png(image(*size)[0])])).shape == (1, 32, 32, 3)
    assert sizes == [(1, 32), (32, 1), (30, 40), (2, 32)]


def test_padding_is_what_keras_does():
    """An ordinary image is padded evenly to the encoder's aspect ratio, then resized."""
    square = np.zeros((40, 40, 3), "float32")
    square[10:30] = image(20, 40)[0]
    expected = tf.image.resize(square, (32, 32))
    np.testing.assert_allclose(padded()(image(20, 40))[0], expected, atol=1e-4)
