"""Encoders that are SavedModels with signatures alone: chosen, cut, trained, kept and exported."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import plain_modules
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tiny_models import write_images

import tfembed as te
from tfembed.cli import cli

IMAGES = np.random.default_rng(0).integers(0, 255, (12, 8, 8, 3)).astype("uint8")


@pytest.fixture(scope="module")
def keras_export(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What Keras 3 exports: the signatures `serve` and `serving_default`, of one function."""
    return plain_modules.write_keras_export(tmp_path_factory.mktemp("keras") / "module")


class Several(tf.Module):
    """Two layers; the signature `vectors` gives both, `scores` one, and a third takes numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.top = plain_modules.weight("stem/kernel", 192, 5), plain_modules.weight("top/kernel", 5, 4)

    @tf.function(input_signature=[plain_modules.IMAGES], autograph=False)
    def vectors(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.tanh(tf.reshape(images, [-1, 192]) @ self.stem)
        return {"features": features, "logits": features @ self.top, "best": tf.argmax(features @ self.top, axis=1)}

    @tf.function(input_signature=[plain_modules.IMAGES], autograph=False)
    def scores(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": tf.nn.softmax(self.vectors(images)["logits"])}

    @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.float32, name="numbers")], autograph=False)
    def numbers(self, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": numbers @ self.top}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A module with several signatures, and nothing that can be called besides."""
    module = Several()
    signatures = {name: getattr(module, name) for name in ("vectors", "scores", "numbers")}
    return plain_modules.write(module, tmp_path_factory.mktemp("several") / "module", signatures=signatures)


def values(encoder: te.Encoder) -> list[np.ndarray]:
    """The values of all variables, block by block."""
    return [variable.numpy() for block in encoder.blocks for variable in block.variables]


def test_the_only_candidate_is_taken(keras_export: str) -> None:
    """Two names of one function are one candidate; blocks are found, and both sides of a cut make the whole."""
    encoder = te.load_encoder(keras_export)
    assert (encoder.spec.signature, encoder.spec.output, encoder.dim) == ("serving_default", "output_0", 6)
    assert [block.name for block in encoder.blocks] == ["stem", "top"]
    module = tf.saved_model.load(keras_export)
    np.testing.assert_allclose(encoder(IMAGES), module.serve(tf.cast(IMAGES, tf.float32) / 255.0), atol=1e-5)
    prefix, suffix = encoder.cut(1)
    np.testing.assert_allclose(suffix(prefix(IMAGES)), encoder(IMAGES), atol=1e-6)
    assert te.load_encoder(keras_export, output="stem").dim == 72  # of a block


@pytest.mark.parametrize(("unfreeze", "moved"), [(1, [False, False, True, True]), (True, [True] * 4)])
def test_its_blocks_train(keras_export: str, unfreeze: Any, moved: list[bool]) -> None:
    """What is unfrozen moves, and nothing else."""
    encoder = te.load_encoder(keras_export)
    before = values(encoder)
    train(encoder, unfreeze)
    assert [not np.array_equal(*pair) for pair in zip(before, values(encoder), strict=True)] == moved


def train(encoder: te.Encoder, unfreeze: Any) -> keras.Model:
    """A classifier on an encoder, trained for an epoch."""
    data = te.Dataset.from_arrays(IMAGES, ["a", "b"] * 6, validation=0, test=0)
    model = te.build_image_classifier(encoder, data.class_names)
    phase = te.Phase(name="phase", unfreeze=unfreeze, epochs=1, learning_rate=0.05)
    te.train(model, data, te.Strategy(name="one epoch", phases=(phase,)))
    return model


def test_a_saved_classifier_loads_without_the_module_and_is_exported(keras_export: str, tmp_path: Path) -> None:
    """The file remembers signature and output; its export and its module give what it gives."""
    handle = shutil.copytree(keras_export, tmp_path / "module")
    model = train(te.load_encoder(handle), 1)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(handle)
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(IMAGES), model(IMAGES), atol=1e-6)
    encoder = again.get_layer("encoder")
    assert (encoder.spec.signature, encoder.spec.output) == ("serving_default", "output_0")
    assert te.export(again, tmp_path / "exported").is_dir()  # the gate compares predictions
    module = te.load_encoder(te.export_module(encoder, tmp_path / "again"))
    assert [block.name for block in module.blocks] == ["stem", "top"]
    np.testing.assert_allclose(module(IMAGES), encoder(IMAGES), atol=1e-5)


def test_several_candidates_are_listed(several: str) -> None:
    """What could be meant is listed, with shapes; outputs that are no vectors and inputs of numbers are not."""
    with pytest.raises(ValueError, match="more than one signature or output") as error:
        te.load_encoder(several)
    pairs = [("scores", "scores", 4), ("vectors", "features", 5), ("vectors", "logits", 4)]
    listed = "; ".join(f"signature={name!r}, output={output!r} (None, {dim})" for name, output, dim in pairs)
    assert f"be made of: {listed}. Pass signature= and output= (--signature, --output)." in str(error.value)


def test_a_named_signature_and_output_are_taken(several: str) -> None:
    """A name that leaves one candidate is enough: of a signature with one output, or of an output of one signature."""
    assert te.load_encoder(several, signature="scores").spec.output == "scores"
    encoder = te.load_encoder(several, output="features")
    assert (encoder.spec.signature, encoder.dim) == ("vectors", 5)
    assert [block.name for block in encoder.blocks] == ["stem"]
    assert te.load_encoder(several, signature="vectors", output="logits").dim == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signature": "embed"}, r"no signature 'embed'.*one of numbers, scores, vectors"),
        ({"signature": "numbers"}, r"takes float32 \(None, 5\): expected texts"),
        ({"signature": "scores", "output": "logits"}, r"no outputs \['logits'\].*\['scores'\]"),
    ],
)
def test_what_is_not_there_is_refused(several: str, options: dict[str, str], message: str) -> None:
    """The message says what there is, in one line."""
    with pytest.raises(ValueError, match=message) as error:
        te.load_encoder(several, **options)
    assert "\n" not in str(error.value)


def test_only_saved_models_have_signatures() -> None:
    """A signature of what is no SavedModel is refused."""
    with pytest.raises(ValueError, match=r"signature='serving_default'.*no SavedModel"):
        te.load_encoder("applications:MobileNetV2?alpha=0.35", weights=None, signature="serving_default")


def test_commands_take_signature_and_output(several: str, tmp_path: Path) -> None:
    """`inspect` and `embed` load what they are told to, and what was embedded remembers it."""
    pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'tfembed[index]'")

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(cli, [str(each) for each in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    named = ("--signature", "vectors", "--output", "features")
    shown = json.loads(run("inspect", several, *named, "--json"))
    assert (shown["dim"], "signature='vectors'" in shown["example"]) == (5, True)
    images = write_images(tmp_path / "images")
    assert "embeddings of 5 numbers" in run("embed", images, tmp_path / "a.parquet", "--encoder", several, *named)
    run("index", tmp_path / "a.db", tmp_path / "a.parquet")
    assert run("query", tmp_path / "a.db", images / "dark" / "0.png", "--limit", "1").strip().startswith("1.0")
