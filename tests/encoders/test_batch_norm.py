"""Batch norm of blocks that train: which statistics it normalizes by, whatever the encoder is made of."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_sources_everywhere import write_resnet
from tiny_encoders import pixels, tiny_image_encoder, tiny_text_encoder
from tiny_presets import write_preset

import tfembed as te
from tfembed.encoders.batch_norm import adapt, choose_batch_norm
from tfembed.encoders.encoder import Encoder
from tfembed.predict import parts_of
from tfembed.saved_model.blocks import tf_variable


def _nested() -> Encoder:
    """Two blocks that are models of their own, each with batch norm inside."""
    image = x = keras.Input((8, 8, 3))
    for i in range(2):
        inner = keras.Input((8, 8, 3))
        y = keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 3, padding="same")(inner))
        x = keras.Model(inner, keras.layers.Activation("tanh")(y), name=f"block_{i}")(x)
    return _touched(te.load_encoder(keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))))


def _network() -> Encoder:
    return _touched(te.load_encoder("applications:MobileNetV2?alpha=0.35&size=32", weights=None))


def _preset(family: str, folder: Path) -> Encoder:
    write_preset(family, folder / family)
    return _touched(te.load_encoder(str(folder / family)))


def _touched(encoder: Encoder) -> Encoder:
    """An encoder whose statistics are not those of new layers any more."""
    for variable in _statistics(encoder).values():
        variable.assign(variable * 0.8 + 0.1)
    return encoder


SOURCES: dict[str, Callable[[Path], Encoder]] = {
    "Keras": lambda folder: tiny_image_encoder(),
    "Keras, nested": lambda folder: _nested(),
    "applications": lambda folder: _network(),
    "state dict": lambda folder: te.load_encoder(write_resnet(folder / "resnet")),
    "KerasHub resnet": partial(_preset, "resnet"),
    "KerasHub mobilenet": partial(_preset, "mobilenet"),  # layers inside layers
    "SavedModel": lambda folder: te.load_encoder("glyphs"),
}


def _variables(encoder: Encoder) -> list[Any]:
    return [variable for block in encoder.blocks for variable in block.variables]


def _statistics(encoder: Encoder) -> dict[str, Any]:
    return {v.path: v for v in _variables(encoder) if "moving" in v.path or "running" in v.path}


def _moved(encoder: Encoder, act: Callable[[], Any]) -> dict[str, bool]:
    """Of each variable by its path, whether an act changes it."""
    before = {variable.path: variable.numpy() for variable in _variables(encoder)}
    act()
    return {v.path: not np.array_equal(before[v.path], v.numpy()) for v in _variables(encoder)}


def _images(encoder: Encoder, count: int = 8) -> np.ndarray:
    size = encoder.spec.image_size or (8, 8)
    return np.random.default_rng(0).integers(0, 256, (count, *size, 3)).astype("uint8")


def _data(encoder: Encoder, count: int = 8) -> te.Dataset:
    return te.Dataset.from_arrays(_images(encoder, count), np.arange(count) % 2, ["a", "b"], validation=0, test=0)


def _one(unfreeze: Any, batch_norm: str, **options: Any) -> te.Strategy:
    how = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-2} | options
    return te.Strategy(name="one", phases=(te.Phase(name="one", unfreeze=unfreeze, batch_norm=batch_norm, **how),))


def _train(encoder: Encoder, strategy: te.Strategy) -> te.Result:
    data = _data(encoder)
    model = te.build_image_classifier(encoder, data.class_names)
    return te.train(model, data, strategy, cache=te.FeatureCache.in_memory())


@pytest.mark.parametrize("source", SOURCES)
def test_statistics_follow_batches_in_training_mode_alone(source: str, tmp_path: Path) -> None:
    """A compiled step behind the cut moves those of blocks that train; scales and offsets have gradients anyway."""
    encoder = SOURCES[source](tmp_path)
    prefix, suffix = encoder.cut(len(encoder.blocks) - 1)
    features, statistics = prefix(_images(encoder, 4)), _statistics(encoder)
    behind = {variable.path for variable in encoder.blocks[-1].variables} & set(statistics)
    assert behind
    for batch_norm, expected in (("inference", set()), ("train", behind)):
        encoder.unfreeze(1, batch_norm=batch_norm)
        moved = _moved(encoder, lambda: _check_gradients(encoder, suffix, features))
        assert {path for path, changed in moved.items() if changed} & set(statistics) == expected


def _check_gradients(encoder: Encoder, suffix: Any, features: Any) -> None:
    """Take a compiled step behind the cut: each variable that trains has a gradient, scales among them."""

    @tf.function(autograph=False)
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(suffix(features, training=True) ** 2)
        return tape.gradient(loss, [variable.value for variable in encoder.trainable_variables])

    variables = encoder.trainable_variables
    assert any(name in variable.path for variable in variables for name in ("gamma", "scale"))
    assert not [v.path for gradient, v in zip(step(), variables, strict=True) if gradient is None]


@pytest.mark.parametrize("batch_norm", ["inference", "train"])
@pytest.mark.parametrize("source", ["Keras", "SavedModel"])
def test_a_phase_trains_scales_and_offsets_in_any_case(source: str, batch_norm: str, tmp_path: Path) -> None:
    """Kernels too; statistics follow in training mode alone, and only those of blocks that train."""
    encoder = SOURCES[source](tmp_path)
    encoder.unfreeze(2)
    trained, statistics = {v.path for v in encoder.trainable_variables}, set(_statistics(encoder))
    behind = statistics & {variable.path for block in encoder.blocks[-2:] for variable in block.variables}
    moved = _moved(encoder, lambda: _train(encoder, _one(2, batch_norm)))
    assert {path for path, changed in moved.items() if changed} == trained | (
        behind if batch_norm == "train" else set()
    )


@pytest.mark.parametrize("source", SOURCES)
def test_blocks_freeze_again_after_inference_mode(source: str, tmp_path: Path) -> None:
    """No scale and no offset stays trainable where Keras skips a layer whose own flag is False already."""
    encoder = SOURCES[source](tmp_path)
    encoder.unfreeze(True, batch_norm="inference")
    encoder.unfreeze(1, batch_norm="inference")
    below = [variable for block in encoder.blocks[:-1] for variable in block.variables]
    assert encoder.trainable_variables
    assert not [variable.path for variable in below if variable.trainable]
    encoder.unfreeze(False)
    assert not [variable.path for variable in encoder.variables if variable.trainable]


@pytest.mark.parametrize("unfreeze", [1, True])
def test_an_image_is_embedded_alone_as_in_a_batch(unfreeze: Any) -> None:
    """In inference mode the images of a batch do not act on each other, while the graph is compiled too."""
    encoder = tiny_image_encoder(dropout=0.0)
    run = tf.function(lambda images: encoder(images, training=True), autograph=False)
    images = pixels(6)
    encoder.unfreeze(unfreeze, batch_norm="inference")
    np.testing.assert_allclose(run(tf.constant(images))[:1], run(tf.constant(images[:1])), atol=1e-6)
    np.testing.assert_allclose(run(tf.constant(images)), encoder(images), atol=1e-6)
    encoder.unfreeze(unfreeze, batch_norm="train")
    assert np.abs(encoder(images, training=True)[:1] - encoder(images[:1], training=True)).max() > 1e-3


def test_dropout_of_keras_layers_acts_in_inference_mode_of_batch_norm() -> None:
    """Only batch norm rests: what else acts in training still does."""
    encoder = tiny_image_encoder(dropout=0.5)
    encoder.unfreeze(1, batch_norm="inference")
    assert np.abs(encoder(pixels(4), training=True) - encoder(pixels(4))).max() > 1e-3


def test_a_saved_encoder_keeps_its_statistics(tmp_path: Path) -> None:
    """A model that is read again trains on as it was: its batch norm in inference mode, its scales and offsets too."""
    encoder = tiny_image_encoder(dropout=0.0)
    model = te.build_image_classifier(encoder, ["a", "b"])
    encoder.unfreeze(1, batch_norm="inference")
    model.save(tmp_path / "model.keras")
    again = parts_of(keras.models.load_model(tmp_path / "model.keras")).encoder
    assert again.batch_norm == "inference"
    moved = _moved(again, lambda: again(pixels(6), training=True))
    assert not any(moved.values())
    again.unfreeze(1)
    assert not any(_moved(again, lambda: again(pixels(6), training=True)).values())
    assert any("gamma" in variable.path for variable in again.trainable_variables)


def test_adapted_statistics_are_those_of_all_training_images() -> None:
    """Also where the images are sorted by class, so that batches in their order would be unlike each other."""
    encoder = tiny_image_encoder(dropout=0.0)
    first = encoder.parts.blocks[0].variables[0]
    images = np.sort(pixels(150).reshape(150, -1), axis=0).reshape(150, 8, 8, 3)
    data = te.Dataset.from_arrays(images, np.repeat([0, 1], 75), ["a", "b"], validation=0, test=0)
    model = te.build_image_classifier(encoder, data.class_names)
    maps = tf.nn.conv2d(encoder.cut(0)[0](images)["inputs"], first.numpy(), 1, "SAME").numpy().reshape(-1, 4)

    te.train(model, data, _one(["block_2", "block_3"], "adapt", learning_rate=1e-9))
    assert _shifted(encoder, tiny_image_encoder()) == {path for path in _statistics(encoder) if "block_1" not in path}
    te.train(model, data, _one(True, "adapt", learning_rate=1e-9))
    _, _, _, mean, variance = (v.numpy() for v in encoder.blocks[0].variables)
    np.testing.assert_allclose(mean, maps.mean(axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(variance, maps.var(axis=0), rtol=1e-3)
    whole = tiny_image_encoder(dropout=0.0)
    whole.unfreeze(True, batch_norm="inference")
    adapt(whole, [whole.cut(0)[0](images)], 0)  # all of them in one batch
    expected, adapted = (each.blocks[1].variables[4].numpy() for each in (whole, encoder))
    np.testing.assert_allclose(adapted, expected, rtol=0.05)


def _shifted(encoder: Encoder, other: Encoder) -> set[str]:
    pairs = zip(_variables(encoder), _variables(other), strict=True)
    return {a.path for a, b in pairs if np.abs(a.numpy() - b.numpy()).max() > 1e-6}


def test_adapted_statistics_are_fixed_while_blocks_train() -> None:
    """They are estimated once, before the first step; then weights move and they do not."""
    encoder, other = tiny_image_encoder(), tiny_image_encoder()
    _train(encoder, _one(2, "adapt", learning_rate=1e-9))
    _train(other, _one(2, "adapt", learning_rate=1e-2))
    statistics = _statistics(other)
    for path, variable in _statistics(encoder).items():
        np.testing.assert_allclose(statistics[path].numpy(), variable.numpy(), rtol=1e-5, err_msg=path)
    trained = zip(encoder.trainable_variables, other.trainable_variables, strict=True)
    assert all(not np.array_equal(a.numpy(), b.numpy()) for a, b in trained)


@pytest.mark.parametrize("source", ["Keras, nested", "state dict", "KerasHub mobilenet"])
def test_adapting_reaches_layers_inside_of_others(source: str, tmp_path: Path) -> None:
    """All statistics of the blocks that train change, and nothing else does."""
    encoder = SOURCES[source](tmp_path)
    encoder.unfreeze(1, batch_norm="inference")
    prefix, _ = encoder.cut(encoder.num_frozen)
    features = prefix(_images(encoder, 4))
    behind = {variable.path for variable in encoder.blocks[-1].variables} & set(_statistics(encoder))
    moved = _moved(encoder, lambda: adapt(encoder, [features], encoder.num_frozen))
    assert {path for path, changed in moved.items() if changed} == behind != set()


def test_adapting_leaves_what_trains() -> None:
    """Flags of single weights, and the momentum of each layer, are what they were."""
    encoder = tiny_image_encoder()
    encoder.unfreeze("kernel", batch_norm="inference")
    flags, norms = [v.trainable for v in _variables(encoder)], encoder.parts.batch_norms or []
    adapt(encoder, [encoder.cut(0)[0](pixels(4))], 0)
    assert [v.trainable for v in _variables(encoder)] == flags
    assert [(norm.momentum, norm.trainable) for norm in norms] == [(0.99, False)] * 3


def test_a_saved_model_that_hides_its_batch_norm_is_not_adapted() -> None:
    """It is refused before the first phase, in one line that says what to pass."""
    encoder = te.load_encoder("glyphs")
    strategy = te.lp_ft(1).with_batch_norm("adapt")
    with pytest.raises(ValueError, match=r"batch_norm='adapt': encoder 'glyphs' is a SavedModel.*Pass 'inference'"):
        _train(encoder, strategy)
    with pytest.raises(ValueError, match="batch_norm='fixed': pass 'train', 'inference', or None"):
        encoder.unfreeze(1, batch_norm="fixed")


def test_a_module_without_batch_norm_keeps_its_dropout(tmp_path: Path) -> None:
    """Inference mode of batch norm does not concern it: training runs its function for training."""
    module = tf.train.Checkpoint()
    module.kernel = tf.Variable(np.eye(3, 4, dtype="float32"), name="top/kernel")

    def call(images: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = tf.reduce_mean(images, (1, 2)) @ module.kernel
        return tf.nn.dropout(x, 0.5) if training else x

    module.__call__ = tf.function(call, autograph=False)
    for training in (False, True):
        module.__call__.get_concrete_function(tf.TensorSpec([None, 8, 8, 3], tf.float32), training)
    module.variables = module.trainable_variables = [module.kernel]
    tf.saved_model.save(module, str(tmp_path / "module"))
    encoder = te.load_encoder(str(tmp_path / "module"))
    encoder.unfreeze(True, batch_norm="inference")
    assert not encoder.parts.trains_batch_norm
    assert np.abs(encoder(pixels(4), training=True) - encoder(pixels(4))).max() > 1e-3
    assert choose_batch_norm("adapt", encoder, 10) == "adapt"


def test_a_module_inside_of_a_keras_model_keeps_its_statistics() -> None:
    """It runs in inference mode as it does on its own; it cannot be adapted there either."""
    image = keras.Input((32, 32, 3))
    glyphs = te.HubLayer(te.resource_path("glyphs"), trainable=True, name="glyphs")
    encoder = te.load_encoder(keras.Model(image, glyphs(image)))
    statistics = [v for v in _variables(encoder) if not tf_variable(v).trainable and v.dtype == "float32"]
    for batch_norm, moves in (("inference", False), ("train", True)):
        before = [v.numpy() for v in statistics]
        encoder.unfreeze(True, batch_norm=batch_norm)
        encoder(_images(encoder), training=True)
        assert any(not np.array_equal(a, v.numpy()) for a, v in zip(before, statistics, strict=True)) == moves
    with pytest.raises(ValueError, match="hides its batch norm"):
        choose_batch_norm("adapt", encoder, 10)


def test_the_default_depends_on_the_number_of_training_examples() -> None:
    """A SavedModel cannot be adapted; an encoder that never saw data gathers statistics, however few examples."""
    encoder = tiny_image_encoder()
    encoder.unfreeze(1)
    assert [choose_batch_norm("auto", encoder, count) for count in (10, 1_000_000)] == ["inference", "adapt"]
    assert choose_batch_norm("adapt", encoder, 10) == "adapt"
    for norm in encoder.parts.batch_norms or ():
        norm.moving_mean.assign(np.zeros(4))
        norm.moving_variance.assign(np.ones(4))
    assert choose_batch_norm("auto", encoder, 10) == "train"
    module = te.load_encoder("glyphs")
    module.unfreeze(1)
    assert choose_batch_norm("auto", module, 1_000_000) == "inference"


def test_an_encoder_without_batch_norm_is_not_concerned() -> None:
    """Every value trains the same."""
    ends = []
    for batch_norm in ("inference", "train", "adapt"):
        encoder = tiny_text_encoder()
        data = te.Dataset.from_arrays(["a b", "b c"] * 3, [0, 1] * 3, ["a", "b"], validation=0, test=0)
        te.train(te.build_text_classifier(encoder, data.class_names), data, _one(1, batch_norm))
        ends.append(encoder.get_weights())
    assert all(np.array_equal(a, b) for other in ends[1:] for a, b in zip(ends[0], other, strict=True))
