"""Keras models of one's own as encoders: what is taken, where they are cut, what is refused."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import Letters, pixels, tiny_image_encoder

import tfembed as te

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
TEXTS = ["a card", "where is it", "no"]


def image_model(scaled: bool = False) -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(image) if scaled else image
    x = keras.layers.Conv2D(4, 3, activation="relu", name="maps")(x)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(image, keras.layers.Dense(2, activation="softmax", name="classes")(x), name="shapes")


def sequence_model() -> keras.Model:
    ids, mask = (keras.Input((None,), dtype="int32", name=name) for name in ("token_ids", "padding_mask"))
    x = keras.layers.Embedding(128, 4, name="embeddings")(ids)
    x = keras.layers.Dense(3, name="layer_1_dense")(x * keras.ops.cast(mask[..., None], "float32"))
    return keras.Model({"token_ids": ids, "padding_mask": mask}, x, name="sequences")


@pytest.mark.parametrize("scaled", [False, True])
def test_pixels_come_as_the_model_wants_them(scaled: bool) -> None:
    """In [0, 1]; to a model that scales them itself, in [0, 255]: both give what Keras gives."""
    model = image_model(scaled)
    images = pixels(3)
    expected = model(images.astype("float32") / (1.0 if scaled else 255.0))
    np.testing.assert_allclose(te.load_encoder(model)(images), expected, atol=1e-5)


@pytest.mark.parametrize(("output", "dim"), [(None, 2), ("flat", 6 * 6 * 4), ("maps", 4)])
def test_the_embedding_is_the_output_of_a_layer(output: str | None, dim: int) -> None:
    """Of feature maps the mean; layers behind it are in no block."""
    model = image_model()
    encoder = te.load_encoder(model, output=output)
    assert (encoder.spec.name, encoder.spec.image_size, encoder.dim) == ("shapes", (8, 8), dim)
    assert [block.name for block in encoder.blocks] == (["maps"] if output else ["maps", "classes"])
    if output == "maps":
        maps = keras.Model(model.input, model.get_layer("maps").output)(pixels(2) / np.float32(255))
        np.testing.assert_allclose(encoder(pixels(2)), np.mean(maps, axis=(1, 2)), atol=1e-5)


def test_training_the_encoder_trains_the_model() -> None:
    """They are the same layers."""
    model = image_model()
    encoder = te.load_encoder(model, output="flat")
    assert model.get_layer("maps").kernel is encoder.blocks[0].variables[0]
    assert not model.get_layer("maps").trainable
    encoder.unfreeze(1)
    assert len(encoder.trainable_variables) == 2


def test_unknown_layers_are_answered_with_the_known_ones() -> None:
    """The error lists what there is."""
    with pytest.raises(ValueError, match="has no layer 'nothing': pass output= one of maps, flat, classes"):
        te.load_encoder(image_model(), output="nothing")


def test_a_layer_inside_of_the_model_that_is_a_model() -> None:
    """A model in a model is a layer like others: its output is taken where it was called."""
    inner, image = image_model(), keras.Input((8, 8, 3))
    model = keras.Model(image, keras.layers.Dense(5, name="top")(inner(image * 2.0)))
    encoder = te.load_encoder(model, output="shapes")
    np.testing.assert_allclose(encoder(pixels(2)), inner(pixels(2) * np.float32(2 / 255)), atol=1e-5)


def test_sequential_models_and_single_layers() -> None:
    """A Sequential model is its layers; a layer that was built is taken as it is."""
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(3, name="dense")])
    encoder = te.load_encoder(model)
    np.testing.assert_allclose(encoder(pixels(2)), model(pixels(2) / np.float32(255)), atol=1e-5)
    layer = keras.layers.Conv2D(4, 3, name="convolution")
    layer.build((None, 8, 8, 3))
    encoder = te.load_encoder(layer)
    assert [block.name for block in encoder.blocks] == ["convolution"]
    assert encoder(pixels(2)).shape == [2, 4]
    with pytest.raises(ValueError, match=r"'fresh' does not say what it takes\. Make a model of it"):
        te.load_encoder(keras.layers.Dense(3, name="fresh"))


def test_tokens_need_what_makes_them() -> None:
    """A model of tokens takes a Keras layer in front; sequences are pooled over the real tokens."""
    model = sequence_model()
    encoder = te.load_encoder(model, preprocessing=Letters())
    tokens = Letters()(tf.constant(TEXTS))
    mask = np.asarray(tokens["padding_mask"])[..., np.newaxis]
    expected = np.sum(model(tokens) * mask, axis=1) / mask.sum(axis=1)
    np.testing.assert_allclose(encoder(TEXTS), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"takes the tokens \['padding_mask', 'token_ids'\]: pass preprocessing="):
        te.load_encoder(model)


def test_models_of_something_else_are_refused() -> None:
    """Numbers in a row are neither texts nor images."""
    numbers = keras.Input((5,))
    with pytest.raises(ValueError, match=r"expected texts .* or tokens with a mask"):
        te.load_encoder(keras.Model(numbers, keras.layers.Dense(2)(numbers)))
    image = keras.Input((8, 8, 3))
    several = keras.Model(image, [keras.layers.Flatten(name="a")(image), keras.layers.Flatten(name="b")(image)])
    with pytest.raises(ValueError, match=r"expected one tensor .* one of its layers, a, b"):
        te.load_encoder(several)
    with pytest.raises(ValueError, match="a Keras model brings its own"):
        te.load_encoder(image_model(), weights=None)
    with pytest.raises(ValueError, match="pass a handle as text, or a Keras model or layer"):
        te.load_encoder(3.5)
    with pytest.raises(ValueError, match="pass the handle of its module"):
        te.load_encoder(te.HubLayer(tf.math.square))


def test_the_encoder_of_a_built_model(tmp_path: Path) -> None:
    """A model that tfembed made, in memory or in a file, gives its encoder back, as it was trained."""
    encoder = tiny_image_encoder()
    model = te.build_image_classifier(encoder, ["a", "b"])
    assert te.load_encoder(model) is encoder
    encoder.blocks[0].variables[0].assign(encoder.blocks[0].variables[0].numpy() + 0.5)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(te.load_encoder(tmp_path / "model.keras")(pixels(2)), encoder(pixels(2)), atol=1e-5)
    with pytest.raises(ValueError, match="has an encoder of tfembed"):
        te.load_encoder(model, pooling="mean")


@pytest.mark.parametrize("trust", [False, True])
def test_python_code_in_a_file_is_run_only_if_it_is_trusted(trust: bool, tmp_path: Path) -> None:
    """A Lambda layer is a program."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Lambda(lambda x: x * 2.0, output_shape=(8, 8, 3))(image)
    keras.Model(image, keras.layers.Conv2D(2, 3, name="maps")(x)).save(tmp_path / "code.keras")
    if trust:
        assert te.load_encoder(tmp_path / "code.keras", trust=True).dim == 2
        return
    with pytest.raises(ValueError, match=r"code\.keras holds Python code.*trust=True"):
        te.load_encoder(tmp_path / "code.keras")


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_files_that_are_no_models(content: Any, tmp_path: Path) -> None:
    """The error names the file."""
    if content is not None:
        (tmp_path / "model.keras").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.keras"):
        te.load_encoder(tmp_path / "model.keras")
