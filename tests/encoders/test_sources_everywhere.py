"""What works for one encoder works for those of every source here: blocks, training, files, exports."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch_recipe
from safetensors.numpy import save_file
from tiny_encoders import pixels

import tfembed as te

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

# A ResNet of TorchVision's form, small enough to train in a moment.
RESNET = {
    "conv1": (8, 3, 7, 7),
    **{f"layer{stage}.0.conv{part}": (8, 8, 3, 3) for stage in range(1, 5) for part in (1, 2)},
    **{f"layer{stage}.0.downsample.0": (8, 8, 1, 1) for stage in range(2, 5)},
}
NORMS = {name: name.replace("downsample.0", "downsample.1").replace("conv", "bn") for name in RESNET}


def tiny_resnet(folder: Path) -> Path:
    shapes = {f"{name}.weight": shape for name, shape in RESNET.items()}
    for name, norm in NORMS.items():
        shapes |= {f"{norm}.{part}": RESNET[name][:1] for part in ("weight", "bias", "running_mean", "running_var")}
    save_file(torch_recipe.state_dict(shapes), folder / "model.safetensors")
    config = {"architecture": "resnet10", "pretrained_cfg": {"input_size": [3, 32, 32], "crop_pct": 1.0}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


SOURCES = {
    "keras.applications": lambda folder: te.load_encoder("applications:MobileNetV2?alpha=0.35&size=32", weights=None),
    "keras.applications, named": lambda folder: te.load_encoder(
        "applications:MobileNet?alpha=0.25&size=32", weights=None
    ),
    "keras.applications, BGR": lambda folder: te.load_encoder("applications:VGG16?size=32", weights=None),
    "timm": lambda folder: te.load_encoder(tiny_resnet(folder)),
}
READ_BACK = (
    "import sys, keras, numpy as np, tensorflow as tf, tfembed as te\n"
    "model = keras.models.load_model(sys.argv[1])\n"
    "np.save(sys.argv[3], te.predict(model, np.load(sys.argv[2])).probabilities)\n"
)


@pytest.fixture(scope="module", params=SOURCES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A classifier with the uppermost block trained for an epoch; the files it came from are gone."""
    folder = tmp_path_factory.mktemp("source")
    keras.utils.set_random_seed(0)
    encoder = SOURCES[request.param](folder)
    for path in folder.iterdir():
        path.unlink()
    data = te.Dataset.from_arrays(pixels(12), [0, 1] * 6, ["a", "b"], validation=0, test=0)
    model = te.build_image_classifier(encoder, data.class_names)
    before = [[variable.numpy() for variable in block.variables] for block in encoder.blocks]
    phase = te.Phase(name="top", unfreeze=1, epochs=1, learning_rate=1e-2, batch_size=6)
    result = te.train(model, data, te.Strategy(name="one epoch", phases=(phase,)))
    return encoder, model, before, result


def test_every_cut_gives_the_same_embeddings(trained: Any) -> None:
    """Blocks hold every weight once, and the suffix of the prefix is the whole at every cut."""
    encoder, _, _, _ = trained
    images = tf.constant(pixels(3))
    expected = encoder(images).numpy()
    in_blocks = [id(variable) for block in encoder.blocks for variable in block.variables]
    assert len(in_blocks) == len(set(in_blocks))
    assert {id(variable) for variable in encoder.body.weights if "seed" not in variable.path} == set(in_blocks)
    for k in range(len(encoder.blocks) + 1):
        prefix, suffix = encoder.cut(k)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(suffix(prefix(images)), expected, atol=1e-5 * scale, rtol=1e-4, err_msg=f"cut {k}")


def test_only_the_uppermost_block_moves(trained: Any) -> None:
    """What is frozen stays, statistics of batch norm among it; the block that trains moves."""
    encoder, _, before, result = trained
    assert result.phases[0].num_frozen == len(encoder.blocks) - 1
    moved = [
        any(not np.array_equal(a, v.numpy()) for a, v in zip(values, block.variables, strict=True))
        for values, block in zip(before, encoder.blocks, strict=True)
    ]
    assert moved == [False] * (len(moved) - 1) + [True]


def test_a_file_is_read_in_a_fresh_process(trained: Any, tmp_path: Path) -> None:
    """A `.keras` file needs nothing of where the encoder came from."""
    _, model, _, _ = trained
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", pixels(3))
    arguments = [str(tmp_path / name) for name in ("model.keras", "images.npy", "found.npy")]
    subprocess.run([sys.executable, "-c", READ_BACK, *arguments], check=True, capture_output=True)
    expected = te.predict(model, pixels(3)).probabilities
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-5)


def test_the_export_predicts_the_same(trained: Any, tmp_path: Path) -> None:
    """An export passes its gate, with images of any size in, and predicts what the model does."""
    _, model, _, _ = trained
    served = tf.saved_model.load(str(te.export(model, tmp_path / "model")))
    pngs = [tf.io.encode_png(image).numpy() for image in pixels(3)]
    found = served.signatures["serving_default"](image_bytes=tf.constant(pngs))
    expected = te.predict(model, pixels(3)).probabilities
    scores = np.sort(expected, axis=1)[:, ::-1]
    np.testing.assert_allclose(found["scores"], scores, atol=1e-4)
