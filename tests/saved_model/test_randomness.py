"""Dropout inside of a module draws from the seed that a layer is given, wherever in the graph it is."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_encoders import pixels
from tiny_modules import ROWS

import tfembed as te
from tfembed.saved_model.layer import HubLayer

VALUES = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")


def _noisy(kind: str, x: tf.Tensor) -> tf.Tensor:
    if kind == "branch":
        return tf.cond(tf.reduce_sum(x) > -1e9, lambda: tf.nn.dropout(x, 0.5), lambda: x)
    if kind == "loop":
        return tf.while_loop(lambda i, _: i < 2, lambda i, y: (i + 1, tf.nn.dropout(y, 0.3)), (0, x))[1]
    return tf.nn.dropout(x, 0.5)


def write_dropout(folder: Path, kind: str = "plain") -> str:
    """Save two blocks of a kernel and dropout, whose random ops have no seed."""
    module, spec = tf.train.Checkpoint(), ROWS if kind != "images" else tf.TensorSpec([None, 8, 8, 3])
    size = spec.shape[-1]
    kernels = [tf.Variable(tf.eye(size) + 0.1 * i, name=f"block_{i}/kernel") for i in range(2)]

    def call(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = tf.reduce_mean(x, (1, 2)) if kind == "images" else x
        for kernel in kernels:
            x = x @ kernel
            x = _noisy(kind, x) if training else x
        return x

    tf.random.set_seed(None)  # else the ops would be saved with seeds
    module.__call__ = tf.function(call, autograph=False)
    for training in (True, False):
        module.__call__.get_concrete_function(spec, training=training)
    module.variables = module.trainable_variables = kernels
    tf.saved_model.save(module, str(folder))
    return str(folder)


def _drawn(layer: HubLayer, *seed: int) -> list[np.ndarray]:
    layer.set_seed(*seed)
    return [np.asarray(layer(VALUES, training=True)) for _ in range(2)]


@pytest.mark.parametrize(("kind", "selector"), [("plain", True), ("plain", 1), ("branch", True), ("loop", True)])
def test_a_seed_settles_each_step_and_no_step_is_like_another(tmp_path, kind, selector):
    """For a module that runs whole and one that is cut; in the bodies of conditionals and of loops."""
    folder = write_dropout(tmp_path, kind)
    layer, other = HubLayer(folder, trainable=True), HubLayer(folder, trainable=True)
    for each in (layer, other):
        each.unfreeze(selector)
    first = _drawn(layer, 3)
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(_drawn(layer, 3), first)
    np.testing.assert_array_equal(_drawn(other, 3), first)
    assert not np.array_equal(_drawn(layer, 4)[0], first[0])
    assert layer.cut_error is None


def test_turns_of_a_loop_and_ops_of_a_graph_draw_differently(tmp_path):
    """Where they drew alike, what passes the first mask would pass all: half of the values, or 0.7 in the loop."""
    for kind, passing in (("plain", 0.25), ("loop", 0.7**4)):
        layer = HubLayer(write_dropout(tmp_path / kind, kind), trainable=True)
        layer.resolved_object.variables[1].assign(tf.eye(4))
        layer.set_seed(0)
        outputs = layer(np.ones((4000, 4), "float32"), training=True)
        assert abs(np.mean(np.asarray(outputs) != 0.0) - passing) < 0.05


def test_gradients_pass_what_the_masks_let_pass(tmp_path):
    """Also out of a loop: the mask of the way back is that of the way there."""
    for kind in ("plain", "branch", "loop"):
        layer, rows = HubLayer(write_dropout(tmp_path / kind, kind), trainable=True), tf.ones([32, 4])
        layer.set_seed(0)
        with tf.GradientTape() as tape:
            outputs = layer(rows, training=True)
        gradient = tape.gradient(outputs, layer.trainable_weights[1].value)
        assert np.isfinite(gradient).all()
        assert np.any(gradient != 0.0)


def test_a_generator_of_the_module_itself_starts_anew(tmp_path):
    """tf.random.Generator keeps its state in a variable of the module, which training moves on."""
    module, scale = tf.train.Checkpoint(), tf.Variable(1.0, name="scale")
    module.generator = tf.random.Generator.from_seed(1)

    def call(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return scale * (x + module.generator.normal(tf.shape(x)) if training else x)

    module.__call__ = tf.function(call, autograph=False)
    for training in (True, False):
        module.__call__.get_concrete_function(ROWS, training=training)
    module.variables, module.trainable_variables = [scale, module.generator.state], [scale]
    tf.saved_model.save(module, str(tmp_path))
    layer = HubLayer(str(tmp_path), trainable=True)
    first = _drawn(layer, 3)
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(_drawn(layer, 3), first)
    assert not np.array_equal(_drawn(layer, 4)[0], first[0])


@pytest.mark.parametrize("options", [{"unfreeze": 1}, {"unfreeze": True}, {"unfreeze": 1, "jit_compile": True}])
def test_training_is_settled_by_its_seed(tmp_path, options):
    """Twice with one model loaded anew, and once with another seed."""
    folder = write_dropout(tmp_path, "images")
    data = te.Dataset.from_arrays(pixels(16), ["a", "b"] * 8, validation=0, test=0)
    phase = te.Phase(**{"name": "tune", "epochs": 2, "batch_size": 8, "learning_rate": 0.01} | options)
    ends = []
    for seed in (0, 0, 1):
        encoder = te.load_encoder(folder)
        model = te.build_image_classifier(encoder, data.class_names)
        te.train(model, data, te.Strategy(name="one", phases=(phase,)), seed=seed)
        ends.append(encoder.trainable_variables[-1].numpy())
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.array_equal(ends[0], ends[2])
