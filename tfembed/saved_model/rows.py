"""Ops that work number by number, done on the rows of a matrix product before these are given their shape.

TensorFlow computes what follows a product together with it, as far as it follows directly: a bias, GELU. Where the
product's rows are first taken apart into examples and positions, it does not. So that Reshape is moved behind them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from tfembed.saved_model.graph import data_inputs

_BY_NUMBER = frozenset(
    {"Add", "AddV2", "Sub", "Mul", "BiasAdd", "RealDiv", "Pow", "Neg", "Square", "Tanh", "Sigmoid", "Erf", "Erfc"}
    | {"Relu", "Relu6", "Elu", "Selu", "LeakyRelu", "Softplus", "Maximum", "Minimum", "Cast"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Apart:
    """Rows that a Reshape takes apart: their tensor, and that of the shape which they are given, with its type."""

    rows: str
    shape: str
    shape_type: tf.DType


def keep_rows(part: GraphDef, fed: Mapping[str, tf.TensorSpec]) -> GraphDef:
    """Move each Reshape that leaves the last dimension as it is behind the ops that work number by number.

    Args:
        part: A graph, an op after those it takes from. Each tensor in it keeps its name and value.
        fed: The tensors that it takes from outside.

    Returns:
        The graph with the same tensors; those that nothing takes any more are for TensorFlow to remove.

    Example:
        >>> with tf.Graph().as_default() as graph:
        ...     rows = tf.compat.v1.placeholder(tf.float32, [None, 4], name="rows")
        ...     shaped = tf.tanh(tf.reshape(rows, [2, -1, 4]))
        >>> [node.op for node in keep_rows(graph.as_graph_def(), {}).node]
        ['Placeholder', 'Const', 'Reshape', 'Tanh', 'Reshape']
    """
    tensors = _tensors(part, fed)
    found = GraphDef(versions=part.versions)
    apart: dict[str, _Apart] = {}
    for node in part.node:
        result = f"{node.name}:0"
        if node.op == "Reshape" and (taken := _taken_apart(node, apart, tensors)) is not None:
            apart[result] = taken
            found.node.append(_shaped(tensors[result], taken))
        elif _by_number(node) and (shape := _common_shape(node, apart, tensors)) is not None:
            on_rows = found.node.add()
            on_rows.CopyFrom(node)
            on_rows.name = f"{node.name}/on_rows"
            on_rows.input[:] = [apart[each].rows if each in apart else each for each in data_inputs(node)]
            apart[result] = _Apart(rows=f"{on_rows.name}:0", shape=shape, shape_type=tensors[shape].dtype)
            found.node.append(_shaped(tensors[result], apart[result]))
        else:
            found.node.append(node)
    return found


def _by_number(node: NodeDef) -> bool:
    return node.op in _BY_NUMBER and not ("data_format" in node.attr and node.attr["data_format"].s == b"NCHW")


def _tensors(part: GraphDef, fed: Mapping[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    """The tensors of a graph by name, as far as their shapes can be told."""
    used = {name for node in part.node for name in data_inputs(node)}
    with tf.Graph().as_default() as graph:
        outside = {
            name: tf.compat.v1.placeholder(fed[name].dtype, fed[name].shape, "outside") for name in used & fed.keys()
        }
        tf.graph_util.import_graph_def(part, outside, name="")
        inside = {tensor.name: tensor for operation in graph.get_operations() for tensor in operation.outputs}
    return inside | outside


def _taken_apart(node: NodeDef, apart: Mapping[str, _Apart], tensors: Mapping[str, tf.Tensor]) -> _Apart | None:
    """Rows and shape of what a Reshape gives, if it leaves the last dimension of rows as it is."""
    given, shape = data_inputs(node)
    rows = apart[given].rows if given in apart else given
    before, after = tensors[given].shape, tensors[f"{node.name}:0"].shape
    if (given not in apart and before.rank != 2) or not after.rank or before[-1] is None or before[-1] != after[-1]:
        return None
    return _Apart(rows=rows, shape=shape, shape_type=tensors[shape].dtype)


def _common_shape(node: NodeDef, apart: Mapping[str, _Apart], tensors: Mapping[str, tf.Tensor]) -> str | None:
    """The shape that all that an op takes is given, but for what is the same in every row."""
    given = data_inputs(node)
    shapes = {apart[each].shape for each in given if each in apart}
    last = {tensors[each].shape[-1] for each in given if each in apart}
    others = [tensors[each].shape for each in given if each not in apart]
    same = all(each.rank == 0 or (each.rank == 1 and each[0] in (1, *last)) for each in others)
    return shapes.pop() if len(shapes) == 1 and same else None


def _shaped(result: tf.Tensor, taken: _Apart) -> NodeDef:
    node = NodeDef(name=result.op.name, op="Reshape", input=[taken.rows, taken.shape])
    node.attr["T"].type, node.attr["Tshape"].type = (each.as_datatype_enum for each in (result.dtype, taken.shape_type))
    return node
