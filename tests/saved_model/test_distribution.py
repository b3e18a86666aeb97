"""HubLayer under tf.distribute. In processes of their own: logical devices are made before TensorFlow starts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
import json, sys
import keras, numpy as np, tensorflow as tf
from tfembed.saved_model.layer import HubLayer

folder, stacked, how, file = sys.argv[1:]
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
distribution = {
    "none": tf.distribute.get_strategy,
    "one device": lambda: tf.distribute.OneDeviceStrategy("/cpu:1"),
    "mirrored": lambda: tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]),
}[how]()
x = np.arange(8, dtype=np.float32).reshape(8, 1)
with distribution.scope():
    inputs = keras.Input((1,))
    model = keras.Model(inputs, HubLayer(folder, trainable=True)(inputs))
    model.compile(keras.optimizers.SGD(0.01), "mean_squared_error")
losses = model.fit(x, 3 * x, batch_size=8, epochs=5, shuffle=False, verbose=0).history["loss"]
model.save(file)
with distribution.scope():
    again = keras.models.load_model(file)
np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)
more = again.fit(x, 3 * x, batch_size=8, shuffle=False, verbose=0).history["loss"]
with distribution.scope():
    inputs = keras.Input((4,))
    layer = HubLayer(stacked)
    layer.unfreeze(1)
    model = keras.Model(inputs, layer(inputs))
    model.compile("sgd", "mean_squared_error")
before = layer.get_weights()
model.fit(np.random.default_rng(0).normal(size=(8, 4)), np.ones((8, 4)), verbose=0)
moved = [w.name for w, value in zip(layer.weights, before, strict=True) if np.any(w.numpy() != value)]
print(json.dumps([losses + more, [float(w.numpy().ravel()[0]) for w in again.weights], moved, layer.cut_error]))
"""


@pytest.fixture(scope="module")
def undistributed(half_plus_one: str, stacked: str, tmp_path_factory: pytest.TempPathFactory) -> list:
    return _train([half_plus_one, stacked], "none", tmp_path_factory.mktemp("none") / "model.keras")


@pytest.mark.parametrize("how", ["one device", "mirrored"])
def test_trains_saves_and_loads_as_without_distribution(how, undistributed, half_plus_one, stacked, tmp_path):
    """Partly unfrozen too; but a mirrored module is not cut, so its unfrozen statistics stay, and the layer says so."""
    losses, weights, moved, cut_error = _train([half_plus_one, stacked], how, tmp_path / "model.keras")
    assert losses == pytest.approx(undistributed[0], rel=1e-4)
    assert weights == pytest.approx(undistributed[1], rel=1e-4)
    assert losses[-1] < losses[0] / 2
    top = ["top.kernel", "top.bias", "top.bn.gamma"]
    assert undistributed[2:] == [[*top, "top.bn.moving_mean"], None]
    assert moved == (top if how == "mirrored" else [*top, "top.bn.moving_mean"])
    assert (cut_error is not None) == (how == "mirrored")


def _train(folders: list[str], how: str, file: Path) -> list:
    command = [sys.executable, "-c", TRAIN, *folders, how, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
