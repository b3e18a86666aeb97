"""A hash of what a traced function computes, whatever its nodes are called: equal in every process for equal graphs."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from tfembed.saved_model.graph import data_inputs, tf_variable

# Ops that call back into Python: their code is not in the graph.
_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_TABLES = frozenset({"LookupTableFindV2", "LookupTableExportV2"})
_TABLE_WRITES = ("LookupTableInsert", "LookupTableImport", "LookupTableRemove")
_VARIABLE_WRITES = ("Assign", "ResourceScatter", "ResourceApply", "Scatter")
_OPAQUE = "opaque"
_NAMES = frozenset({"shared_name", "container", "config", "config_proto", "executor_type"})


@dataclass(frozen=True, slots=True, eq=False)
class GraphHash:
    """A traced function without the values that it reads: those of its tables may change in place.

    Attributes:
        structure: Ops, attributes, constants and wiring, as hexadecimal digits.
        tables: Handle of each lookup table that the function reads, with the types of its keys and values.
        variables: Variables that the function reads and its caller did not list.
        is_whole: Whether nothing is missing: resources that cannot be examined, such as the model of a tokenizer, and
            variables and tables that the function itself writes to, such as a tokenizer's cache.
    """

    structure: str
    tables: tuple[tuple[Any, tf.DType, tf.DType], ...]
    variables: tuple[tf.Variable, ...]
    is_whole: bool = True

    def digest(self) -> str:
        """Hash the structure together with the content of tables and variables as they are now."""
        contents = [_hash_table(*table) for table in self.tables]
        contents += [_hash(variable.numpy()) for variable in self.variables]
        return _hash(json.dumps([self.structure, contents]).encode())


def hash_graph(function: Any, variables: Sequence[Any]) -> GraphHash | None:
    """Hash a traced function.

    Two functions have the same hash if their nodes do the same in the same order of dependence; names do not count.

    Args:
        function: A `tf.types.experimental.ConcreteFunction`.
        variables: Variables that stand for their position in this sequence; their values do not count.

    Returns:
        The hash, or None if the function calls Python code.

    Example:
        >>> double = tf.function(lambda x: x + x).get_concrete_function(tf.TensorSpec([], "float32"))
        >>> again = tf.function(lambda y: tf.add(y, y)).get_concrete_function(tf.TensorSpec([], "float32"))
        >>> hash_graph(double, []).digest() == hash_graph(again, []).digest()
        True
    """
    graph_def = function.graph.as_graph_def()
    if any(node.op in _PYTHON for node in _all_nodes(graph_def)):
        return None
    captures = _Captures(function, variables, _table_types(graph_def))
    inputs = [tensor.op.name for tensor in function.inputs]
    sources = {name: captures.describe(name, place) for place, name in enumerate(inputs)}
    walk = _Walk(graph_def.node, sources, _Functions(graph_def))
    structure = walk.hash([tensor.name for tensor in function.outputs])
    is_whole = [_OPAQUE] not in sources.values() and not any(
        node.op.startswith(_VARIABLE_WRITES) for node in _all_nodes(graph_def)
    )
    return GraphHash(structure, tuple(captures.tables), tuple(captures.variables), is_whole)


class _Captures:
    """What stands for each input of a function: its position, or what it was captured from."""

    def __init__(self, function: Any, variables: Sequence[Any], types: Sequence[tuple[tf.DType, tf.DType]]) -> None:
        self._captured = {placeholder.op.name: tensor for tensor, placeholder in function.graph.captures}
        self._places = {id(tf_variable(variable).handle): i for i, variable in enumerate(variables)}
        self._others = {id(variable.handle): variable for variable in function.graph.variables}
        self._types = types
        self.tables: list[tuple[Any, tf.DType, tf.DType]] = []
        self.variables: list[tf.Variable] = []

    def describe(self, name: str, place: int) -> list[Any]:
        """Describe an input as JSON values."""
        if name not in self._captured:
            return ["input", place]
        tensor = self._captured[name]
        if id(tensor) in self._places:
            return ["variable", self._places[id(tensor)]]
        if id(tensor) in self._others:
            self.variables.append(self._others[id(tensor)])
            return ["other variable", len(self.variables)]
        if tensor.dtype != tf.resource:
            return ["constant", _hash(tensor.numpy())] if hasattr(tensor, "numpy") else [_OPAQUE]
        for keys, values in self._types:
            try:
                tf.raw_ops.LookupTableExportV2(table_handle=tensor, Tkeys=keys, Tvalues=values)
            except (tf.errors.OpError, TypeError):
                continue
            self.tables.append((tensor, keys, values))
            return ["table", len(self.tables)]
        return [_OPAQUE]


class _Functions:
    """Hashes of the functions that a graph calls, by name."""

    def __init__(self, graph_def: GraphDef) -> None:
        self._functions = {function.signature.name: function for function in graph_def.library.function}
        self._hashes: dict[str, str] = {}

    def hash(self, name: str) -> str:
        """Hash the body of a function; the name of one that the graph does not hold."""
        if name not in self._functions:
            return name
        if name not in self._hashes:
            function = self._functions[name]
            sources = {arg.name: ["input", place] for place, arg in enumerate(function.signature.input_arg)}
            walk = _Walk(function.node_def, sources, self)
            self._hashes[name] = walk.hash([function.ret[arg.name] for arg in function.signature.output_arg])
        return self._hashes[name]


class _Walk:
    """A walk through nodes from outputs to inputs, which numbers them in the order of their first use."""

    def __init__(self, nodes: Iterable[NodeDef], sources: Mapping[str, Any], functions: _Functions) -> None:
        self._nodes = {node.name: node for node in nodes}
        self._sources, self._functions = sources, functions
        self._places: dict[str, int] = {}
        self._loops: list[str] = []
        self._digest = hashlib.blake2b(digest_size=20)

    def hash(self, outputs: Sequence[str]) -> str:
        """Hash what outputs depend on; what only happens beside them, such as a check, does not count."""
        roots = list(map(_reference, outputs))
        for name, _ in roots:
            self._visit(name)
        for name in self._loops:  # grows as loops in loops are visited
            [(source, port)] = self._inputs(name)
            self._visit(source)
            self._add([self._places[name], self._places[source], port])
        self._add([[self._places[name], port] for name, port in roots])
        return self._digest.hexdigest()

    def _inputs(self, name: str) -> list[tuple[str, str]]:
        # TensorFlow gives control inputs no order that lasts.
        return [] if name in self._sources else list(map(_reference, data_inputs(self._nodes[name])))

    def _visit(self, root: str) -> None:
        stack = [root]
        while stack:
            name = stack[-1]
            inputs = self._inputs(name)
            if name in self._nodes and self._nodes[name].op == "NextIteration":  # where a loop of TensorFlow 1 closes
                self._loops += [name] if name not in self._places else []
                inputs = []
            missing = [source for source, _ in inputs if source not in self._places]
            if name in self._places or not missing:
                stack.pop()
                if name not in self._places:
                    self._describe(name, inputs)
            else:
                stack.extend(reversed(missing))

    def _describe(self, name: str, inputs: Sequence[tuple[str, str]]) -> None:
        if name in self._sources:
            self._add(self._sources[name])
        else:
            node = self._nodes[name]
            self._add([node.op, [[self._places[source], port] for source, port in inputs]])
            for key in sorted(node.attr):
                if not key.startswith("_") and key not in _NAMES:
                    self._add([key, _describe_attribute(node.attr[key], self._functions.hash)])
        self._places[name] = len(self._places)

    def _add(self, values: Any) -> None:
        self._digest.update(json.dumps(values).encode() + b"\n")


def _reference(tensor: str) -> tuple[str, str]:
    """Split the name of a tensor into those of its node and of the node's output."""
    node, _, output = tensor.partition(":")
    return node, output or "0"


def _describe_attribute(value: AttrValue, hash_function: Callable[[str], str]) -> Any:
    functions = [value.func] if value.HasField("func") else list(value.list.func)
    if functions:
        return [[hash_function(function.name), sorted(function.attr)] for function in functions]
    return _hash(value.SerializeToString(deterministic=True))


def _all_nodes(graph_def: GraphDef) -> Iterable[NodeDef]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _table_types(graph_def: GraphDef) -> list[tuple[tf.DType, tf.DType]]:
    """Types of keys and values of the lookup tables that a graph reads; none where it writes to tables too."""
    if any(node.op.startswith(_TABLE_WRITES) for node in _all_nodes(graph_def)):
        return []
    names = {"LookupTableFindV2": ("Tin", "Tout"), "LookupTableExportV2": ("Tkeys", "Tvalues")}
    pairs = [[node.attr[key].type for key in names[node.op]] for node in _all_nodes(graph_def) if node.op in _TABLES]
    return [(tf.as_dtype(keys), tf.as_dtype(values)) for keys, values in dict.fromkeys(map(tuple, pairs))]


def _hash_table(handle: Any, keys: tf.DType, values: tf.DType) -> str:
    exported = tf.raw_ops.LookupTableExportV2(table_handle=handle, Tkeys=keys, Tvalues=values)
    rows = zip(exported.keys.numpy().tolist(), exported.values.numpy().tolist(), strict=True)
    return _hash(repr(sorted(rows, key=repr)).encode())


def _hash(value: Any) -> str:
    if not isinstance(value, bytes):
        content = repr(value.ravel().tolist()).encode() if value.dtype == object else value.tobytes()
        value = f"{value.dtype} {value.shape} ".encode() + content
    return hashlib.blake2b(value, digest_size=20).hexdigest()
