"""HubLayer in Keras models: what hub.KerasLayer's own tests say of it, under Keras 3."""

import json
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfembed.saved_model.layer import HubLayer

COLUMN = np.array([[0.0], [8.0], [10.0], [12.0]], np.float32)


def _functional(layer: HubLayer, *after: keras.layers.Layer) -> keras.Model:
    inputs = outputs = keras.Input((1,))
    for each in (layer, *after):
        outputs = each(outputs)
    return keras.Model(inputs, outputs)


def _through_json(config: dict) -> dict:
    return json.loads(json.dumps(config))


def _numpy(variables: list) -> dict[str, np.ndarray]:
    return {variable.name: variable.numpy() for variable in variables}


# Training


def test_retrains_what_the_module_marks_as_trainable_and_nothing_else(half_plus_one):
    layer = HubLayer(half_plus_one, trainable=True)
    model = _functional(layer)
    np.testing.assert_array_equal(model(COLUMN), [[1.0], [5.0], [6.0], [7.0]])
    assert [tuple(weight.shape) for weight in model.trainable_weights] == [(1, 1)]
    assert [tuple(weight.shape) for weight in model.non_trainable_weights] == [(1, 1), (1,)]
    model.compile(keras.optimizers.SGD(0.002), "mean_squared_error")
    x = np.array([[9.0], [10.0], [11.0]] * 10)
    model.fit(x, x / 2 + 6, batch_size=30, epochs=10, verbose=0)
    np.testing.assert_array_equal(model(np.array([[0.0]])), [[1.0]])  # the bias stayed
    np.testing.assert_allclose(model(np.array([[10.0]])), [[11.0]], rtol=0.03)
    np.testing.assert_allclose(model.losses, [0.01], rtol=0.06)


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_batch_norm_of_a_trainable_layer_learns_and_gathers_statistics(batch_norm, run_eagerly):
    layer = HubLayer(batch_norm, trainable=True)
    model = _functional(layer)
    model.compile(keras.optimizers.SGD(0.1), "mean_squared_error", run_eagerly=run_eagerly)
    x = np.array([[11.0], [12.0], [13.0]], np.float32)
    model.fit(tf.data.Dataset.from_tensors((x, 2 * x)).repeat(100), shuffle=False, verbose=0)
    learned = _numpy(layer.weights)
    np.testing.assert_allclose(learned["bn.moving_mean"], [12.0], rtol=1e-5)
    np.testing.assert_allclose(learned["bn.beta"], [24.0], rtol=1e-5)
    for _ in range(3):  # evaluation uses the statistics and leaves them alone
        np.testing.assert_allclose(model(np.array([[10.0], [20.0]])), [[20.0], [40.0]], rtol=1e-4)
    np.testing.assert_array_equal(_numpy(layer.weights)["bn.moving_mean"], learned["bn.moving_mean"])


def test_a_frozen_layer_runs_in_inference_mode_whatever_training_says(batch_norm, dropout):
    frozen = HubLayer(batch_norm)
    before = _numpy(frozen.weights)
    model = _functional(frozen, keras.layers.Dense(1, kernel_initializer="ones"))
    model.compile(keras.optimizers.SGD(0.01), "mean_squared_error")
    model.fit(COLUMN, 2 * COLUMN, epochs=3, verbose=0)
    frozen(COLUMN, training=True)
    after = _numpy(frozen.weights)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)
    ones = np.ones((100, 1), np.float32)
    np.testing.assert_array_equal(HubLayer(dropout)(ones, training=True), ones)


def test_a_trainable_layer_follows_training_and_else_the_call_around_it(dropout):
    layer = HubLayer(dropout, trainable=True)
    ones = np.ones((100, 1), np.float32)
    assert set(np.ravel(layer(ones, training=True))) == {0.0, 2.0}
    assert set(np.ravel(layer(ones, training=False))) == {1.0}
    assert set(np.ravel(layer(ones))) == {1.0}
    model = keras.Sequential([layer])
    assert set(np.ravel(model(ones, training=True))) == {0.0, 2.0}
    assert set(np.ravel(model(ones))) == {1.0}


def test_training_may_be_a_tensor(dropout):
    layer = HubLayer(dropout, trainable=True)
    step = tf.function(lambda training: layer(tf.ones([100, 1]), training=training))
    assert set(np.ravel(step(tf.constant(True)))) == {0.0, 2.0}
    assert set(np.ravel(step(tf.constant(False)))) == {1.0}


def test_regularization_losses_count_once_and_only_while_the_layer_trains(half_plus_one):
    layer = HubLayer(half_plus_one)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, layer(layer(inputs)))  # used twice
    np.testing.assert_array_equal(model.losses, [0.0])
    for _ in range(2):
        layer.trainable = True
        np.testing.assert_allclose(model.losses, [0.0025])
        layer.trainable = False
        np.testing.assert_array_equal(model.losses, [0.0])
    layer.trainable = True
    model(COLUMN)
    np.testing.assert_allclose(model.losses, [0.0025])


def test_one_layer_used_twice_has_one_set_of_weights_and_both_gradients(half_plus_one):
    layer = HubLayer(half_plus_one, trainable=True)
    left, right = keras.Input((1,)), keras.Input((1,))
    model = keras.Model([left, right], layer(left) + layer(right))
    assert len(model.weights) == 3
    model.compile(keras.optimizers.SGD(0.1), lambda _, prediction: keras.ops.sum(prediction))
    model.fit([COLUMN[:1] + 1, COLUMN[:1] + 2], COLUMN[:1], verbose=0)
    # sum gives 1 + 2, the L2 loss 2 * 0.01 * 0.5
    np.testing.assert_allclose(layer.trainable_weights[0], [[0.5 - 0.1 * 3.01]], rtol=1e-5)


def test_layers_over_one_object_share_its_weights_and_update_them_once_a_step(half_plus_one):
    module = tf.saved_model.load(half_plus_one)
    module.regularization_losses = []
    one, other = HubLayer(module, trainable=True), HubLayer(module, trainable=True)
    inputs = keras.Input((1,))
    model = keras.Model(inputs, one(inputs) + other(inputs))
    assert len(model.trainable_weights) == 1
    model.compile(keras.optimizers.SGD(0.1), lambda _, prediction: keras.ops.sum(prediction))
    model.fit(np.ones((1, 1)), np.ones((1, 1)), verbose=0)
    np.testing.assert_allclose(module.trainable_variables[0], [[0.5 - 0.1 * 2]], rtol=1e-6)
    one.trainable = False
    assert one.trainable_weights == []
    assert len(other.trainable_weights) == 1


def test_trains_as_the_module_does_by_itself(half_plus_one):
    """A gradient through the layer is the gradient through the module: the variables are the module's own."""
    layer = HubLayer(half_plus_one, trainable=True)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(COLUMN))
    gradient = tape.gradient(loss, layer.trainable_weights[0].value)
    np.testing.assert_array_equal(gradient, [[COLUMN.sum()]])
    assert layer.trainable_weights[0].value is layer.resolved_object.trainable_variables[0]


def test_says_once_that_nothing_trains(linear_arguments, caplog):
    layer = HubLayer(linear_arguments, trainable=True)
    with caplog.at_level(logging.ERROR):
        layer(COLUMN)
        layer(COLUMN)
    assert ["zero trainable weights" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("tf1_half_plus_one", {}),
        ("plus_one", {"signature": "serving_default", "output_key": "output_0"}),
        ("plus_one", {"signature": "serving_default", "signature_outputs_as_dict": True}),
    ],
)
def test_a_signature_or_tf1_module_cannot_train(module, options, request):
    layer = HubLayer(request.getfixturevalue(module), trainable=True, **options)
    with pytest.raises(ValueError, match=r"trainable.*=.*True.*unsupported"):
        layer(COLUMN)
    with pytest.raises(ValueError, match=r"trainable.*=.*True.*unsupported"):
        layer(keras.Input((1,)))
    layer.trainable = False
    layer(COLUMN)


def test_keeps_its_types_under_mixed_precision_and_never_asks_for_xla(half_plus_one):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layer = HubLayer(half_plus_one, trainable=True)
        model = _functional(layer, keras.layers.Dense(1))
        model.compile("adam", "mean_squared_error", jit_compile="auto")
        model.fit(COLUMN, COLUMN, verbose=0)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert layer.compute_dtype == "float32"
    assert layer(COLUMN).dtype == tf.float32
    assert not layer.supports_jit
    assert not model.jit_compile


# Inputs and outputs


def test_calls_a_module_and_its_signature(plus_one):
    assert HubLayer(plus_one)(10.0) == 11.0
    assert HubLayer(plus_one, signature="serving_default", output_key="output_0")(10.0) == 11.0
    outputs = HubLayer(plus_one, signature="serving_default", signature_outputs_as_dict=True)(10.0)
    assert outputs == {"output_0": 11.0}


def test_a_signature_takes_a_dict_as_keyword_arguments(only_signature):
    layer = HubLayer(only_signature, signature="add", output_key="total")
    np.testing.assert_array_equal(layer({"x": COLUMN, "y": COLUMN}), 2 * COLUMN)
    symbols = {"x": keras.Input((1,), name="x"), "y": keras.Input((1,), name="y")}
    model = keras.Model(symbols, layer(symbols))
    np.testing.assert_array_equal(model.predict({"x": COLUMN, "y": COLUMN}, verbose=0), 2 * COLUMN)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"signature": "default"},
        {"output_key": "default"},
        {"signature": "default", "output_key": "default"},
        {"signature_outputs_as_dict": True},
        {"signature": "default", "signature_outputs_as_dict": True},
    ],
)
def test_a_tf1_hub_module_has_default_names(tf1_half_plus_one, options):
    layer = HubLayer(tf1_half_plus_one, **options)
    outputs = layer(COLUMN)
    if "signature_outputs_as_dict" in options:
        assert set(outputs) == {"default"}
        outputs = outputs["default"]
    np.testing.assert_array_equal(outputs, COLUMN / 2 + 1)
    assert _functional(HubLayer.from_config(_through_json(layer.get_config()))).count_params() == 2


def test_tags_choose_the_graph(tf1_two_graphs):
    assert HubLayer(tf1_two_graphs)([[8.0]]) == 5.0
    assert HubLayer(tf1_two_graphs, tags=["train"])([[8.0]]) == 6.0
    layer = HubLayer(tf1_two_graphs, tags=["train"])
    assert HubLayer.from_config(_through_json(layer.get_config()))([[8.0]]) == 6.0


def test_arguments_reach_the_module_and_its_defaults_hold(linear_arguments):
    layer = HubLayer(linear_arguments, arguments={"a": 10.0})
    np.testing.assert_array_equal(layer(COLUMN), 10 * COLUMN)
    again = HubLayer.from_config(_through_json(layer.get_config()))
    np.testing.assert_array_equal(again(COLUMN), 10 * COLUMN)


@pytest.mark.parametrize("output_shape", [None, {"sigma": (2,), "delta": (1,)}])
def test_takes_and_returns_dicts(dict_io, output_shape):
    layer = HubLayer(dict_io, arguments={"return_dict": True}, output_shape=output_shape)
    symbols = {"x": keras.Input((1,), name="x"), "y": keras.Input((1,), name="y")}
    outputs = layer(symbols)
    assert {key: tuple(value.shape) for key, value in outputs.items()} == {"sigma": (None, 2), "delta": (None, 1)}
    model = keras.Model(symbols, keras.layers.concatenate([outputs["delta"], outputs["sigma"]]))
    x, y = np.array([[11.0], [22.0]], np.float32), np.array([[1.0], [2.0]], np.float32)
    np.testing.assert_array_equal(model({"x": x, "y": y}), [[10.0, 12.0, 13.0], [20.0, 24.0, 26.0]])
    again = HubLayer.from_config(_through_json(layer.get_config()))
    np.testing.assert_array_equal(again({"x": x, "y": y})["delta"], x - y)


def test_takes_and_returns_nests(lists_in_dict):
    layer = HubLayer(lists_in_dict)
    symbols = [keras.Input((1,)), {"scale": keras.Input((1,), name="scale")}]
    outputs = layer(symbols)
    assert [tuple(each.shape) for each in outputs["layers"]] == [(None, 1), (None, 1)]
    model = keras.Model(symbols, outputs)
    for called in (layer([COLUMN, {"scale": COLUMN}]), model([COLUMN, {"scale": COLUMN}])):
        np.testing.assert_array_equal(called["layers"][1], COLUMN**2)
        np.testing.assert_array_equal(called["pooled"], np.ravel(COLUMN**2))


@pytest.mark.parametrize("output_shape", [None, [[1], [2, 2], [3, 3, 3]]])
def test_output_shape_sets_what_cannot_be_inferred(hidden_shapes, output_shape):
    layer = HubLayer(hidden_shapes, output_shape=output_shape)
    symbols = layer(keras.Input((1,)))
    expected = [(None, *([size] * size if output_shape else [None] * size)) for size in (1, 2, 3)]
    assert [tuple(each.shape) for each in symbols] == expected
    values = layer(np.array([[1.0], [10.0]]))
    assert [tuple(each.shape) for each in values] == [(2, 1), (2, 2, 2), (2, 3, 3, 3)]
    np.testing.assert_array_equal(values[1][1], [[20.0, 20.0], [20.0, 20.0]])
    again = HubLayer.from_config(_through_json(layer.get_config()))
    assert [tuple(each.shape) for each in again(keras.Input((1,)))] == expected


@pytest.mark.parametrize("output_shape", [[5], [[1], [2]], {"sigma": [2]}])
def test_a_wrong_output_shape_is_refused(half_plus_one, output_shape):
    with pytest.raises(ValueError, match="output_shape gives"):
        HubLayer(half_plus_one, output_shape=output_shape)(COLUMN)


def test_computes_output_shapes(half_plus_one, text_lengths, dict_io, hidden_shapes):
    assert HubLayer(half_plus_one).compute_output_shape((10, 1)) == (10, 1)
    assert HubLayer(half_plus_one).compute_output_shape((10, 1)).as_list() == [10, 1]
    assert HubLayer(text_lengths).compute_output_shape((None,)).as_list() == [None, 2]
    assert HubLayer(text_lengths, output_shape=(2,)).compute_output_shape((3,)).as_list() == [3, 2]
    shapes = HubLayer(dict_io, arguments={"return_dict": True}).compute_output_shape({"x": (3, 1), "y": (3, 1)})
    assert shapes == {"sigma": (3, 2), "delta": (3, 1)}
    pinned = HubLayer(hidden_shapes, output_shape=[[1], [2, 2], [3, 3, 3]]).compute_output_shape((None, 1))
    assert [shape.as_list() for shape in pinned] == [[None, 1], [None, 2, 2], [None, 3, 3, 3]]


@pytest.mark.parametrize(
    "texts",
    [
        ["a", "bb"],
        ("a", "bb"),
        np.array(["a", "bb"]),
        np.array([b"a", b"bb"]),
        np.array(["a", "bb"], object),
        tf.constant(["a", "bb"]),
    ],
    ids=["list", "tuple", "str array", "bytes array", "object array", "tensor"],
)
def test_takes_text_in_any_form(text_lengths, texts):
    np.testing.assert_allclose(HubLayer(text_lengths)(texts), [[0.1, 0.3], [0.2, 0.6]])


def test_trains_on_text_in_a_functional_and_in_a_sequential_model(text_lengths):
    inputs = keras.Input((), dtype="string")
    functional = keras.Model(inputs, HubLayer(text_lengths, trainable=True)(inputs))
    # The second is how code for Keras 2 has it.
    old = keras.Sequential(
        [HubLayer(text_lengths, trainable=True, input_shape=[], dtype=tf.string), keras.layers.Dense(2)]
    )
    plain = keras.Sequential([HubLayer(text_lengths, trainable=True, dtype="string"), keras.layers.Dense(2)])
    assert old.built
    for model in (functional, old, plain):
        before = model.get_weights()[0]
        model.compile("sgd", "mean_squared_error")
        model.fit(np.array(["a", "bb"], object), np.zeros((2, 2)), verbose=0)
        assert np.any(model.get_weights()[0] != before)


def test_takes_and_returns_ragged_tensors(ragged_mean):
    layer = HubLayer(ragged_mean)
    rows = tf.ragged.constant([[1.0, 2.0], [3.0]])
    outputs = layer(rows)
    assert outputs["doubled"].to_list() == [[2.0, 4.0], [6.0]]
    inputs = keras.Input((None,), ragged=True)
    symbols = layer(inputs)
    assert symbols["doubled"].ragged
    assert tuple(symbols["mean"].shape) == (None, 1)
    model = keras.Model(inputs, symbols["mean"])
    np.testing.assert_array_equal(model(rows), [[1.5], [3.0]])
    np.testing.assert_array_equal(model.predict(tf.data.Dataset.from_tensors(rows), verbose=0), [[1.5], [3.0]])


# Config


def test_a_config_survives_json(half_plus_one):
    layer = HubLayer(half_plus_one, trainable=True, name="embed")
    again = HubLayer.from_config(_through_json(layer.get_config()))
    assert (again.name, again.trainable) == ("embed", True)
    np.testing.assert_array_equal(again(COLUMN), layer(COLUMN))


@pytest.mark.parametrize("custom_objects", [None, {"HubLayer": HubLayer}])
def test_a_model_survives_json(half_plus_one, custom_objects):
    model = keras.Sequential([HubLayer(half_plus_one)])
    expected = model(COLUMN)
    again = keras.models.model_from_json(model.to_json(), custom_objects=custom_objects)
    np.testing.assert_array_equal(again(COLUMN), expected)
    np.testing.assert_array_equal(keras.models.clone_model(_functional(model.layers[0]))(COLUMN), expected)


def test_a_callable_has_no_config(half_plus_one):
    with pytest.raises(NotImplementedError, match=r"string as handle, got function.*tf\.saved_model\.save"):
        HubLayer(lambda x: x).get_config()


def test_arguments_that_json_cannot_hold_are_refused_in_a_config(linear_arguments):
    layer = HubLayer(linear_arguments, arguments={"a": tf.constant(2.0)})
    np.testing.assert_array_equal(layer(COLUMN), 2 * COLUMN)
    with pytest.raises(ValueError, match="non json-serializable values in key: a"):
        layer.get_config()


# Callables


def test_a_function_is_a_handle():
    layer = HubLayer(lambda x, training: x + 1 if training else x, trainable=True)
    np.testing.assert_array_equal(layer(COLUMN, training=True), COLUMN + 1)
    np.testing.assert_array_equal(layer(COLUMN), COLUMN)
    assert layer.weights == []


def test_a_tf_module_is_a_handle_with_its_variables_and_losses():
    class Scale(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.factor = tf.Variable(3.0, name="factor")
            self.steps = tf.Variable(0, trainable=False, name="steps")
            self.regularization_losses = [lambda: 0.5 * self.factor]

        def __call__(self, x: tf.Tensor) -> tf.Tensor:
            return x * self.factor

    module = Scale()
    layer = HubLayer(module, trainable=True)
    np.testing.assert_array_equal(layer(COLUMN), 3 * COLUMN)
    assert layer.resolved_object is module
    assert [weight.name for weight in layer.trainable_weights] == ["factor"]
    assert [weight.name for weight in layer.non_trainable_weights] == ["steps"]
    assert layer.losses == [1.5]
    layer.trainable_weights[0].assign(2.0)
    assert module.factor.numpy() == 2.0


def test_losses_that_are_no_callables_are_refused():
    module = tf.Module()
    module.regularization_losses = [tf.constant(1.0)]
    module.__class__.__call__ = lambda self, x: x
    try:
        with pytest.raises(ValueError, match="Expected callables without arguments"):
            HubLayer(module)
    finally:
        del module.__class__.__call__


def test_custom_attributes_are_reached_through_the_resolved_object(vocabulary):
    layer = HubLayer(vocabulary)
    words = tf.io.read_file(layer.resolved_object.words.asset_path).numpy().split()
    assert words == [b"book", b"flight", b"refund"]
    np.testing.assert_array_equal(layer(words)["embedding"], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


# Errors


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        ("plus_one", {"signature": "serving_default"}, "either output_key or signature_outputs_as_dict=True should be"),
        (
            "plus_one",
            {"signature": "default", "signature_outputs_as_dict": True, "output_key": "output"},
            "either output_key or signature_outputs_as_dict=True should be",
        ),
        ("plus_one", {"signature_outputs_as_dict": True}, "only valid if specifying a signature"),
        ("plus_one", {"signature": "serve", "output_key": "x"}, r"Unknown signature 'serve'.*\['serving_default'\]"),
        ("plus_one", {"tags": ["train"]}, r"Unknown tags \['train'\].*\[\['serve'\]\]"),
        ("tf1_two_graphs", {"tags": ["x"]}, r"Unknown tags \['x'\].*\[\[\], \['train'\]\]"),
        ("only_signature", {}, r"not callable.*\['add'\]"),
        ("plus_one", {"output_shape": "wide"}, "Got 'wide' in output_shape"),
    ],
)
def test_a_contradictory_request_is_refused_in_one_line(module, options, message, request):
    with pytest.raises(ValueError, match=message) as caught:
        HubLayer(request.getfixturevalue(module), **options)
    assert "\n" not in str(caught.value)


def test_output_keys_that_do_not_fit_are_refused(plus_one, tf1_half_plus_one):
    with pytest.raises(ValueError, match="Specifying `output_key` is forbidden if output type"):
        HubLayer(plus_one, output_key="output_0")(10.0)
    with pytest.raises(
        ValueError, match=r"output does not contain the output key 'unknown' \(available: \['default'\]"
    ):
        HubLayer(tf1_half_plus_one, output_key="unknown")(COLUMN)
