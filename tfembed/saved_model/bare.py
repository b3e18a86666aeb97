"""A function as a bare graph: its variables are constants, what follows from them alone is computed once.

The graph is written op by op into one of our own, dense layers as plain matrix products, and in bfloat16 if wanted:
matrix products, convolutions and what lies between them, with weights that are stored in bfloat16; norms, softmax and
reductions stay in float32, and so does what goes in and comes out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from tfembed.saved_model.dense import Dense, read_dense
from tfembed.saved_model.flatten import flatten
from tfembed.saved_model.graph import CutError, FlatGraph, base, data_inputs, full, import_part, trace
from tfembed.saved_model.precision import runs_low, switchable
from tfembed.saved_model.rows import keep_rows

_WRITTEN_OUT = 64  # constants of so few values stand in the graph, where they help to optimise it; weights are captured
# They hand on what they take; of a variable, its value.
_ALIASES = frozenset({"ReadVariableOp", "Identity", "StopGradient", "PreventGradient", "Snapshot"})


def bare(function: Any, variables: Iterable[Any], dtype: tf.DType = tf.float32) -> Callable[..., list[tf.Tensor]]:
    """Make a bare graph of a concrete function. Variables have the values in it that they have now.

    Args:
        function: A `tf.types.experimental.ConcreteFunction` that computes the same on every call.
        variables: The variables that it reads.
        dtype: `tf.float32`, or `tf.bfloat16` for the costly ops.

    Returns:
        A function from the concrete function's flat inputs to its flat outputs, of the same dtypes.

    Raises:
        CutError: If the function does what a graph of constants cannot do.

    Example:
        >>> import tensorflow as tf
        >>> weight = tf.Variable([[2.0]])
        >>> double = tf.function(lambda x: x @ weight).get_concrete_function(tf.TensorSpec([None, 1]))
        >>> bare(double, [weight])(tf.constant([[3.0]]))[0].numpy().tolist()
        [[6.0]]
    """
    flat = flatten(function, variables)
    wanted = [_behind(flat, tensor) for tensor in flat.outputs]
    names = set(flat.ancestors(wanted))
    _check(flat, names)
    writer = _Writer(flat, names, _fold(flat, names, wanted), low=dtype == tf.bfloat16)
    results = writer.write(wanted)
    specs = {t.name: tf.TensorSpec(t.shape, t.dtype) for t in function.inputs if t.name in flat.inputs}
    part = keep_rows(writer.part, specs | {n: tf.TensorSpec(t.shape, t.dtype) for n, t in writer.captured.items()})

    def run(*inputs: tf.Tensor) -> list[tf.Tensor]:
        feeds = dict(zip(flat.inputs, inputs, strict=True)) | writer.captured
        used = {name for node in part.node for name in node.input}
        mapping = {name: tf.convert_to_tensor(value) for name, value in feeds.items() if name in used}
        missing = [name for name in results if name not in feeds]
        imported = tf.graph_util.import_graph_def(part, mapping, missing, name="bare")
        found = dict(zip(missing, imported, strict=True)) | feeds
        return [tf.identity(found[name]) for name in results]

    # The function is run for small inputs too, but a trace for each of them would take longer than it saves.
    return trace(run, *specs.values())


def _check(flat: FlatGraph, names: set[str]) -> None:
    """Refuse what this does not rewrite: state, texts, tables, control flow."""
    nodes = [flat.nodes[name] for name in names - flat.variables.keys() if flat.nodes[name].op not in _ALIASES]
    opaque = {int(dtype.as_datatype_enum) for dtype in (tf.string, tf.resource, tf.variant)}
    for node in nodes:
        types = {value.type for key, value in node.attr.items() if value.type and node.op != "ResourceGather"}
        if types & opaque or any(value.HasField("func") for value in node.attr.values()):
            raise CutError(f"The op {node.op} ({node.name!r}) keeps the graph from being rewritten: expected numbers.")
    if stateful := flat.stateful(names):
        raise CutError(f"{stateful[:3]} keep the graph from being rewritten: their results are not settled by inputs.")


def _behind(flat: FlatGraph, tensor: str) -> str:
    """The tensor, or variable, behind a chain of ops that hand on what they take."""
    tensor = full(tensor)
    while flat.nodes[base(tensor)].op in _ALIASES:
        tensor = full(flat.nodes[base(tensor)].input[0])
    return tensor


def _fold(flat: FlatGraph, names: set[str], wanted: Iterable[str]) -> dict[str, tf.Tensor]:
    """Values of the tensors that do not depend on the inputs, where something that does takes them."""
    fed = flat.from_inputs()
    taken = [t for name in names & fed for t in data_inputs(flat.nodes[name])]
    edge = [t for t in dict.fromkeys(_behind(flat, t) for t in (*taken, *wanted)) if base(t) not in fed]
    held = {t: flat.constants[base(t)] for t in edge if base(t) in flat.constants}
    held |= {t: flat.variables[base(t)].read_value() for t in edge if base(t) in flat.variables}
    others = [t for t in edge if t not in held]
    values = trace(lambda: import_part(flat, others, {}))() if others else []
    return held | dict(zip(others, values, strict=True))


class _Writer:
    """Writes the part of a flat graph that depends on its inputs into a graph of its own.

    Attributes:
        part: The graph that is written.
        captured: Weights, by the names under which the graph takes them.
    """

    def __init__(self, flat: FlatGraph, names: set[str], constants: Mapping[str, tf.Tensor], *, low: bool) -> None:
        self.part = GraphDef(versions=flat.graph_def.versions)
        self.captured: dict[str, tf.Tensor] = {}
        self._flat, self._constants, self._low_wanted = flat, constants, low
        self._names = [name for name in flat.nodes if name in names & flat.from_inputs()]
        self._low: set[str] = set()  # nodes of the flat graph whose result is bfloat16
        self._known: dict[tuple[str, bool], str] = {}
        self._consumers: dict[str, list[NodeDef]] = defaultdict(list)
        for node in (flat.nodes[name] for name in self._names if flat.nodes[name].op not in _ALIASES):
            for tensor in data_inputs(node):
                self._consumers[_behind(flat, tensor)].append(node)

    def write(self, wanted: Iterable[str]) -> list[str]:
        """Write the graph; returns the names of the wanted tensors in it."""
        inputs = set(map(base, self._flat.inputs))
        wanted = list(wanted)
        for node in (self._flat.nodes[name] for name in self._names if name not in inputs):
            if node.op in _ALIASES or (f"{node.name}:0", node.name in self._low) in self._known:
                continue
            dense = read_dense(node, self._kernel(node))
            if dense is not None:
                self._write_dense(node, dense, wanted)
            else:
                self._copy(node)
        return [self._take(tensor, False) for tensor in wanted]

    def _copy(self, node: NodeDef) -> None:
        tensors = [_behind(self._flat, tensor) for tensor in data_inputs(node)]
        places = switchable(node)
        moving = [tensors[i] for i in places if tensors[i] not in self._constants]
        low = self._low_wanted and runs_low(node, [base(tensor) in self._low for tensor in moving])
        taken = [self._take(tensor, low and i in places) for i, tensor in enumerate(tensors)]
        new = self._add(node.op, node.name, taken)
        for key, value in node.attr.items():
            if key != "_class":  # it may ask to be placed beside an op that stays behind
                new.attr[key].CopyFrom(value)
        if node.op == "ResourceGather":
            self._as_gather(new, taken)
        if low:
            new.attr["T"].type = tf.bfloat16.as_datatype_enum
            self._low.add(node.name)

    def _as_gather(self, new: NodeDef, taken: list[str]) -> None:
        """The variable has become a tensor, so that its rows are gathered by another op."""
        axis = self._constant(tf.constant(0), f"{new.name}/axis")
        attributes = {"Tparams": new.attr["dtype"].type, "Tindices": new.attr["Tindices"].type, "Taxis": tf.int32}
        batch_dims = new.attr["batch_dims"].i
        new.CopyFrom(NodeDef(name=new.name, op="GatherV2", input=[*taken, axis]))
        new.attr["batch_dims"].i = batch_dims
        for key, value in attributes.items():
            new.attr[key].type = tf.as_dtype(value).as_datatype_enum

    def _kernel(self, node: NodeDef) -> tf.Tensor | None:
        """The constant that a matrix product multiplies with, if it is its second operand."""
        tensors = data_inputs(node)
        return self._constants.get(_behind(self._flat, tensors[1])) if len(tensors) == 2 else None

    def _write_dense(self, node: NodeDef, dense: Dense, wanted: list[str]) -> None:
        """A matrix product of two dimensions, the bias on it, and the shape that it should have."""
        low, result, name = self._low_wanted, f"{node.name}:0", node.name
        given = self._take(_behind(self._flat, data_inputs(node)[0]), low)
        dtype = tf.bfloat16 if low else tf.float32
        kernel = self._constant(tf.cast(dense.kernel, dtype), f"{name}/kernel")
        rows = self._call("Reshape", f"{name}/rows", [given, self._numbers([-1, dense.kernel.shape[0]], name)], dtype)
        product = self._call("MatMul", f"{name}/product", [rows, kernel], dtype)
        bias = self._bias(result, dense, wanted)
        if bias is not None:
            value = self._constant(tf.cast(tf.reshape(bias[1], [-1]), dtype), f"{name}/bias")
            product = self._call("BiasAdd", f"{name}/biased", [product, value], dtype)
            result = f"{bias[0].name}:0"
        shape = self._call("Shape", f"{name}/given_shape", [given], dtype)
        leading = self._leading(shape, dense.num_summed, name)
        parts = [leading, self._numbers(dense.last, name), self._numbers(0, name)]
        whole = self._call("ConcatV2", f"{name}/shape", parts, tf.int32, N=2)
        self._known[result, low] = self._call("Reshape", f"{name}/shaped", [product, whole], dtype)
        if low:
            self._low.add(base(result))

    def _bias(self, tensor: str, dense: Dense, wanted: list[str]) -> tuple[NodeDef, tf.Tensor] | None:
        """The addition of a bias, if nothing else takes the product, and its value."""
        nodes = self._consumers[tensor]
        if len(nodes) != 1 or tensor in wanted or nodes[0].op not in ("Add", "AddV2", "BiasAdd"):
            return None
        others = [t for t in (_behind(self._flat, t) for t in data_inputs(nodes[0])) if t != tensor]
        value = self._constants.get(others[0]) if len(others) == 1 else None
        return None if value is None or value.shape.as_list() != dense.last else (nodes[0], value)

    def _leading(self, shape: str, num_summed: int, name: str) -> str:
        """A shape without its last dimensions."""
        ends = [self._numbers([value], name) for value in (0, -num_summed, 1)]
        new = self._add("StridedSlice", f"{name}/leading", [shape, *ends])
        new.attr["T"].type = new.attr["Index"].type = tf.int32.as_datatype_enum
        new.attr["begin_mask"].i = 1
        return f"{new.name}:0"

    def _take(self, tensor: str, low: bool) -> str:
        """The name here of a tensor of the flat graph, in bfloat16 or as it is."""
        if (tensor, low) not in self._known:
            dtype = tf.bfloat16 if low else tf.float32
            name = f"{tensor.replace(':', '/')}/{dtype.name}"
            if tensor in self._constants:
                value = self._constants[tensor]
                self._known[tensor, low] = self._constant(tf.cast(value, dtype) if low else value, name)
            elif low == (base(tensor) in self._low):
                self._known[tensor, low] = tensor
            else:
                new = self._add("Cast", name, [self._take(tensor, not low)])
                new.attr["DstT"].type = dtype.as_datatype_enum
                new.attr["SrcT"].type = (tf.float32 if low else tf.bfloat16).as_datatype_enum
                self._known[tensor, low] = f"{name}:0"
        return self._known[tensor, low]

    def _numbers(self, value: Any, name: str) -> str:
        return self._constant(tf.constant(value, tf.int32), f"{name}/numbers_{len(self.part.node)}")

    def _constant(self, value: tf.Tensor, name: str) -> str:
        if value.shape.num_elements() > _WRITTEN_OUT:
            self.captured[f"{name}:0"] = value
        else:
            new = self._add("Const", name, [])
            new.attr["dtype"].type = value.dtype.as_datatype_enum
            new.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.asarray(value.numpy())))
        return f"{name}:0"

    def _call(self, op: str, name: str, inputs: list[str], dtype: tf.DType, **counts: int) -> str:
        new = self._add(op, name, inputs)
        new.attr["T"].type = dtype.as_datatype_enum
        for key, value in counts.items():
            new.attr[key].i = value
        return f"{name}:0"

    def _add(self, op: str, name: str, inputs: Iterable[str]) -> NodeDef:
        new = self.part.node.add()
        new.op, new.name = op, name
        new.input.extend(inputs)
        return new
