"""A concrete function as one flat graph: no calls left, its variables known, any part of it importable.

A SavedModel's function is opaque from the outside: a call of a call, with variables passed in as captured handles.
`flatten.py` writes all the calls out; here is what can then be read from the graph, and how a part of it is used.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import op_def_registry  # no public name exists for the table of ops
from tensorflow.python.ops.resource_variable_ops import variable_accessed  # nor for telling a tape of a read

from tfembed.saved_model.randomness import RANDOM, SEED, Seeds, bodies, draws, seed_ops

# Stateful by their definition only: what they give depends on nothing but their inputs and the variable or table.
_HARMLESS = frozenset(
    {"ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape", "VarHandleOp", "VarIsInitializedOp"}
    | {"LookupTableFind", "LookupTableFindV2", "LookupTableSizeV2", "HashTableV2", "If", "While", "Assert", "Print"}
    | {"StatefulPartitionedCall", "PrintV2", "Placeholder"}
)
_WRITES = re.compile(r"^(Assign\w*VariableOp|ResourceScatter\w+|ResourceApply\w+)$")


class CutError(ValueError):
    """A module cannot be cut here; the message says why. Training it whole gives the same result, only slower.

    `train` does so by itself; `Encoder.cut` raises it.

    Example:
        >>> issubclass(CutError, ValueError)
        True
    """


def base(tensor: str) -> str:
    """The node that a tensor or control input comes from: `"^a/b"` and `"a/b:1"` give `"a/b"`."""
    return tensor.lstrip("^").split(":")[0]


def full(tensor: str) -> str:
    """A tensor's name with its output index: `"a/b"` gives `"a/b:0"`."""
    return tensor if ":" in tensor else f"{tensor}:0"


def data_inputs(node: NodeDef) -> list[str]:
    """Names of the tensors a node takes, in order, without control inputs."""
    return [full(name) for name in node.input if not name.startswith("^")]


def tf_variable(variable: Any) -> tf.Variable:
    """The tf.Variable itself, also where Keras has wrapped it in a variable of its own."""
    return variable if isinstance(variable, tf.Variable) else variable.value


@dataclass(frozen=True, slots=True)
class FlatGraph:
    """A function's ops with every call written out.

    Attributes:
        nodes: Every op by name, an op after those it takes from.
        graph_def: What the ops came from; its library holds the bodies of loops and conditionals.
        inputs: Names of the tensors to feed, in the order of the function's inputs.
        outputs: Names of the function's output tensors, in order.
        variables: The variable behind each placeholder of a captured handle.
        constants: The tensor behind each other captured placeholder: lookup tables, eager constants.
    """

    nodes: dict[str, NodeDef]
    graph_def: GraphDef
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    variables: dict[str, tf.Variable]
    constants: dict[str, tf.Tensor]
    _reach: dict[str, frozenset[str]] = field(default_factory=dict)

    def source(self, tensor: str) -> str:
        """The tensor behind a chain of Identity ops."""
        tensor = full(tensor)
        while self.nodes[base(tensor)].op == "Identity":
            tensor = full(self.nodes[base(tensor)].input[0])
        return tensor

    def handle_variable(self, node: NodeDef) -> str | None:
        """The placeholder of the variable whose handle is the node's first input, if it is one."""
        name = base(self.source(node.input[0])) if node.input else ""
        return name if name in self.variables else None

    def reaches(self, seeds: Iterable[str], *, through_shapes: bool = True) -> frozenset[str]:
        """Nodes that take from one of the `seeds` (nodes), directly or not; the seeds belong to them."""
        found = set(seeds)
        for name, node in self.nodes.items():  # the order makes one pass enough
            if (through_shapes or node.op not in ("Shape", "ShapeN")) and any(
                base(i) in found for i in data_inputs(node)
            ):
                found.add(name)
        return frozenset(found)

    def from_inputs(self) -> frozenset[str]:
        """Nodes that depend on what is fed."""
        if "inputs" not in self._reach:
            self._reach["inputs"] = self.reaches(base(name) for name in self.inputs)
        return self._reach["inputs"]

    def noise(self) -> frozenset[str]:
        """Nodes whose values are random and take nothing but shapes from what is fed: the masks of dropout."""
        if "noise" not in self._reach:
            drawn = self.reaches(name for name, node in self.nodes.items() if RANDOM.search(node.op))
            fed = self.reaches((base(name) for name in self.inputs), through_shapes=False)
            self._reach["noise"] = drawn - fed
        return self._reach["noise"]

    def ancestors(self, tensors: Iterable[str], *, stop: Iterable[str] = ()) -> Iterator[str]:
        """Nodes that the tensors are computed from; nothing behind the tensors in `stop` is looked at."""
        seen, fed = set(), set(stop)
        stack = [full(tensor) for tensor in tensors]
        while stack:
            tensor = stack.pop()
            if tensor in fed or base(tensor) in seen:
                continue
            seen.add(base(tensor))
            yield base(tensor)
            stack.extend(data_inputs(self.nodes[base(tensor)]))

    def writes(self) -> Iterator[tuple[str, str]]:
        """Each op that changes a variable, with the placeholder of that variable."""
        for name, node in self.nodes.items():
            if _WRITES.match(node.op) and (placeholder := self.handle_variable(node)):
                yield name, placeholder

    def hidden_variables(self) -> list[str]:
        """Placeholders of captured variables that are not among the known ones."""
        readers = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd"}
        read = {base(self.source(node.input[0])) for node in self.nodes.values() if node.op in readers}
        return sorted(read & self.constants.keys())

    def stateful(self, names: Iterable[str]) -> list[str]:
        """Those of the nodes whose result is not settled by their inputs: random numbers, counters, queues, files."""
        functions = {function.signature.name: function.node_def for function in self.graph_def.library.function}
        return [name for name in names if _is_stateful(self.nodes[name], functions)]


def _is_stateful(node: NodeDef, functions: Mapping[str, Sequence[NodeDef]]) -> bool:
    definition = op_def_registry.get(node.op)
    if definition is not None and definition.is_stateful and node.op not in _HARMLESS:
        return True
    bodies = [value.func.name for value in node.attr.values() if value.HasField("func")]
    return any(_is_stateful(inner, functions) for body in bodies for inner in functions.get(body, ()))


def import_part(
    flat: FlatGraph,
    wanted: Sequence[str],
    feeds: Mapping[str, tf.Tensor],
    *,
    effects: Sequence[str] = (),
    seeds: Seeds | None = None,
) -> list[tf.Tensor]:
    """Add the ops between the fed tensors and the wanted ones to the function that is being traced.

    Variables are read live: a tape that is open around the traced function sees them, and gradients reach them.
    Control dependencies are dropped; tf.function puts the order of reads and writes back, as it does for any code.

    Args:
        flat: The graph to take the part from.
        wanted: Names of the tensors to return.
        feeds: Tensors by the name of those that they stand for. Nothing behind them is imported.
        effects: Names of ops to run besides, such as updates of moving statistics.
        seeds: Seeds that random ops draw from; as in the module if None, or if they are not set.

    Raises:
        CutError: If the wanted tensors need an input that is not fed.
    """
    names = set(flat.ancestors([*wanted, *effects], stop=feeds))
    if unfed := sorted(names & {base(name) for name in flat.inputs}):
        raise CutError(
            f"The part needs the module's inputs {unfed}, which are not handed over. Train the module whole."
        )
    graph, mapping = tf.compat.v1.get_default_graph(), {}
    for name in names & flat.variables.keys():
        variable = flat.variables[name]
        if tf.distribute.in_cross_replica_context():  # shapes are found out before devices begin: any copy will do
            variable = tf.distribute.get_strategy().experimental_local_results(variable)[0]
        variable_accessed(variable)  # tells tapes around the function that it reads the variable
        mapping[f"{name}:0"] = graph.capture(variable.handle)
    for name in names & flat.constants.keys():
        mapping[f"{name}:0"] = graph.capture(flat.constants[name])
    part = GraphDef(versions=flat.graph_def.versions, library=flat.graph_def.library)
    for name in (name for name in flat.nodes if name in names and f"{name}:0" not in mapping):
        node = part.node.add()
        node.CopyFrom(flat.nodes[name])
        node.attr.pop("_class", None)  # it may ask to be placed beside an op that stays behind
        node.input[:] = data_inputs(node)
        mapping |= {tensor: feeds[tensor] for tensor in node.input if tensor in feeds}
    if seeds is not None and seeds.are_set and draws(part.node, bodies(part)):
        seed_ops(part)
        mapping[f"{SEED}:0"] = seeds.draw()
    used = {tensor for node in part.node for tensor in node.input}
    mapping = {name: tensor for name, tensor in mapping.items() if name in used}
    missing = list(dict.fromkeys(full(tensor) for tensor in wanted if full(tensor) not in feeds))
    found = dict(zip(missing, tf.graph_util.import_graph_def(part, mapping, missing, name="part"), strict=True))
    return [feeds[full(tensor)] if full(tensor) in feeds else found[full(tensor)] for tensor in wanted]


def trace(function: Callable[..., Any], *signature: Any) -> Any:
    """Trace a Python function once, for the given specs.

    A concrete function is returned, because tf.function takes many functions that are defined in one line for one
    function that is traced too often, and warns.
    """
    return tf.function(function, autograph=False, input_signature=signature).get_concrete_function()
