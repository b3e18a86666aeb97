"""The hash of what a traced function computes."""

import pytest
import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from tfembed.encoders.graph_hash import GraphHash, hash_graph

NUMBERS = tf.TensorSpec([None], tf.float32)


def hash_of(function, *specs, variables=()) -> GraphHash:
    signature = specs or (NUMBERS,)
    return hash_graph(tf.function(function, autograph=False).get_concrete_function(*signature), variables)


def digest(function, *specs) -> str:
    return hash_of(function, *specs).digest()


@tf.function(autograph=False)
def squared(x):
    return x * x


@tf.function(autograph=False)
def negated(x):
    return -x


def doubled_in_a_loop(amount, limit=2):
    """A loop of TensorFlow 1 in another, as old modules have them."""
    graph = tf.Graph()
    version_2, control_flow_util.ENABLE_CONTROL_FLOW_V2 = control_flow_util.ENABLE_CONTROL_FLOW_V2, False
    try:
        with graph.as_default():
            x = tf.compat.v1.placeholder(tf.float32, [None], name="x")

            def outer(i, y):
                return i + 1, 2 * loop(lambda j, z: (j + 1, z + amount), y)

            def loop(body, y):
                return tf.compat.v1.while_loop(lambda i, _: i < limit, body, [tf.constant(0), y])[1]

            tf.identity(loop(outer, x), name="y")
    finally:
        control_flow_util.ENABLE_CONTROL_FLOW_V2 = version_2
    graph_def = graph.as_graph_def()
    return lambda x: tf.compat.v1.import_graph_def(graph_def, input_map={"x": x}, return_elements=["y:0"])[0]


PAIRS = {
    "ops": (lambda x: x + 1.0, lambda x: x - 1.0),
    "constants": (lambda x: x + 1.0, lambda x: x + 2.0),
    "attributes": (lambda x: tf.cast(x, tf.int32), lambda x: tf.cast(x, tf.int64)),
    "wiring": (lambda x: (x + 1.0) * x, lambda x: (x + 1.0) * (x + 1.0)),
    "order of inputs": (lambda x: x - squared(x), lambda x: squared(x) - x),
    "which output": (lambda x: tf.split(x, [1, 1])[0], lambda x: tf.split(x, [1, 1])[1]),
    "functions that are called": (squared, negated),
    "functions in attributes": (
        lambda x: tf.cond(x[0] > 0, lambda: x, lambda: -x),
        lambda x: tf.cond(x[0] > 0, lambda: -x, lambda: x),
    ),
    "strings": (lambda x: tf.strings.join(["a", "b"]), lambda x: tf.strings.join(["a", "c"])),
    "loops of TensorFlow 1": (doubled_in_a_loop(1.0), doubled_in_a_loop(3.0)),
    "how long such a loop runs": (doubled_in_a_loop(1.0), doubled_in_a_loop(1.0, limit=3)),
}


@pytest.mark.parametrize(("one", "other"), PAIRS.values(), ids=PAIRS)
def test_what_is_computed_is_in_the_hash(one, other):
    """Traced twice it is the same, and of two that compute other things it differs."""
    again = doubled_in_a_loop(1.0) if one is PAIRS["loops of TensorFlow 1"][0] else one
    assert digest(one) == digest(again)
    assert digest(one) != digest(other)


def test_names_and_what_leads_to_no_output_do_not_count():
    """A check beside the outputs, and the names of nodes, change nothing."""

    def named(x):
        tf.debugging.assert_all_finite(x, "numbers expected")
        return tf.add(x, 1.0, name="something")

    assert digest(named) == digest(lambda x: x + 1.0)


def test_the_inputs_are_told_apart():
    """The first less the second is not the second less the first."""
    assert digest(lambda x, y: x - y, NUMBERS, NUMBERS) != digest(lambda x, y: y - x, NUMBERS, NUMBERS)


def test_the_outputs_are_in_order():
    """Two outputs that are exchanged are other outputs."""
    assert digest(lambda x: (x, -x)) != digest(lambda x: (-x, x))


def test_listed_variables_count_by_position_and_others_by_value():
    """Of variables in the list the place counts, whatever they hold; of others what they hold as the hash is taken."""
    a, b, c = (tf.Variable([value, value]) for value in (1.0, 2.0, 1.0))
    listed = hash_of(lambda x: x * a - b, variables=[a, b]).digest()
    assert hash_of(lambda x: x * a - b, variables=[b, a]).digest() != listed
    assert hash_of(lambda x: x * b - a, variables=[b, a]).digest() == listed
    before = hash_of(lambda x: x * a)
    assert before.digest() == digest(lambda x: x * c) != digest(lambda x: x * b)
    old = before.digest()
    a.assign([5.0, 5.0])
    assert before.digest() != old
    assert hash_of(lambda x: x * a - b, variables=[a, b]).digest() == listed


def table(values=(7, 8), default=0):
    keys = tf.constant(["a", "b"])
    initializer = tf.lookup.KeyValueTensorInitializer(keys, tf.constant(values, tf.int64))
    return tf.lookup.StaticHashTable(initializer, default)


def test_the_content_of_tables_counts():
    """Equal tables that were made apart are equal; another value or another default is not."""
    words = tf.TensorSpec([None], tf.string)
    tables = table(), table(), table((7, 9)), table(default=1)
    one, same, *others = [digest(each.lookup, words) for each in tables]
    assert one == same
    assert len({one, *others}) == 3


def test_a_table_is_hashed_as_it_is():
    """What is put into a table later is in the digest that is taken later."""
    changing = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, 0)
    hashed = hash_of(changing.lookup, tf.TensorSpec([None], tf.string))
    before = hashed.digest()
    changing.insert(tf.constant(["c"]), tf.constant([1], tf.int64))
    assert hashed.is_whole
    assert hashed.digest() != before


def test_what_calls_python_has_no_hash():
    """Code behind `tf.py_function` is in no graph, in a function that is called neither."""
    inner = tf.function(lambda x: tf.numpy_function(lambda y: y, [x], tf.float32), autograph=False)
    assert hash_of(lambda x: tf.py_function(lambda y: y, [x], tf.float32)) is None
    assert hash_of(lambda x: inner(x)) is None


def test_a_function_that_writes_is_not_whole():
    """What it writes may be read again, in an order that the hash does not hold."""
    state = tf.Variable([0.0])

    def writes(x):
        state.assign(x)
        return x + state

    changing = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, 0)

    def inserts(x):
        whole = tf.cast(x, tf.int64)
        changing.insert(whole, whole)
        return changing.lookup(whole)

    assert hash_of(lambda x: x + state).is_whole
    assert not hash_of(writes).is_whole
    assert not hash_of(inserts).is_whole
