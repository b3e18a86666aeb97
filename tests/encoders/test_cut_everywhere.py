"""Backbones of other libraries, cut between any two blocks: the same embeddings, the same gradients.

What SavedModels do is tested in tests/saved_model/test_cut.py: the real modules, the shipped encoder, two inputs, skip
connections over the cut, control flow on `training`, lookup tables.
"""

from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import Letters, pixels, tiny_image_encoder
from tiny_models import write_noisy_module

import tfembed as te
from tfembed.encoders.encoder import INPUTS, Encoder
from tfembed.encoders.pooling import pool
from tfembed.encoders.preprocessing import ImagePreprocessing, mask_name
from tfembed.encoders.spec import EncoderSpec


class Tokens(Letters):
    """Texts to what BERT takes."""

    def call(self, texts: Any) -> Any:
        tokens = super().call(texts)
        return tokens | {"segment_ids": tf.zeros_like(tokens["token_ids"])}


def bert() -> Encoder:
    body = keras_hub.models.BertBackbone(
        vocabulary_size=128, num_layers=3, num_heads=2, hidden_dim=8, intermediate_dim=16, dropout=0.0
    )
    spec = EncoderSpec(name="bert", handle="bert", kind="text", output="sequence_output", pooling="mean")
    return Encoder(spec, body, Tokens())


def vit() -> Encoder:
    body = keras_hub.models.ViTBackbone(
        image_shape=(16, 16, 3), patch_size=(4, 4), num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    spec = EncoderSpec(name="vit", handle="vit", kind="image", pooling="cls", image_size=(16, 16))
    return Encoder(spec, body, ImagePreprocessing((16, 16)))


def application(name: str) -> Encoder:
    body = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(32, 32, 3))
    return Encoder(
        EncoderSpec(name=name, handle=name, kind="image", image_size=(32, 32)), body, ImagePreprocessing((32, 32))
    )


def two_inputs() -> Encoder:
    """Two inputs, of which the second is used behind the last cut only."""
    first, second = keras.Input((8,), name="first"), keras.Input((8,), name="second")
    x = keras.layers.Dense(4, activation="tanh", name="block_1_dense")(first)
    x = keras.layers.Dense(4, activation="tanh", name="block_2_dense")(x)
    x = keras.layers.Dense(4, name="block_3_dense")(keras.layers.Concatenate()([x, second]))
    spec = EncoderSpec(name="two", handle="two", kind="image", image_size=(8, 8))
    return Encoder(spec, keras.Model({"first": first, "second": second}, x), Rows())


class Rows(keras.layers.Layer):
    """Images to the means of their rows and of their columns."""

    def call(self, images: Any) -> Any:
        grey = tf.reduce_mean(tf.cast(images, tf.float32), axis=-1) / 255.0
        return {"first": tf.reduce_mean(grey, axis=2), "second": tf.reduce_mean(grey, axis=1)}


def nested() -> Encoder:
    """A model inside a model."""
    image, tiny = keras.Input((8, 8, 3)), tiny_image_encoder(0.0).body
    body = keras.Model(image, keras.layers.Rescaling(2.0)(tiny(image)))
    spec = EncoderSpec(name="nested", handle="nested", kind="image", image_size=(8, 8))
    return Encoder(spec, body, ImagePreprocessing((8, 8)))


# How to make each, how many blocks it has, and at which cuts gradients are compared, counted from the output.
KINDS = {
    "KerasHub BERT": (bert, 4, (1, 2, 4)),
    "KerasHub ViT": (vit, 4, (1, 2, 4)),
    "ResNet50": (lambda: application("ResNet50"), 17, (1, 9)),
    "VGG16": (lambda: application("VGG16"), 5, (1, 2, 4)),
    "MobileNetV2": (lambda: application("MobileNetV2"), 18, (1, 9)),
    "a model in a model": (nested, 3, (1, 2, 3)),
    "two inputs": (two_inputs, 3, (1, 2, 3)),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    """An encoder with random weights and examples for it."""
    keras.utils.set_random_seed(0)
    make, num_blocks, unfrozen = KINDS[request.param]
    encoder = make()
    encoder.unfreeze(False)
    examples = ["a card", "", "where is it"] if encoder.spec.kind == "text" else pixels(3)
    assert len(encoder.blocks) == num_blocks
    return encoder, tf.constant(examples), unfrozen


def whole(encoder: Encoder, examples: Any, training: bool = False) -> Any:
    """What Keras itself makes of it, without blocks and cuts."""
    prepared = encoder.prepare(examples)
    outputs = encoder.body(prepared[INPUTS] if set(prepared) == {INPUTS} else prepared, training=training)
    return pool(outputs, prepared.get(mask_name(prepared) or ""), encoder.spec)


def test_the_suffix_of_the_prefix_is_the_whole(kind: Any) -> None:
    """At every cut, the suffix gives what Keras gives for the whole model."""
    encoder, examples, _ = kind
    expected = whole(encoder, examples).numpy()
    for k in range(len(encoder.blocks) + 1):
        prefix, suffix = encoder.cut(k)
        features = prefix(examples)
        assert {value.shape[0] for value in features.values()} == {len(examples)}
        np.testing.assert_allclose(
            suffix(features), expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-5, err_msg=f"cut {k}"
        )


@pytest.mark.parametrize("training", [False, True])
def test_gradients_of_the_suffix_are_those_of_the_whole(kind: Any, training: bool) -> None:
    """Each variable behind a cut has the gradient that Keras finds in the whole, in training mode too."""
    encoder, examples, unfrozen = kind
    for number in unfrozen:
        encoder.unfreeze(number)
        prefix, suffix = encoder.cut(encoder.num_frozen)
        features, variables = prefix(examples), [variable.value for variable in encoder.trainable_variables]
        theirs = gradients(lambda: whole(encoder, examples, training), variables)
        ours = gradients(lambda s=suffix, f=features: s(f, training=training), variables)
        largest = max(np.abs(gradient).max() for gradient in theirs)
        assert largest > 0
        for variable, a, b in zip(variables, ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4 * largest, rtol=1e-3, err_msg=f"{number}: {variable.name}")
    encoder.unfreeze(False)


def test_only_what_is_unfrozen_trains(kind: Any) -> None:
    """What Keras would train is what was unfrozen: layers that the embedding does not need are no part of it."""
    encoder, _, unfrozen = kind
    for number in unfrozen:
        encoder.unfreeze(number)
        expected = {id(v) for block in encoder.blocks[-number:] for v in block.variables if v.trainable}
        assert {id(variable) for variable in encoder.trainable_variables} == expected
        _, suffix = encoder.cut(encoder.num_frozen)
        assert {id(variable) for variable in suffix.trainable_variables} == expected
    encoder.unfreeze(False)
    assert encoder.trainable_variables == []


def test_what_is_cheap_is_computed_again_as_it_was_frozen() -> None:
    """The smallest tensors cross; what a frozen block made of them is made again, its dropout off in training too."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 3, name="block_1_conv")(image)
    x = keras.layers.Dropout(0.9)(keras.layers.UpSampling2D(4)(x))
    x = keras.layers.Conv2D(2, 3, name="block_2_conv")(keras.layers.Concatenate()([x, x]))
    spec = EncoderSpec(name="wide", handle="wide", kind="image", image_size=(8, 8))
    encoder = Encoder(spec, keras.Model(image, x), ImagePreprocessing((8, 8)))
    encoder.unfreeze(1)
    prefix, suffix = encoder.cut(1)
    images = tf.constant(pixels(3))
    features = prefix(images)
    assert {name: value.shape[1:].as_list() for name, value in features.items()} == {"block_1_conv": [6, 6, 2]}
    np.testing.assert_allclose(suffix(features, training=True), whole(encoder, images), atol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_composite_layers_are_taken_apart_and_saved_whole(tmp_path: Path) -> None:
    """The encoder of a ViT has a block for each of its layers, trains in part, and is saved as it was."""
    encoder = vit()
    assert [block.name for block in encoder.blocks] == ["embeddings", "block_1", "block_2", "block_3"]
    data = te.Dataset.from_arrays(pixels(8), [0, 1] * 4, validation=0, test=0)
    model = te.build_image_classifier(encoder, data.class_names)
    before = [variable.numpy() for block in encoder.blocks for variable in block.variables]
    phase = te.Phase(name="top", unfreeze=1, epochs=1)
    result = te.train(model, data, te.Strategy(name="top", phases=(phase,)))
    assert result.phases[0].num_frozen == 3
    after = [variable.numpy() for block in encoder.blocks for variable in block.variables]
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    top = len(encoder.blocks[-1].variables)
    assert (any(moved[:-top]), all(moved[-top:])) == (False, True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected = te.predict(model, pixels(3)).probabilities
    np.testing.assert_allclose(te.predict(loaded, pixels(3)).probabilities, expected, atol=1e-5)


def test_a_module_that_cannot_be_cut_is_trained_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Random numbers in front of the cut forbid it, and the reason is said, by describe beforehand too; training comes
    to the same without it."""
    data = te.Dataset.from_arrays(pixels(12), [0, 1] * 6, validation=0, test=0)
    phase = te.Phase(name="top", unfreeze=1, epochs=3, learning_rate=1e-2, batch_size=4)
    trained = {}
    for noise in (None, 0.0):
        encoder = te.load_encoder(write_noisy_module(tmp_path / str(noise), noise))
        model = te.build_image_classifier(encoder, data.class_names)
        strategy = te.Strategy(name="top", phases=(phase,))
        strategy.describe(encoder)
        result = te.train(model, data, strategy)
        trained[noise] = (result, model.get_weights())
    with pytest.raises(te.CutError, match="not settled by its input") as refused:
        encoder.cut(1)
    assert capsys.readouterr().out.endswith(f"nothing of the encoder, which is run whole: {refused.value}\n")
    assert [str(refused.value) in record.message for record in caplog.records] == [True]
    probed = te.train(model, data, te.linear_probe()).phases[0]
    assert (probed.num_frozen, [*probed.history], probed.not_cut) == (
        len(encoder.blocks),
        ["cross_validation_loss"],
        None,
    )
    assert [result.phases[0].num_frozen for result, _ in trained.values()] == [1, 0]
    assert trained[None][0].phases[0].not_cut is None
    assert "not settled by its input" in trained[0.0][0].phases[0].not_cut
    assert trained[0.0][0].trained_parameters == trained[None][0].trained_parameters
    for cut, whole in zip(trained[None][1], trained[0.0][1], strict=True):
        np.testing.assert_allclose(whole, cut, atol=1e-5)


def gradients(run: Any, variables: Any) -> list[np.ndarray]:
    with tf.GradientTape() as tape:
        outputs = run()
        direction = np.random.default_rng(0).normal(size=outputs.shape).astype("float32")
        loss = tf.reduce_sum(outputs * direction)
    found = tape.gradient(loss, variables, unconnected_gradients="zero")
    return [tf.convert_to_tensor(each).numpy() for each in found]
