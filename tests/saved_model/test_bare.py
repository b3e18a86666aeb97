"""A function as a bare graph: the same results from constants, dense layers as matrix products, bfloat16 on request."""

import numpy as np
import pytest
import tensorflow as tf

from tfembed.saved_model.bare import bare
from tfembed.saved_model.graph import CutError

RNG = np.random.default_rng(0)


def concrete(function, *specs):
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def ops(graph):
    return [operation.type for operation in graph.graph.get_operations()]


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize(
    ("equation", "rows", "kernel"),
    [
        ("abc,cde->abde", (2, 3, 4), (4, 2, 5)),
        ("abcd,cde->abe", (2, 3, 4, 2), (4, 2, 5)),
        ("ab,bc->ac", (3, 4), (4, 2)),
    ],
)
def test_an_einsum_of_a_dense_layer_is_a_matrix_product(equation, rows, kernel, dtype):
    """Dimensions are collapsed around one product of two matrices, the bias is on it, and the result is the same."""
    weight, bias = tf.Variable(RNG.normal(size=kernel), dtype=tf.float32), tf.Variable([0.5] * kernel[-1])
    function = concrete(lambda x: tf.einsum(equation, x, weight) + bias, tf.TensorSpec([None, *rows[1:]]))
    given = tf.constant(RNG.normal(size=rows), tf.float32)
    graph = bare(function, [weight, bias], dtype)
    assert "Einsum" not in ops(graph)
    assert ops(graph).count("MatMul") == 1
    (found,) = graph(given)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, function(given), atol=0.1 if dtype == tf.bfloat16 else 1e-5)


def test_other_einsums_stay():
    """Where a kernel is transposed, the op is left as it is."""
    weight = tf.Variable(RNG.normal(size=(5, 4)), dtype=tf.float32)
    function = concrete(lambda x: tf.einsum("abc,dc->abd", x, weight), tf.TensorSpec([None, None, 4]))
    graph = bare(function, [weight])
    given = tf.constant(RNG.normal(size=(2, 3, 4)), tf.float32)
    assert "Einsum" in ops(graph)
    np.testing.assert_allclose(graph(given)[0], function(given), atol=1e-5)


def test_a_product_that_is_also_an_output_keeps_its_value():
    """A bias is not drawn into a product that is wanted without it."""
    weight, bias = tf.Variable(RNG.normal(size=(4, 3)), dtype=tf.float32), tf.Variable([1.0, 2.0, 3.0])

    def both(x):
        product = tf.einsum("abc,cd->abd", x, weight)
        return product, product + bias

    given = tf.constant(RNG.normal(size=(2, 3, 4)), tf.float32)
    function = concrete(both, tf.TensorSpec([None, None, 4]))
    for found, expected in zip(bare(function, [weight, bias])(given), function(given), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_weights_are_stored_once_and_in_bfloat16():
    """A weight that is used twice is captured once, in the type it is used in."""
    weight = tf.Variable(RNG.normal(size=(16, 16)), dtype=tf.float32)
    function = concrete(lambda x: tf.nn.relu(x @ weight) @ weight, tf.TensorSpec([None, 16]))
    for dtype in (tf.float32, tf.bfloat16):
        captured = [tensor for tensor, _ in bare(function, [weight], dtype).graph.captures]
        assert [tensor.dtype for tensor in captured] == [dtype]


def test_norms_softmax_and_reductions_stay_in_float32():
    """In a graph of bfloat16 products, what sums many values up does it in float32."""
    weight = tf.Variable(RNG.normal(size=(16, 16)), dtype=tf.float32)

    def function(x):
        product = x @ weight
        return tf.nn.softmax(product) + tf.reduce_mean(product, axis=-1, keepdims=True)

    graph = bare(concrete(function, tf.TensorSpec([None, 16])), [weight], tf.bfloat16)
    types = {
        o.type: o.outputs[0].dtype for o in graph.graph.get_operations() if o.type in ("MatMul", "Softmax", "Mean")
    }
    assert types == {"MatMul": tf.bfloat16, "Softmax": tf.float32, "Mean": tf.float32}


def test_what_needs_no_input_is_computed_once():
    """Arithmetic on weights alone is not in the graph any more."""
    weight = tf.Variable(RNG.normal(size=(16, 16)), dtype=tf.float32)
    function = concrete(lambda x: x @ tf.exp(tf.transpose(weight)), tf.TensorSpec([None, 16]))
    graph = bare(function, [weight])
    assert not {"Exp", "Transpose", "ReadVariableOp"} & set(ops(graph))
    np.testing.assert_allclose(graph(tf.ones([2, 16]))[0], function(tf.ones([2, 16])), rtol=1e-5)


def refused(name):
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer([1, 2], [3.0, 4.0], tf.int32, tf.float32), 0.0
    )
    numbers, texts = tf.TensorSpec([None]), tf.TensorSpec([None], tf.string)
    keep = tf.Variable(0.0)
    functions = {
        "texts": (lambda x: tf.strings.to_number(x), texts),
        "random numbers": (lambda x: x + tf.random.normal([1]), numbers),
        "table": (lambda x: table.lookup(tf.cast(x, tf.int32)), numbers),
        "control flow": (
            lambda x: tf.while_loop(lambda y: tf.reduce_sum(y) < 9.0, lambda y: (y + 1.0,), (x,))[0],
            numbers,
        ),
        "unknown variable": (lambda x: x * keep, numbers),
    }
    function, spec = functions[name]
    return concrete(function, spec), (table, keep)


@pytest.mark.parametrize("name", ["texts", "random numbers", "table", "control flow", "unknown variable"])
def test_what_a_graph_of_constants_cannot_do_is_refused(name):
    """Texts, random numbers, tables, loops and variables that nobody named raise CutError."""
    function, _alive = refused(name)
    with pytest.raises(CutError, match="keep"):
        bare(function, [])
