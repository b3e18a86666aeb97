"""Training under tf.distribute, in processes of their own: devices are made before TensorFlow starts."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels, tiny_image_encoder
from two_machines import two_machines

import tfembed as te
from tfembed.distribution import open_distribution
from tfembed.running import run_phase
from tfembed.train import execute

FOLDER = Path(__file__).parent

# Without batch norm and dropout, which see the examples of one device, equal parts of a batch give equal gradients.
TRAIN = """
import sys
how, out, *sys.path[:0] = sys.argv[1:]
import keras, numpy as np, tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
if how == "mirrored":
    tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
make = {
    "one device": lambda: None,
    "mirrored": lambda: tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]),
    "two machines": tf.distribute.MultiWorkerMirroredStrategy,
}
distribution = make[how]()
import tempfile
import tfembed as te
from tiny_encoders import pixels, tiny_image_encoder
from tiny_studies import tiny

encoders = {"functional": tiny(dropout=0.0)}
folder = tempfile.mkdtemp() + "/module"
te.export_module(tiny(dropout=0.0), folder)
encoders["opaque"] = te.load_encoder(folder)
te.export_module(tiny_image_encoder(dropout=0.0), folder + "2")
encoders["batch norm"] = te.load_encoder(folder + "2")
labels = np.arange(26) % 2
data = te.Dataset.from_arrays(pixels(26), labels, ["a", "b"], validation=0.3, test=0)
assert len(data.train) % 8 == 2  # a batch that is not full
found = {}
for name, encoder in encoders.items():
    top = te.Phase(name="top", unfreeze=1, epochs=3, learning_rate=1e-2, batch_size=8, batch_norm="train")
    whole = te.Phase(name="whole", unfreeze=True, epochs=2, learning_rate=1e-3, batch_size=8)
    phases = (whole,) if name == "functional" else (top,) if name == "batch norm" else (top, whole)
    model = te.build_image_classifier(encoder, data.class_names)
    began = [[v.numpy() for v in block.variables] for block in encoder.blocks]
    result = te.train(model, data, te.Strategy(name="all", phases=phases), distribution=distribution)
    found |= {f"{name} loss": np.concatenate([phase.history["val_loss"] for phase in result.phases])}
    for i, weight in enumerate(model.get_weights()):
        if weight.dtype == np.float32:
            found[f"{name} {i}"] = weight
    moved = [any((v.numpy() != b).any() for v, b in zip(block.variables, before) if v.dtype == "float32")
             for block, before in zip(encoder.blocks, began)]
    found[f"{name} moved"] = np.array(moved)
    te.predict(model, pixels(3))
np.savez(out, **found)
"""


def _start(how: str, out: Path, **environment: str) -> subprocess.Popen[str]:
    paths = [str(FOLDER), str(FOLDER / "encoders"), str(FOLDER / "search")]
    command = [sys.executable, "-c", TRAIN, how, str(out), *paths]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, env=os.environ | environment)


def _results(process: subprocess.Popen[str], out: Path) -> dict[str, np.ndarray]:
    said = process.communicate(timeout=240)[1]
    assert process.returncode == 0, said[-3000:]
    return dict(np.load(out))


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    out = tmp_path_factory.mktemp("one") / "found.npz"
    return _results(_start("one device", out), out)


def _check(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    assert expected["functional moved"].all()
    assert expected["opaque moved"].all()
    for name, value in expected.items():
        if not name.startswith("batch norm"):  # that of half a batch
            np.testing.assert_allclose(found[name], value, atol=1e-4, rtol=1e-3, err_msg=name)
    assert found["batch norm moved"].tolist() == expected["batch norm moved"].tolist() == [False, False, True]
    assert all(np.isfinite(value).all() for value in found.values())


def test_two_devices_come_to_what_one_comes_to(on_one_device: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Weights of the head, of an unfrozen block, and of the whole encoder, whether it is opaque or not."""
    out = tmp_path / "found.npz"
    _check(_results(_start("mirrored", out), out), on_one_device)


def test_two_machines_come_to_what_one_comes_to(on_one_device: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Two processes, each with the whole program and half of every batch, come to the same weights."""
    outs = [tmp_path / f"{i}.npz" for i in range(2)]
    running = [_start("two machines", out, TF_CONFIG=each) for out, each in zip(outs, two_machines(), strict=True)]
    try:
        for process, out in zip(running, outs, strict=True):
            _check(_results(process, out), on_one_device)
    finally:  # one waits for the other for ever
        for process in running:
            process.kill()


def test_a_distribution_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what there is, and what TF_CONFIG should be."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="TF_CONFIG names no workers"):
        open_distribution("multi-worker")
    with pytest.raises(ValueError, match="'tpu': expected one of mirrored, multi-worker"):
        open_distribution("tpu")


def test_a_phase_that_is_stopped_leaves_plain_variables() -> None:
    """What a pruned trial, or Ctrl-C, ends in the middle has the weights that it came to, on one device again."""
    encoder = tiny_image_encoder()
    data = te.Dataset.from_arrays(pixels(26), np.arange(26) % 2, ["a", "b"], validation=0.3, test=0)
    model = te.build_image_classifier(encoder, data.class_names)
    before = [variable.numpy() for variable in model.variables]
    own = [variable.value for variable in model.variables]

    def stop(logs: dict[str, float]) -> None:
        raise KeyboardInterrupt

    phase = te.Phase(name="whole", unfreeze=True, epochs=2, learning_rate=1e-2)
    strategy = te.Strategy(name="whole", phases=(phase,))
    distribution, cache = tf.distribute.MirroredStrategy(["/cpu:0"]), te.FeatureCache.in_memory()
    run = partial(run_phase, balanced=False, cache=cache, distribution=distribution, on_epoch=stop)
    with pytest.raises(KeyboardInterrupt):
        execute(model, data, strategy, seed=0, run=run, cache=cache)
    assert all(a is b.value for a, b in zip(own, model.variables, strict=True))
    assert any(not np.array_equal(a, b.numpy()) for a, b in zip(before, model.variables, strict=True))
    assert not encoder.parts.has_copies
    te.predict(model, pixels(3))
