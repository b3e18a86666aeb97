"""Encoders as modules of TF Hub: what others can do with them, and that they are whole."""

import importlib
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import Letters, pixels, tiny_image_encoder, tiny_text_encoder
from tiny_models import write_text_module

import tfembed as te
from tfembed.encoders.encoder import Encoder
from tfembed.encoders.low_rank import low_rank
from tfembed.encoders.preprocessing import ImagePreprocessing
from tfembed.encoders.spec import EncoderSpec

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
MODULE = importlib.import_module("tfembed.export.module")
TEXTS = ["a card", "", "where is my new card, please", "no"]
# What somebody does who knows TensorFlow alone: call it, train it, look at what it has.
FRESH = """
import json, sys
import numpy as np, tensorflow as tf
module, given = tf.saved_model.load(sys.argv[1]), np.load(sys.argv[2])
inputs = tf.constant(given.tolist()) if given.dtype.kind == "U" else tf.constant(given)
assert "tfembed" not in sys.modules, "this process must know TensorFlow alone"
embeddings = module(inputs)
assert np.array_equal(embeddings, module(inputs, training=False))
(served,) = module.signatures["serving_default"](inputs).values()
before = [variable.numpy() for variable in module.variables]
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(module(inputs, training=True) ** 2) + sum(loss() for loss in module.regularization_losses)
gradients = tape.gradient(loss, module.trainable_variables)
moved = [not np.array_equal(old, new) for old, new in zip(before, module.variables)]
json.dump({
    "embeddings": embeddings.numpy().tolist(),
    "served": served.numpy().tolist(),
    "names": [variable.name for variable in module.trainable_variables],
    "gradients": [bool(np.abs(tf.convert_to_tensor(each)).max() > 0) for each in gradients],
    "moved": [variable.name for variable, each in zip(module.variables, moved) if each],
    "losses": [float(loss()) for loss in module.regularization_losses],
}, sys.stdout)
"""


def bert() -> Encoder:
    class Tokens(Letters):
        def call(self, texts: Any) -> Any:
            tokens = super().call(texts)
            return tokens | {"segment_ids": tf.zeros_like(tokens["token_ids"])}

    body = keras_hub.models.BertBackbone(
        vocabulary_size=128, num_layers=2, num_heads=2, hidden_dim=8, intermediate_dim=16, dropout=0.1
    )
    spec = EncoderSpec(name="bert", handle="bert", kind="text", output="sequence_output", pooling="mean")
    return Encoder(spec, body, Tokens())


def regularized() -> Encoder:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(image)
    x = keras.layers.Dense(4, name="layer_1_dense", kernel_regularizer=keras.regularizers.L2(0.5))(x)
    x = keras.layers.Dense(4, name="layer_2_dense", kernel_regularizer=keras.regularizers.L1(0.1))(x)
    spec = EncoderSpec(name="regularized", handle="regularized", kind="image", image_size=(8, 8), licence="MIT")
    return Encoder(spec, keras.Model(image, x), ImagePreprocessing((8, 8)))


def in_a_fresh_process(folder: Path, inputs: np.ndarray, place: Path) -> dict[str, Any]:
    np.save(place / "inputs.npy", inputs)
    command = [sys.executable, "-c", FRESH, str(folder), str(place / "inputs.npy")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


@pytest.mark.parametrize("scale", [1.0, 1 / 255])
def test_images_in_a_fresh_process(scale: float, tmp_path: Path) -> None:
    """TensorFlow alone calls and trains it, on images in [0, 1]; batch norm's statistics move in training only."""
    encoder = tiny_image_encoder(scale=scale)
    folder = te.export_module(encoder, tmp_path / "module")
    found = in_a_fresh_process(folder, pixels(5).astype("float32") / 255.0, tmp_path)
    np.testing.assert_allclose(found["embeddings"], encoder(pixels(5)), atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(found["served"], found["embeddings"], atol=1e-6)
    assert all(found["gradients"])
    assert len(found["names"]) == len(set(found["names"])) == 9
    assert [name.split("/")[0] for name in found["names"]] == [f"block_{i}" for i in (1, 2, 3) for _ in range(3)]
    assert sum("moving" in name for name in found["moved"]) == 6


def test_texts_in_a_fresh_process(tmp_path: Path) -> None:
    """Strings in: what tokenizes is inside."""
    encoder = tiny_text_encoder()
    folder = te.export_module(encoder, tmp_path / "module")
    found = in_a_fresh_process(folder, np.array(TEXTS), tmp_path)
    np.testing.assert_allclose(found["embeddings"], encoder(TEXTS), atol=1e-5)
    assert all(found["gradients"])


def test_regularization_losses(tmp_path: Path) -> None:
    """They come along, as callables, with the values that they have."""
    encoder = regularized()
    encoder.unfreeze(True)
    kernels = [block.variables[0].numpy() for block in encoder.blocks]
    expected = [0.5 * np.square(kernels[0]).sum(), 0.1 * np.abs(kernels[1]).sum()]
    folder = te.export_module(encoder, tmp_path / "module")
    module = tf.saved_model.load(str(folder))
    losses = [float(loss()) for loss in module.regularization_losses]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    layer = te.HubLayer(folder, trainable=True)
    layer(pixels(2).astype("float32"))
    np.testing.assert_allclose(sum(map(float, layer.losses)), sum(expected), rtol=1e-5)


def test_tensorflow_hub_loads_it(tmp_path: Path) -> None:
    """`hub.load` takes it as any other module."""
    encoder = tiny_image_encoder()
    folder = te.export_module(encoder, tmp_path / "module")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_hub

        module = tensorflow_hub.load(str(folder))
    np.testing.assert_allclose(module(pixels(2).astype("float32") / 255.0), encoder(pixels(2)), atol=1e-5)


@pytest.mark.parametrize("make", [tiny_image_encoder, tiny_text_encoder, bert])
def test_a_layer_over_it_trains_in_part(make: Any, tmp_path: Path) -> None:
    """HubLayer finds the blocks, cuts behind the tokenizer, and runs the upper blocks alone in training mode."""
    encoder = make()
    folder = te.export_module(encoder, tmp_path / "module")
    layer = te.HubLayer(folder)
    assert [block.name for block in layer.blocks] == [block.name for block in encoder.blocks]
    inputs = tf.constant(TEXTS) if encoder.spec.kind == "text" else tf.constant(pixels(4).astype("float32") / 255)
    whole, graph = layer(inputs), layer.graph()
    for cut in range(1, graph.num_blocks):
        features = graph.segment(0, cut)(inputs)
        assert {value.shape[0] for value in features.values()} == {4}
        np.testing.assert_allclose(graph.segment(cut, graph.num_blocks)(features), whole, atol=1e-5)
    layer.unfreeze(1)
    layer(inputs, training=True)
    assert layer.cut_error is None
    assert {name.split(".")[0] for name in (v.name for v in layer.trainable_variables)} == {encoder.blocks[-1].name}


def test_a_partly_fine_tuned_encoder(tmp_path: Path) -> None:
    """Weights are those that it has now, all of them may train again, and the encoder is left as it was."""
    encoder = tiny_image_encoder(dropout=0.0)
    data = te.Dataset.from_arrays(pixels(12), [0, 1] * 6, ["a", "b"], validation=0, test=0)
    model = te.build_image_classifier(encoder, data.class_names)
    phase = te.Phase(name="top", unfreeze=1, epochs=2, learning_rate=0.05)
    te.train(model, data, te.Strategy(name="top", phases=(phase,)))
    encoder.unfreeze(1)
    flags, names = encoder.flags, [variable.path for variable in encoder.variables]
    again = te.load_encoder(te.export_module(encoder, tmp_path / "module"))
    assert (encoder.flags, [variable.path for variable in encoder.variables]) == (flags, names)
    np.testing.assert_allclose(again(pixels(5)), encoder(pixels(5)), atol=1e-5)
    assert np.abs(again(pixels(5)) - tiny_image_encoder(dropout=0.0)(pixels(5))).max() > 0.01
    again.unfreeze(True)
    assert len(again.trainable_variables) == 9


def test_a_module_is_all_trainable_and_the_encoder_stays_as_frozen_as_it_was(tmp_path: Path) -> None:
    """A loaded module is frozen as any encoder, and the selector that was chosen before chooses the same again."""
    encoder = tiny_image_encoder()
    encoder.unfreeze("beta", batch_norm="inference")
    encoder = Encoder.from_config(encoder.get_config())  # which nobody has called `unfreeze` of
    flags = [variable.trainable for variable in encoder.variables]
    layers = [layer.trainable for layer in encoder.body.layers]
    again = te.load_encoder(te.export_module(encoder, tmp_path / "module"))
    assert [variable.trainable for variable in encoder.variables] == flags
    assert [layer.trainable for layer in encoder.body.layers] == layers
    assert encoder.batch_norm == "inference"
    assert not again.trainable_variables
    again.unfreeze("beta")
    assert len(again.trainable_variables) == len(encoder.trainable_variables) == 3
    again.unfreeze(True)
    assert len(again.trainable_variables) == 9


def test_an_encoder_with_merged_additions_of_low_rank(tmp_path: Path) -> None:
    """What LoRA trained is in the weights."""
    encoder = bert()
    encoder.unfreeze(1)
    before = encoder(TEXTS).numpy()
    with low_rank(encoder, 2):
        for variable in encoder.trainable_variables:
            variable.assign(variable.numpy() + 0.3)
    encoder.unfreeze(False)
    again = te.load_encoder(te.export_module(encoder, tmp_path / "module"))
    np.testing.assert_allclose(again(TEXTS), encoder(TEXTS), atol=1e-5)
    assert np.abs(again(TEXTS) - before).max() > 1e-3


def test_modules_of_modules(tmp_path: Path) -> None:
    """An encoder that was a module already is written again, with its values of now."""
    encoder = te.load_encoder(write_text_module(tmp_path / "words"))
    encoder.blocks[0].variables[0].assign(encoder.blocks[0].variables[0].numpy() * 2)
    again = te.load_encoder(te.export_module(encoder, tmp_path / "module"))
    np.testing.assert_allclose(again(TEXTS), encoder(TEXTS), atol=1e-5)
    assert [block.name for block in again.blocks] == [block.name for block in encoder.blocks]


def test_name_and_licence_come_along(tmp_path: Path) -> None:
    """What is known of an encoder is known of its module."""
    again = te.load_encoder(te.export_module(regularized(), tmp_path / "module"))
    assert (again.spec.name, again.spec.licence, again.spec.image_size) == ("regularized", "MIT", (8, 8))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that exists is refused."""
    (tmp_path / "module").mkdir()
    with pytest.raises(ValueError, match="exists already"):
        te.export_module(tiny_image_encoder(), tmp_path / "module")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_crash_leaves_nothing(error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the module is whole there is no folder of that name; after a crash there is none at all."""

    def torn(_: Any, folder: str, *__: Any) -> None:
        Path(folder, "variables").mkdir(parents=True)
        assert not (tmp_path / "module").exists()
        raise error("the disk is full")

    monkeypatch.setattr(tf.saved_model, "save", torn)
    with pytest.raises(error):
        te.export_module(tiny_image_encoder(), tmp_path / "module")
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_disagrees_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the written module gives something else, there is an error and no folder."""
    encoder, save = tiny_image_encoder(), tf.saved_model.save

    def save_and_move(*arguments: Any) -> None:
        save(*arguments)
        encoder.blocks[-1].variables[0].assign(encoder.blocks[-1].variables[0].numpy() * 2)

    monkeypatch.setattr(tf.saved_model, "save", save_and_move)
    with pytest.raises(te.ExportError, match=r"Nothing was published\."):
        te.export_module(encoder, tmp_path / "module")
    assert list(tmp_path.iterdir()) == []
