"""A function's graph lies flat, says what it depends on, and any part of it can be used."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_modules import ROWS, flat_dense, weight

from tfembed.saved_model.flatten import flatten
from tfembed.saved_model.graph import CutError, FlatGraph, base, import_part, trace
from tfembed.saved_model.match import match
from tfembed.saved_model.probe import measure


@pytest.fixture
def kernel() -> tf.Variable:
    return weight("kernel", 4, 4)


def flat(call: object, kernel: tf.Variable, *specs: tf.TensorSpec, **constants: object) -> FlatGraph:
    concrete = tf.function(call, autograph=False).get_concrete_function(*(specs or (ROWS,)))
    return flatten(concrete, [kernel], constants)


def test_no_calls_are_left(kernel: tf.Variable) -> None:
    """Functions that call functions become one graph that computes the same."""
    inner = tf.function(lambda x: flat_dense(x, kernel))
    outer = tf.function(lambda x: inner(inner(x)))
    graph, x = flat(lambda x: outer(x) + 1.0, kernel), tf.ones([3, 4])
    assert not [node.op for node in graph.nodes.values() if "Call" in node.op]
    (result,) = trace(lambda x: import_part(graph, graph.outputs, {graph.inputs[0]: x}), ROWS)(x)
    np.testing.assert_allclose(result, outer(x) + 1.0, rtol=1e-6)


def test_variables_are_read_live(kernel: tf.Variable) -> None:
    """A part sees the variable's value of the moment, and a tape around it reaches the variable."""
    graph, x = flat(lambda x: x @ kernel, kernel), tf.ones([2, 4])
    run = trace(lambda x: import_part(graph, graph.outputs, {graph.inputs[0]: x}), ROWS)
    kernel.assign(tf.eye(4))
    with tf.GradientTape() as tape:
        (result,) = run(x)
    np.testing.assert_array_equal(result, x)
    np.testing.assert_array_equal(tape.gradient(result, kernel), np.full((4, 4), 2.0))


@pytest.mark.parametrize("value", [True, False])
def test_conditionals_on_a_given_value_are_decided(kernel: tf.Variable, value: bool) -> None:
    """Only the branch that is taken remains, also of a conditional within a branch."""

    def call(x: tf.Tensor, training: tf.Tensor) -> tf.Tensor:
        inner = tf.function(lambda x: tf.cond(training, lambda: tf.exp(x), lambda: tf.sin(x)))
        return tf.cond(tf.logical_not(training), lambda: inner(x), lambda: inner(flat_dense(x, kernel)))

    graph = flat(call, kernel, ROWS, tf.TensorSpec([], tf.bool), training=value)
    kinds = {graph.nodes[name].op for name in graph.ancestors(graph.outputs)}
    assert not kinds & {"If", "StatelessIf"}
    assert ("Exp" in kinds, "Tanh" in kinds, "Sin" in kinds) == (value, value, not value)


def test_a_part_without_its_inputs_is_refused(kernel: tf.Variable) -> None:
    """What is needed and not fed is named."""
    graph = flat(lambda x: flat_dense(x, kernel), kernel)
    with pytest.raises(CutError, match=r"needs the module's inputs \['x'\]"):
        trace(lambda: import_part(graph, graph.outputs, {}))


def test_random_ops_are_stateful_and_reads_are_not(kernel: tf.Variable) -> None:
    """What is drawn anew is told from what is read, also inside a conditional."""

    def call(x: tf.Tensor) -> tf.Tensor:
        return tf.cond(tf.reduce_sum(x) > 0, lambda: x @ kernel, lambda: x + tf.random.normal([]))

    graph = flat(call, kernel)
    assert [graph.nodes[name].op for name in graph.stateful(graph.nodes)] == ["If"]
    assert not (clean := flat(lambda x: flat_dense(x, kernel), kernel)).stateful(clean.nodes)


def test_what_is_batched_is_found_by_probing(kernel: tf.Variable) -> None:
    """Rows are told from sums over rows and from shapes, and other unknown sizes are followed."""
    graph = flat(lambda x: tf.concat([x, x], 1) - tf.reduce_sum(x), kernel, tf.TensorSpec([None, None]))
    shapes = measure(graph, [tf.TensorSpec([None, None])])
    joined = next(f"{name}:0" for name, node in graph.nodes.items() if node.op == "ConcatV2")
    summed = next(f"{name}:0" for name, node in graph.nodes.items() if node.op == "Sum")
    assert shapes.batched(joined)
    assert not shapes.batched(summed)
    assert shapes.dimensions[joined][1] == tuple(2 * size for size in shapes.dimensions[graph.inputs[0]][1])
    assert shapes.spec(joined).shape.as_list() == [None, None]


def test_dropout_is_stepped_over(kernel: tf.Variable) -> None:
    """What stands behind the dropout takes the place of the tensor, and what stands before it is known."""
    plain = flat(lambda x: flat_dense(flat_dense(x, kernel), kernel), kernel)
    noisy = flat(lambda x: flat_dense(tf.nn.dropout(flat_dense(x, kernel), 0.5), kernel), kernel)
    found = match(plain, noisy)
    partner = found.partner("Tanh:0")
    assert not found.differences
    assert noisy.nodes[base(partner)].op in ("Mul", "SelectV2")
    assert found.bypasses[partner] == "Tanh:0"


def test_a_tensor_used_with_and_without_dropout_keeps_its_place(kernel: tf.Variable) -> None:
    """Where a residual connection goes past the dropout, the tensor before the dropout is the one that crosses."""

    def call(x: tf.Tensor, drop: bool) -> tf.Tensor:
        x = flat_dense(x, kernel)
        return x + flat_dense(tf.nn.dropout(x, 0.5) if drop else x, kernel)

    found = match(flat(lambda x: call(x, False), kernel), flat(lambda x: call(x, True), kernel))
    assert found.partner("Tanh:0") == "Tanh:0"


def test_other_differences_are_written_down(kernel: tf.Variable) -> None:
    """Functions of different form do not match, and the first differing ops are named."""
    found = match(flat(lambda x: tf.exp(flat_dense(x, kernel)), kernel), flat(lambda x: flat_dense(x, kernel), kernel))
    assert "Exp" in found.differences[0]
    assert "Tanh" in found.differences[0]
