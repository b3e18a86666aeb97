"""The learning rate of each variable, and the pulls on it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfembed.optimizers import BlockwiseAdamW, with_warmup

GRADIENTS = np.random.default_rng(0).normal(size=(6, 2, 3)).astype("float32")


def variables():
    return [keras.Variable([1.0, -2.0, 3.0], name="low"), keras.Variable([0.5, 0.0, -0.5], name="high")]


def run(optimizer, trained):
    for gradients in GRADIENTS:
        optimizer.apply([tf.constant(gradient) for gradient in gradients], trained)
    return [variable.numpy() for variable in trained]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rates_are_those_of_one_optimizer_per_group(weight_decay):
    """A factor of a variable gives, step by step, what an AdamW of its own with that learning rate gives."""
    together = variables()
    decayed = frozenset(id(variable) for variable in together)
    optimizer = BlockwiseAdamW(0.02, {id(together[0]): 0.25}, weight_decay=weight_decay, decayed=decayed)
    found, expected = run(optimizer, together), []
    for i, rate in enumerate((0.005, 0.02)):
        alone = variables()[i]
        own = keras.optimizers.AdamW(rate, weight_decay=weight_decay)
        for gradients in GRADIENTS:
            own.apply([tf.constant(gradients[i])], [alone])
        expected.append(alone.numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_only_chosen_weights_are_pulled():
    """Weight decay and L2-SP act on the variables that are named, and on no other."""
    free, pulled = variables(), variables()
    run(BlockwiseAdamW(0.02, {}), free)
    run(BlockwiseAdamW(0.02, {}, weight_decay=0.5, l2_sp=0.5, decayed=frozenset({id(pulled[1])})), pulled)
    np.testing.assert_array_equal(free[0].numpy(), pulled[0].numpy())
    assert not np.allclose(free[1].numpy(), pulled[1].numpy())


def test_the_pull_to_the_start_ends_there():
    """With no gradient to speak of, L2-SP draws a weight back to where it was when training began, not to zero."""
    variable = keras.Variable([2.0])
    optimizer = BlockwiseAdamW(0.1, {}, l2_sp=2.0, decayed=frozenset({id(variable)}))
    optimizer.apply([tf.constant([5.0])], [variable])
    away = abs(float(variable.numpy()[0]) - 2.0)
    variable.assign([3.0])
    for _ in range(60):
        optimizer.apply([tf.constant([0.0])], [variable])
    assert away > 0.05
    assert abs(float(variable.numpy()[0]) - 2.0) < 0.1


def test_a_warmup_rises_and_stays():
    """The rate rises from zero in its share of the steps, then stays; without a share it is the number itself."""
    schedule = with_warmup(0.4, 0.25, 40)
    assert [round(float(schedule(step)), 3) for step in (0, 5, 10, 11, 39, 100)] == [0.0, 0.2, 0.4, 0.4, 0.4, 0.4]
    assert with_warmup(0.4, 0.0, 40) == 0.4
    assert with_warmup(0.4, 0.01, 10) == 0.4


def test_a_graph_trains_as_eager_does():
    """Compiled into a model, the factors act too: a factor of zero leaves its layer where it was."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="low"), keras.layers.Dense(1, name="high")])
    factors = {id(variable): 0.0 for variable in model.get_layer("low").variables}
    model.compile(BlockwiseAdamW(0.1, factors, l2_sp=0.1), "mse")
    before = model.get_weights()
    model.fit(np.ones((8, 2), "float32"), np.ones((8, 1), "float32"), epochs=2, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [False, False, True, True]


def test_tables_are_updated_as_if_every_row_had_a_gradient():
    """Rows keep moving after their last gradient, as Adam's momentum has it; rows that never had one stay."""
    sparse, dense = (keras.Variable(np.arange(10.0, dtype="float32").reshape(5, 2)) for _ in range(2))
    ours, keras_own = BlockwiseAdamW(0.1, {}), keras.optimizers.Adam(0.1)
    for indices in ([1, 3, 1], [3, 4, 4], [1, 1, 3], [4, 4, 4]):
        values = tf.constant(np.random.default_rng(indices).normal(size=(3, 2)), tf.float32)
        ours.apply([tf.IndexedSlices(values, tf.constant(indices), tf.constant([5, 2]))], [sparse])
        keras_own.apply([tf.math.unsorted_segment_sum(values, tf.constant(indices), 5)], [dense])
        np.testing.assert_allclose(sparse.numpy(), dense.numpy(), rtol=1e-5)
    assert np.array_equal(sparse.numpy()[[0, 2]], np.arange(10.0).reshape(5, 2)[[0, 2]])
