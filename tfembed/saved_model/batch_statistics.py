"""Batch norm in a traced function: the ops that normalize by, or store, statistics of the batch."""

from collections.abc import Iterable
from typing import Any

from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.types_pb2 import DT_BFLOAT16, DT_DOUBLE, DT_FLOAT, DT_HALF

from tfembed.saved_model.match import FUSED_NORMS

_STORES = frozenset({"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"})
_FLOATS = frozenset({DT_HALF, DT_BFLOAT16, DT_FLOAT, DT_DOUBLE})


def uses_batch_statistics(function: Any) -> bool:
    """Tell whether a function normalizes by statistics of the batch, or stores some, in its graph or what that calls.

    Seeds and counters, which are whole numbers, do not count.

    Args:
        function: A concrete function.

    Example:
        >>> import tensorflow as tf
        >>> norm = tf.keras.layers.BatchNormalization()
        >>> norm.build((None, 2))
        >>> calls = [tf.function(lambda x, training=training: norm(x, training=training)) for training in (False, True)]
        >>> [uses_batch_statistics(call.get_concrete_function(tf.TensorSpec([None, 2]))) for call in calls]
        [False, True]
    """
    graph = function.graph.as_graph_def()
    return _any_node(graph.node) or any(_any_node(inner.node_def) for inner in graph.library.function)


def _any_node(nodes: Iterable[NodeDef]) -> bool:
    return any(
        (node.op in FUSED_NORMS and node.attr["is_training"].b)
        or (node.op in _STORES and node.attr["dtype"].type in _FLOATS)
        for node in nodes
    )
