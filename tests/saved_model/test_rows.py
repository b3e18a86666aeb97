"""Reshapes behind matrix products: moved behind what works number by number, and nowhere else."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.saved_model.bare import bare

RNG = np.random.default_rng(0)
KERNEL, BIAS, OTHER = (tf.constant(RNG.normal(size=size), tf.float32) for size in ((4, 6), (6,), (4, 6)))
GIVEN = tf.constant(RNG.normal(size=(2, 3, 4)), tf.float32)


def apart(x, kernel=KERNEL, dtype=tf.int32):
    """What most dense layers come to: rows, a product, and their shape again."""
    shape = tf.concat([tf.shape(x, dtype)[:-1], tf.constant([6], dtype)], 0)
    return tf.reshape(tf.reshape(x, [-1, 4]) @ kernel, shape)


def dense(x):
    return tf.tensordot(x, KERNEL, 1) + BIAS


def both(x):
    first = dense(x)
    return first, tf.tanh(first)


def split(x):
    heads = tf.reshape(apart(x), [tf.shape(x)[0], -1, 2, 3])
    return tf.tanh(heads + tf.reshape(tf.range(6.0), [2, 3]))


MOVED = {
    "a bias and GELU": lambda x: tf.nn.gelu(dense(x)),
    "a bias and the other GELU": lambda x: tf.nn.gelu(dense(x), approximate=True),
    "a shape of int64": lambda x: tf.tanh(apart(x, dtype=tf.int64)),
    "a vector on the left": lambda x: tf.nn.relu(2.0 - BIAS * apart(x)),
    "what is wanted on the way": both,
    "another product": lambda x: tf.tensordot(tf.nn.gelu(dense(x)), tf.transpose(KERNEL), 1),
}
LEFT = {
    "of other dimensions": split,
    "with a column": lambda x: tf.tanh(apart(x) + tf.constant([[1.0], [2.0], [3.0]])),
    "with a matrix": lambda x: tf.tanh(apart(x) * tf.reshape(tf.range(18.0), [3, 6])),
    "with what is broadcast": lambda x: tf.tanh(apart(x) + tf.reshape(tf.reshape(x, [-1, 4]) @ OTHER, [-1, 1, 1, 6])),
    "with a channel that comes first": lambda x: tf.tanh(tf.nn.bias_add(apart(x), [0.1, 0.2, 0.3], "NCW")),
    "with its input": lambda x: tf.tanh(apart(x) + tf.concat([x, x[..., :2]], -1)),
}


def made(function, dtype=tf.float32):
    """The bare graph of a function, what it gives for the input, and what the function itself does."""
    concrete = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec([None, None, 4]))
    graph = bare(concrete, [], dtype)
    expected = concrete(GIVEN)
    return graph, graph(GIVEN), list(expected) if isinstance(expected, tuple) else [expected]


def on_rows(graph):
    return [operation for operation in graph.graph.get_operations() if operation.name.endswith("/on_rows")]


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("name", MOVED)
def test_what_works_number_by_number_is_done_on_rows(name, dtype):
    """Each such op takes two dimensions at most, and the results are the same, in their shape."""
    graph, found, expected = made(MOVED[name], dtype)
    moved = on_rows(graph)
    assert moved
    assert {operation.outputs[0].shape.rank for operation in moved} == {2}
    for result, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(result, wanted, atol=0.3 if dtype == tf.bfloat16 else 1e-5)


@pytest.mark.parametrize("name", LEFT)
def test_what_mixes_positions_is_left(name):
    """Where an operand differs from position to position, or the last dimension changes, nothing is moved."""
    graph, found, expected = made(LEFT[name])
    assert not on_rows(graph)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-5)
