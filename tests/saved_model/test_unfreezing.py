"""HubLayer.unfreeze: what trains, what stays, and in which mode each block runs."""

import copy
import shutil

import keras
import numpy as np
import plain_modules
import pytest
import tensorflow as tf
from tiny_encoders import write_module_of_same_names

from tfembed.saved_model.layer import HubLayer

ROWS = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)


def _names(layer: HubLayer) -> list[str]:
    return sorted(weight.name for weight in layer.trainable_weights)


def _values(layer: HubLayer) -> dict[str, np.ndarray]:
    return {weight.name: weight.numpy() for weight in layer.weights}


def _changed(layer: HubLayer, before: dict[str, np.ndarray]) -> set[str]:
    return {name for name, value in _values(layer).items() if np.any(value != before[name])}


def _train(layer: HubLayer) -> keras.Model:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.1), "mean_squared_error")
    model.fit(ROWS, np.ones((64, 4)), verbose=0)
    return model


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (1, ["top.bias", "top.bn.gamma", "top.kernel"]),
        (["stem"], ["stem.bias", "stem.bn.gamma", "stem.kernel"]),
        ("top/.*kernel", ["top.kernel"]),
        ("biases", ["stem.bias", "top.bias"]),
        ("norms", ["stem.bn.gamma", "top.bn.gamma"]),
        (True, ["stem.bias", "stem.bn.gamma", "stem.kernel", "top.bias", "top.bn.gamma", "top.kernel"]),
        (0, []),
        (False, []),
        ([], []),
    ],
)
def test_a_selector_says_what_trains(stacked, selector, expected):
    layer = HubLayer(stacked)
    layer.unfreeze(selector)
    assert _names(layer) == expected
    assert layer.trainable == bool(expected)


def test_blocks_are_ordered_from_input_to_output(stacked, linear_arguments):
    layer = HubLayer(stacked)
    assert [block.name for block in layer.blocks] == ["stem", "top"]
    assert sum(len(block.variables) for block in layer.blocks) == len(layer.weights)
    assert [block.variables for block in HubLayer(linear_arguments).blocks] == [()]


@pytest.mark.parametrize("selector", [3, ["middle"], "attention"])
def test_a_selector_that_fits_nothing_is_refused_and_changes_nothing(stacked, selector):
    layer = HubLayer(stacked)
    layer.unfreeze(1)
    with pytest.raises(ValueError, match=r"stem.*top"):
        layer.unfreeze(selector)
    assert _names(layer) == ["top.bias", "top.bn.gamma", "top.kernel"]


@pytest.mark.parametrize(
    ("selector", "moves"),
    [
        (1, {"top.kernel", "top.bias", "top.bn.gamma", "top.bn.moving_mean"}),
        (["stem"], {"stem.kernel", "stem.bias", "stem.bn.gamma", "stem.bn.moving_mean"}),
        ("top/kernel", {"top.kernel", "top.bn.moving_mean"}),
    ],
)
def test_only_unfrozen_blocks_move_their_statistics_among_them(stacked, selector, moves):
    layer = HubLayer(stacked)
    layer.unfreeze(selector)
    before = _values(layer)
    _train(layer)
    assert layer.cut_error is None
    assert _changed(layer, before) == moves


def test_only_unfrozen_blocks_move_after_a_phase_that_unfroze_more(stacked):
    layer = HubLayer(stacked, trainable=True)
    _train(layer)
    layer.unfreeze(1)
    before = _values(layer)
    _train(layer)
    assert {name.split(".")[0] for name in _changed(layer, before)} == {"top"}
    layer.trainable = False
    before = _values(layer)
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        _train(layer)
    assert _changed(layer, before) == set()


def test_a_frozen_block_drops_nothing_while_the_unfrozen_one_does(stacked):
    """Of equal rows the top's batch norm leaves zeros, unless the stem's dropout made them unequal."""
    layer = HubLayer(stacked)
    layer.unfreeze(1)
    rows = np.repeat(ROWS[:1], 64, axis=0)
    np.testing.assert_allclose(layer(rows, training=True), np.zeros((64, 4)), atol=1e-6)
    outputs = layer(ROWS, training=True)  # here the dropout of the top acts
    assert 0.3 < np.mean(outputs == 0.0) < 0.8
    np.testing.assert_array_equal(layer(ROWS, training=False), layer.resolved_object(ROWS, training=False))


def test_a_selection_outlasts_switching_off_and_on(stacked):
    layer = HubLayer(stacked)
    layer.unfreeze(1)
    model = _train(layer)
    model.trainable = False
    assert _names(layer) == []
    model.trainable = True
    assert _names(layer) == ["top.bias", "top.bn.gamma", "top.kernel"]
    layer.trainable = True  # of a layer that trains already: everything
    assert len(_names(layer)) == 6


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize("selector", [1, ["top"], "top/"])
def test_a_selection_comes_out_of_the_file(stacked, tmp_path, selector):
    folder = str(shutil.copytree(stacked, tmp_path / "module"))
    layer = HubLayer(folder)
    layer.unfreeze(selector)
    _train(layer).save(tmp_path / "model.keras")
    shutil.rmtree(folder)
    model = keras.models.load_model(tmp_path / "model.keras")
    again = model.layers[-1]
    assert _names(again) == _names(layer)
    before = _values(again)
    model.fit(ROWS, np.ones((64, 4)), verbose=0)
    assert _changed(again, before) == {"top.kernel", "top.bias", "top.bn.gamma", "top.bn.moving_mean"}
    assert _names(HubLayer.from_config({**layer.get_config(), "handle": stacked})) == _names(layer)
    model.export(tmp_path / "exported", verbose=False)


def _flags(layer: HubLayer) -> list[bool]:
    return [weight.trainable for weight in layer.weights]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize("selector", [True, False, 1, ["stem"], "top/.*kernel", "biases", "norms"])
def test_a_selection_outlasts_every_copy_of_a_keras_model(stacked, tmp_path, selector):
    """A config, a clone, a deep copy and a file train the same; out of the file the optimizer goes on."""
    layer = HubLayer(stacked)
    layer.unfreeze(selector)
    layer.fixed_statistics = True
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(layer(inputs)))
    model.compile(keras.optimizers.Adam(0.1), "mean_squared_error")
    model.train_on_batch(ROWS, np.ones((64, 1)))
    model.save(tmp_path / "model.keras")
    from_file = keras.models.load_model(tmp_path / "model.keras")
    for copied in (keras.models.clone_model(model), copy.deepcopy(model), from_file):
        assert _flags(copied.layers[1]) == _flags(layer)
        assert copied.layers[1].trainable == layer.trainable
        assert copied.layers[1].runs_fixed
    for each in (model, from_file):
        each.train_on_batch(ROWS, np.ones((64, 1)))
    for one, other in zip(model.get_weights(), from_file.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_selection_of_a_signature_outlasts_a_copy(tmp_path):
    """And a copy of one that was only switched on still says that signatures do not train as a whole."""
    folder = plain_modules.write_keras_export(tmp_path / "module")
    layer = HubLayer(folder, signature="serve", output_key="output_0")
    layer.unfreeze(1)
    assert _flags(HubLayer.from_config(layer.get_config())) == _flags(layer)
    layer.unfreeze(True)
    with pytest.raises(ValueError, match="trainable=True is unsupported when calling a signature"):
        HubLayer.from_config(layer.get_config())(np.zeros((1, 8, 8, 3), "float32"))


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_variables_of_one_name_are_selected_one_by_one(tmp_path):
    """Off and on again, out of a config and a file without the module, and after another selection."""
    layer = HubLayer(write_module_of_same_names(tmp_path / "module"))
    third = layer.blocks[2].variables
    layer.unfreeze_variables(third[:1])
    expected = [weight is layer.keras_blocks[2].variables[0] for weight in layer.weights]
    assert sum(expected) == 1
    assert _flags(layer) == expected
    layer.trainable = False
    layer.trainable = True
    assert _flags(layer) == expected
    assert _flags(HubLayer.from_config(layer.get_config())) == expected
    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, layer(inputs)).save(tmp_path / "model.keras")
    shutil.rmtree(tmp_path / "module")
    again = keras.models.load_model(tmp_path / "model.keras").layers[-1]
    assert _flags(again) == expected
    again.trainable = False
    again.trainable = True
    assert _flags(again) == expected
    again.unfreeze(["layer_0"])
    assert sum(_flags(again)) == 2
    again.unfreeze_variables([])
    assert not again.trainable


def test_variables_of_another_layer_are_refused(stacked, tmp_path):
    layer, other = HubLayer(stacked), HubLayer(write_module_of_same_names(tmp_path))
    with pytest.raises(ValueError, match="1 of the variables are not of layer"):
        layer.unfreeze_variables(other.blocks[0].variables[:1])
    assert _names(layer) == []


def test_a_module_that_cannot_be_cut_says_so_and_runs_in_inference_mode(tmp_path):
    """Its two blocks take turns on ragged rows, which cannot cross a cut."""
    module = tf.train.Checkpoint()
    stem, top = tf.Variable(2.0, name="stem/scale"), tf.Variable(3.0, name="top/scale")

    @tf.function
    def call(rows: tf.RaggedTensor, training: bool = False) -> tf.RaggedTensor:
        rows = tf.ragged.map_flat_values(lambda x: tf.exp(x * stem) * top, rows)
        return rows + 100.0 if training else rows

    for training in (True, False):
        call.get_concrete_function(tf.RaggedTensorSpec([None, None], tf.float32), training=training)
    module.__call__, module.variables, module.trainable_variables = call, [stem, top], [stem, top]
    tf.saved_model.save(module, str(tmp_path))
    layer = HubLayer(str(tmp_path))
    layer.unfreeze(["top"])
    rows = tf.ragged.constant([[0.0, 0.0], [0.0]])
    with pytest.warns(UserWarning, match="cannot be cut"), tf.GradientTape() as tape:
        outputs = layer(rows, training=True)
    assert outputs.to_list() == [[3.0, 3.0], [3.0]]
    assert tape.gradient(outputs.flat_values, layer.trainable_weights[0].value).numpy() == 3.0
    assert "ragged" in layer.cut_error.lower()
    layer.unfreeze(True)
    assert layer(rows, training=True).to_list() == [[103.0, 103.0], [103.0]]
