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


def adamw(values, gradients, rates, *, weight_decay=0.0, l2_sp=0.0):
    """AdamW in NumPy (https://arxiv.org/abs/1711.05101), with a pull to the first values too; rates for each step."""
    start = np.array(values, np.float64)
    weight, mean, square = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        weight -= rate * (weight_decay * weight + l2_sp * (weight - start))
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * np.square(gradient)
        corrected = rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weight -= corrected * mean / (np.sqrt(square) + 1e-7)
    return weight


@pytest.mark.parametrize("size", [1.0, 1e-6])
@pytest.mark.parametrize("warmup", [0.0, 0.5])
@pytest.mark.parametrize("pulls", [{}, {"weight_decay": 0.4}, {"l2_sp": 0.7}, {"weight_decay": 0.4, "l2_sp": 0.7}])
def test_every_step_is_that_of_adamw(pulls, warmup, size):
    """Factor, warmup and pulls together give, step by step, what AdamW in NumPy gives; tiny gradients too."""
    low, high = variables()
    optimizer = BlockwiseAdamW(
        with_warmup(0.05, warmup, 6), {id(low): 0.25}, **pulls, decayed=frozenset({id(low), id(high)})
    )
    starts, gradients = [low.numpy(), high.numpy()], GRADIENTS * np.float32(size)
    for step in range(1, 7):
        optimizer.apply([tf.constant(gradient) for gradient in gradients[step - 1]], [low, high])
        rates = [0.05 * min(1.0, i / 3) if warmup else 0.05 for i in range(step)]
        for i, (variable, factor) in enumerate([(low, 0.25), (high, 1.0)]):
            expected = adamw(starts[i], gradients[:step, i], np.multiply(rates, factor), **pulls)
            np.testing.assert_allclose(variable.numpy(), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("pulls", [{}, {"weight_decay": 0.4, "l2_sp": 0.7}])
def test_tables_are_those_of_adamw(pulls):
    """Gradients of some rows, some of them several times, are those of a table that is zero elsewhere; factor and
    pulls act on all rows.
    """
    table = keras.Variable(np.arange(1.0, 13.0, dtype="float32").reshape(6, 2))
    start, dense, rng = table.numpy(), [], np.random.default_rng(0)
    optimizer = BlockwiseAdamW(0.1, {id(table): 0.5}, **pulls, decayed=frozenset({id(table)}))
    for indices in ([1, 3, 1, 1], [3, 4, 4, 0], [1, 1, 3, 0], [4, 4, 4, 4], [0, 3, 3, 1]):
        values = rng.normal(size=(4, 2)).astype("float32")
        optimizer.apply([tf.IndexedSlices(tf.constant(values), tf.constant(indices), tf.constant([6, 2]))], [table])
        dense.append(np.zeros((6, 2)))
        np.add.at(dense[-1], indices, values)
        expected = adamw(start, dense, [0.05] * len(dense), **pulls)
        np.testing.assert_allclose(table.numpy(), expected, rtol=2e-5)


@pytest.mark.parametrize(("warmup", "num_steps", "rising"), [(0.5, 8, 4), (0.1, 30, 3), (0.99, 10, 10), (0.3, 5, 2)])
def test_every_rate_of_a_warmup(warmup, num_steps, rising):
    """The rate is a straight line from zero to the end of its share of the steps, and the number itself from there."""
    schedule = with_warmup(0.3, warmup, num_steps)
    expected = [0.3 * min(1.0, step / rising) for step in range(num_steps)]
    np.testing.assert_allclose([float(schedule(step)) for step in range(num_steps)], expected, rtol=1e-5)
