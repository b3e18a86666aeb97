"""HubLayer on modules of TensorFlow Hub's formats: written by Keras 2, and the real ones beside the repository."""

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfembed as te
from tfembed.saved_model.layer import HubLayer

# Keras writes its own layers' values with a call that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

TEXTS = ["book a flight to Oslo", "I want my money back"]


@pytest.fixture(scope="module")
def written_by_keras_2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Dense with an L2 loss, batch norm and dropout, saved by tf_keras, which tensorflow_hub brings along."""
    import tf_keras

    inputs = tf_keras.Input((1,))
    outputs = tf_keras.layers.Dense(
        2, kernel_initializer="ones", use_bias=False, kernel_regularizer=tf_keras.regularizers.L2(0.01)
    )(inputs)
    outputs = tf_keras.layers.BatchNormalization(momentum=0.5)(outputs)
    folder = tmp_path_factory.mktemp("keras_2")
    tf.saved_model.save(tf_keras.Model(inputs, tf_keras.layers.Dropout(0.5)(outputs)), str(folder))
    return str(folder)


def test_a_module_written_by_keras_2_trains_and_freezes(written_by_keras_2):
    layer = HubLayer(written_by_keras_2, trainable=True)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, layer(inputs))
    np.testing.assert_allclose(model.losses, [0.02])
    assert (len(layer.trainable_weights), len(layer.non_trainable_weights)) == (3, 2)
    model.compile("sgd", "mean_squared_error")
    x = np.array([[1.0], [2.0], [3.0]])
    before = model.get_weights()
    model.fit(x, np.hstack([x, x]), verbose=0)
    assert all(np.any(one != other) for one, other in zip(before, model.get_weights(), strict=True))
    layer.trainable = False
    np.testing.assert_allclose(model(x, training=True), model(x))
    np.testing.assert_array_equal(model.losses, [0.0])


@pytest.fixture(scope="module")
def preprocess(shared: Path) -> HubLayer:
    return HubLayer(shared / "hub" / "minilm_preprocess")


def test_minilm_gives_what_the_module_gives(shared, preprocess):
    module = tf.saved_model.load(str(shared / "hub" / "minilm_encoder"))
    layer = HubLayer(shared / "hub" / "minilm_encoder")
    expected = module(tf.saved_model.load(str(shared / "hub" / "minilm_preprocess"))(tf.constant(TEXTS)))
    texts = keras.Input((), dtype="string")
    model = keras.Model(texts, layer(preprocess(texts)))
    assert tuple(model.output["sequence_output"].shape) == (None, 64, 384)
    assert len(model.output["encoder_outputs"]) == 6
    for found in (layer(preprocess(TEXTS)), model(tf.constant(TEXTS))):
        assert sorted(found) == sorted(expected)
        tf.nest.map_structure(
            lambda one, other: np.testing.assert_allclose(one, other, atol=1e-5), found, dict(expected)
        )


def test_minilm_is_fine_tuned_saved_and_read_in_a_new_process_without_its_folders(shared, tmp_path):
    folders = [
        str(shutil.copytree(shared / "hub" / name, tmp_path / name, copy_function=shutil.copyfile))
        for name in ("minilm_preprocess", "minilm_encoder")
    ]
    encoder = HubLayer(folders[1], trainable=True, output_key="pooled_output")
    texts = keras.Input((), dtype="string")
    model = keras.Model(texts, keras.layers.Dense(2)(encoder(HubLayer(folders[0])(texts))))
    model.compile(keras.optimizers.SGD(0.01), "mean_squared_error")
    before = encoder.trainable_weights[0].numpy()
    model.fit(tf.constant(TEXTS), np.eye(2), verbose=0)
    assert np.any(encoder.trainable_weights[0].numpy() != before)
    model.save(tmp_path / "model.keras")
    for folder in folders:
        shutil.rmtree(folder)
    code = f"""
import json, keras, tensorflow as tf
import tfembed.saved_model.layer
model = keras.models.load_model({str(tmp_path / "model.keras")!r})
print(json.dumps(model(tf.constant({TEXTS})).numpy().tolist()))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    np.testing.assert_allclose(json.loads(done.stdout.splitlines()[-1]), model(tf.constant(TEXTS)), atol=1e-5)


def test_mobilenet_keeps_its_statistics_frozen_and_moves_them_unfrozen(shared):
    folder = shared / "hub" / "mobilenet_v2_035_224_feature_vector"
    layer = HubLayer(folder)
    images = np.random.default_rng(0).uniform(size=(2, 224, 224, 3)).astype(np.float32)
    expected = tf.saved_model.load(str(folder))(images, training=False)
    np.testing.assert_allclose(layer(images, training=True), expected, atol=1e-5)
    assert len(layer.weights) == 260
    assert len(layer.blocks) > 10
    statistics = next(weight for weight in layer.weights if "moving_mean" in weight.name)
    before = statistics.numpy()
    layer(images, training=True)
    np.testing.assert_array_equal(statistics.numpy(), before)
    layer.trainable = True
    layer(images, training=True)
    assert np.any(statistics.numpy() != before)


def test_encoders_give_what_hub_load_gives(shared: Path) -> None:
    """`load_encoder` makes of texts and of images what the modules make that tensorflow_hub loads."""
    with warnings.catch_warnings():  # setuptools says of pkg_resources, which it imports, that it will go
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        import tensorflow_hub as hub
    import tensorflow_text  # noqa: F401  `hub.load` leaves it to its users

    encoder, preprocess, images = (
        str(shared / "hub" / name)
        for name in ("minilm_encoder", "minilm_preprocess", "mobilenet_v2_035_224_feature_vector")
    )
    expected = hub.load(encoder)(hub.load(preprocess)(tf.constant(TEXTS)))
    for output in ("pooled_output", "default"):
        found = te.load_encoder(encoder, preprocessing=preprocess, output=output)(TEXTS)
        np.testing.assert_allclose(found, expected[output], atol=1e-6)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    np.testing.assert_allclose(te.load_encoder(images)(pixels), hub.load(images)(pixels / np.float32(255)), atol=1e-6)
