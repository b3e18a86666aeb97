"""Write out the calls of a concrete function, so that its graph lies flat.

Grappler's function optimizer does the writing out. Conditionals and loops stay single ops, but a conditional whose
predicate is known (a `training` tensor that was given a value) is replaced by the branch that it takes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.grappler import tf_optimizer  # no public name exists for running one optimizer

from tfembed.saved_model.graph import CutError, FlatGraph, base, import_part, tf_variable, trace


def flatten(function: Any, variables: Iterable[Any], constants: Mapping[str, Any] | None = None) -> FlatGraph:
    """Write out every call in a concrete function.

    Args:
        function: A `tf.types.experimental.ConcreteFunction`.
        variables: The variables to recognise among its captured handles.
        constants: Values for inputs that are not to be fed, by the name of their placeholder. A conditional on one
            of them (such as a `training` tensor) is decided here.

    Raises:
        CutError: If the graph cannot be written out.
    """
    handles = {id(tf_variable(v).handle): tf_variable(v) for v in variables}
    captured = {placeholder.op.name: tensor for tensor, placeholder in function.graph.captures}
    graph_def = _bind(function.graph.as_graph_def(), constants or {})
    feeds = tuple(t.name for t in function.inputs if t.op.name not in captured and t.op.name not in (constants or {}))
    # Taking a gradient of the function adds outputs to its graph, behind its own.
    num_outputs = sum(leaf is not None for leaf in tf.nest.flatten(function.structured_outputs, expand_composites=True))
    outputs = tuple(t.name for t in function.outputs[:num_outputs])
    graph_def = _inline(graph_def, [*feeds, *(f"{name}:0" for name in captured), *outputs])
    flat = FlatGraph(
        nodes=_in_order(graph_def),
        graph_def=graph_def,
        inputs=feeds,
        outputs=outputs,
        variables={name: handles[id(tensor)] for name, tensor in captured.items() if id(tensor) in handles},
        constants={name: tensor for name, tensor in captured.items() if id(tensor) not in handles},
    )
    settled = _decide_conditionals(flat)
    return flat if settled is None else _flatten_again(flat, settled)


def _flatten_again(flat: FlatGraph, graph_def: GraphDef) -> FlatGraph:
    """Write out the branches that turned out to be taken, until no conditional can be decided any more."""
    captured = [f"{name}:0" for name in (*flat.variables, *flat.constants)]
    graph_def = _inline(graph_def, [*flat.inputs, *captured, *flat.outputs])
    flat = replace(flat, nodes=_in_order(graph_def), graph_def=graph_def, _reach={})
    settled = _decide_conditionals(flat)
    return flat if settled is None else _flatten_again(flat, settled)


def _bind(graph_def: GraphDef, constants: Mapping[str, Any]) -> GraphDef:
    """Replace placeholders by constants, and keep Grappler from taking conditionals and loops apart."""
    for node in graph_def.node:
        if node.name in constants:
            dtype = tf.dtypes.as_dtype(node.attr["dtype"].type)
            value = tf.make_tensor_proto(constants[node.name], dtype=dtype)
            node.CopyFrom(NodeDef(name=node.name, op="Const"))
            node.attr["value"].tensor.CopyFrom(value)
            node.attr["dtype"].type = dtype.as_datatype_enum
    for nodes in (graph_def.node, *(function.node_def for function in graph_def.library.function)):
        for node in nodes:
            if "_lower_using_switch_merge" in node.attr:
                node.attr["_lower_using_switch_merge"].b = False
    return graph_def


def _inline(graph_def: GraphDef, keep: Sequence[str]) -> GraphDef:
    meta = meta_graph_pb2.MetaGraphDef(graph_def=graph_def)
    meta.collection_def["train_op"].node_list.value.extend(keep)
    config = config_pb2.ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1
    config.graph_options.rewrite_options.optimizers.append("function")
    try:
        return tf_optimizer.OptimizeGraph(config, meta)
    except (tf.errors.OpError, ValueError) as error:
        raise CutError(f"The module's graph cannot be written out: {error}. Train it whole.") from error


def _in_order(graph_def: GraphDef) -> dict[str, NodeDef]:
    nodes = {node.name: node for node in graph_def.node}
    ordered: dict[str, NodeDef] = {}
    for first in nodes:
        stack = [first]
        while stack:
            missing = [p for p in map(base, nodes[stack[-1]].input) if p not in ordered]
            stack.extend(missing)
            if not missing:
                name = stack.pop()
                ordered.setdefault(name, nodes[name])
    return ordered


def _decide_conditionals(flat: FlatGraph) -> GraphDef | None:
    """The graph with calls in place of conditionals on a constant, or None where there are none."""
    roots = {*map(base, flat.inputs), *flat.variables, *flat.constants}
    open_nodes = flat.reaches(roots)
    found = [n for n in flat.nodes.values() if n.op in ("If", "StatelessIf") and base(n.input[0]) not in open_nodes]
    if not found:
        return None
    predicates = trace(lambda: import_part(flat, [n.input[0] for n in found], {}))()
    graph_def = GraphDef()
    graph_def.CopyFrom(flat.graph_def)
    taken = dict(zip((n.name for n in found), predicates, strict=True))
    for node in graph_def.node:
        if node.name in taken:
            branch = "then_branch" if bool(tf.reduce_all(tf.cast(taken[node.name], tf.bool))) else "else_branch"
            _make_call(node, branch)
    return graph_def


def _make_call(node: NodeDef, branch: str) -> None:
    call = NodeDef(name=node.name, op="PartitionedCall" if node.op == "StatelessIf" else "StatefulPartitionedCall")
    call.input.extend(node.input[1:])
    for ours, theirs in (("Tin", "Tin"), ("Tout", "Tout"), ("f", branch)):
        call.attr[ours].CopyFrom(node.attr[theirs])
    node.CopyFrom(call)
