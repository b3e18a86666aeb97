"""Settings of Keras that encoders cannot work with are refused, and harm no other encoder."""

import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_encoders import pixels, tiny_image_encoder
from tiny_models import write_text_module
from tiny_presets import write_preset, write_towers

import tfembed as te

CHANNELS = (
    r"^Keras is set to image_data_format 'channels_first', .*set_image_data_format\('channels_last'\).*keras\.json\.$"
)
FLOATS = (
    r"^Keras is set to floatx 'float64', but tfembed computes in float32: call keras\.config\.set_floatx\('float32'\)"
)


@pytest.fixture
def channels_first() -> Iterator[None]:
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format("channels_last")


@pytest.fixture
def float64() -> Iterator[None]:
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


@pytest.mark.parametrize("handle", ["glyphs", "applications:MobileNetV2?alpha=0.35&size=32", "timm:resnet18"])
@pytest.mark.usefixtures("channels_first")
def test_channels_first_is_refused_for_images(handle: str) -> None:
    """With channels first in the settings of Keras, an image encoder is refused with one line."""
    with pytest.raises(ValueError, match=CHANNELS):
        te.load_encoder(handle, weights="weights.pth" if "timm" in handle else None if ":" in handle else "pretrained")


@pytest.mark.parametrize("write", [write_preset, write_towers])
def test_channels_first_is_refused_for_presets(write, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Presets of KerasHub, which fail in many lines then, are refused with the same line."""
    write("resnet" if write is write_preset else "clip", tmp_path / "preset")
    request.getfixturevalue("channels_first")
    with pytest.raises(ValueError, match=CHANNELS):
        te.load_encoder(str(tmp_path / "preset"))


def test_channels_first_is_refused_for_hugging_face(tmp_path: Path, channels_first: None) -> None:
    """A folder with an image model of Hugging Face is refused with the same line."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    with pytest.raises(ValueError, match=CHANNELS):
        te.load_encoder(str(tmp_path))


def test_channels_first_is_refused_for_runs(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The run of an image model is refused with the same line."""
    te.build_image_classifier(tiny_image_encoder(), ["a", "b"]).save(tmp_path / "model.keras")
    (tmp_path / "run.json").write_text("{}")
    request.getfixturevalue("channels_first")
    with pytest.raises(ValueError, match=CHANNELS):
        te.load_run(tmp_path)


def test_a_keras_model_with_channels_first_is_refused(channels_first: None) -> None:
    """A model whose layers take channels first is refused, although its input could be an image."""
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="first")(image)))
    keras.config.set_image_data_format("channels_last")
    with pytest.raises(ValueError, match=r"^Layer 'first' of model .* takes channels first, .*='channels_last'\.$"):
        te.load_encoder(model)


def test_a_keras_model_may_move_the_axes_itself(channels_first: None) -> None:
    """A model that brings images with channels last into the order of its layers is an encoder."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.ZeroPadding2D(1)(keras.layers.Permute((3, 1, 2))(image))
    model = keras.Model(image, keras.layers.Flatten()(x))
    keras.config.set_image_data_format("channels_last")
    assert te.load_encoder(model).dim == 3 * 18 * 18


def test_text_encoders_work_with_channels_first(tmp_path: Path, channels_first: None) -> None:
    """Texts have no channels: their encoders load as ever."""
    assert te.load_encoder(write_text_module(tmp_path / "words"))(["hello"]).shape == (1, 8)


def test_another_type_of_floats_is_refused(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """With float64 in the settings of Keras, loading and training are refused with one line; a policy does no harm."""
    handle = write_text_module(tmp_path / "words")
    model = te.build_image_classifier(tiny_image_encoder(), ["a", "b"])
    data = te.Dataset.from_arrays(pixels(8), [0, 1] * 4, ["a", "b"], validation=0, test=0)
    request.getfixturevalue("float64")
    with pytest.raises(ValueError, match=FLOATS):
        te.load_encoder(handle)
    with pytest.raises(ValueError, match=FLOATS):
        te.train(model, data, te.linear_probe())


def test_a_policy_of_float64_changes_no_feature(tmp_path: Path) -> None:
    """An encoder that is loaded under another policy computes in its own type."""
    handle, policy = write_text_module(tmp_path / "words"), keras.config.dtype_policy()
    expected = te.load_encoder(handle)(["hello there"])
    keras.config.set_dtype_policy("float64")
    try:
        np.testing.assert_array_equal(te.load_encoder(handle)(["hello there"]), expected)
    finally:
        keras.config.set_dtype_policy(policy)
