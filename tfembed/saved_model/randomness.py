"""Random ops of a module, such as its dropout, that draw from a seed in place of the clock.

The op `RandomUniform` keeps its state where nobody can set it. Its stateless twin takes a seed with each step, which
here comes from a variable: a new seed needs no new graph, and XLA draws as TensorFlow does.
"""

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.eager import context  # no public name exists for the table of functions

logger = logging.getLogger(__name__)

RANDOM = re.compile(r"Random|TruncatedNormal|Multinomial|RngReadAndSkip|RngSkip")
SEED = "tfembed_seed"
# The stateless twin of each op, at which input it takes the seed, and its names for the attributes of the op.
_TWINS: dict[str, tuple[str, int, dict[str, str]]] = {
    "RandomUniform": ("StatelessRandomUniform", 1, {"dtype": "dtype", "T": "T"}),
    "RandomStandardNormal": ("StatelessRandomNormal", 1, {"dtype": "dtype", "T": "T"}),
    "TruncatedNormal": ("StatelessTruncatedNormal", 1, {"dtype": "dtype", "T": "T"}),
    "RandomUniformInt": ("StatelessRandomUniformInt", 1, {"Tout": "dtype", "T": "T"}),
    "RandomGamma": ("StatelessRandomGammaV2", 1, {"T": "dtype", "S": "T"}),
    "RandomPoissonV2": ("StatelessRandomPoisson", 1, {"R": "Rtype", "dtype": "dtype", "S": "T"}),
    "ParameterizedTruncatedNormal": ("StatelessParameterizedTruncatedNormal", 1, {"dtype": "dtype", "T": "S"}),
    "Multinomial": ("StatelessMultinomial", 2, {"T": "T", "output_dtype": "output_dtype"}),
}
_CALLS = frozenset({"If", "StatelessIf", "Case", "StatelessCase", "PartitionedCall", "StatefulPartitionedCall"})
_LOOPS = frozenset({"While", "StatelessWhile"})
_REPLICA = 0x5E3D_1A7B  # apart from what is added to the seed for an op


class Seeds:
    """The state of a module's random ops: a seed, and how often something was drawn with it.

    Until it is reset for the first time, a module draws as it was saved to.
    """

    def __init__(self) -> None:
        self.are_set = False
        self._seed: tuple[int, ...] = ()
        self._state: tf.Variable | None = None
        self._own: dict[int, tf.Variable] = {}

    def reset(self, *seed: int) -> None:
        """Start the sequence of a seed; without one, the module draws as it was saved to."""
        self.are_set, self._seed = bool(seed), seed
        if not seed:
            return
        value = [int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1), 0]
        with tf.init_scope():
            if self._state is None:
                self._state = tf.Variable(value, trainable=False, dtype=tf.int64, name=SEED)
            self._state.assign(value)
        self._reset_own()

    def adopt(self, variables: Iterable[tf.Variable]) -> None:
        """Reset the states of the module's own generators too, from now on."""
        self._own |= {id(variable): variable for variable in variables}
        if self.are_set:
            self._reset_own()

    def _reset_own(self) -> None:
        with tf.init_scope():
            for i, variable in enumerate(self._own.values()):
                rng = np.random.default_rng([*self._seed, i])
                variable.assign(rng.integers(0, 2**31, variable.shape).astype(variable.dtype.as_numpy_dtype))

    def draw(self) -> tf.Tensor:
        """Give the seed of one step, int32 `(2,)` as XLA takes it, in the function that is being traced."""
        if self._state is None:
            raise RuntimeError("Seeds were not reset before something was drawn: call reset first.")
        seed = self._state.read_value()
        self._state.assign_add([0, 1])
        device = tf.distribute.get_replica_context()
        if tf.distribute.has_strategy() and device is not None:
            replica = tf.cast(device.replica_id_in_sync_group, tf.int64)
            seed += tf.stack([replica * _REPLICA, tf.zeros([], tf.int64)])
        return tf.cast(seed, tf.int32)  # what is added above wraps around


def draws(nodes: Iterable[NodeDef], functions: Mapping[str, Sequence[NodeDef]]) -> bool:
    """Tell whether random ops without a seed of their own are among nodes, or in the functions that they call.

    Example:
        >>> draws([NodeDef(op="Relu"), NodeDef(op="RandomUniform")], {})
        True
    """
    return any(
        node.op in _TWINS or any(draws(functions.get(name, ()), functions) for name in called(node)) for node in nodes
    )


def called(node: NodeDef) -> list[str]:
    """Names of the functions that an op calls."""
    values = [value.func.name for value in node.attr.values() if value.HasField("func")]
    return values + [each.name for value in node.attr.values() for each in value.list.func]


def bodies(graph_def: GraphDef) -> dict[str, Sequence[NodeDef]]:
    """Nodes of the functions in a graph's library, by name."""
    return {function.signature.name: function.node_def for function in graph_def.library.function}


def seed_ops(graph_def: GraphDef) -> None:
    """Have the random ops of a graph, and of the functions that it calls, draw from the tensor named `SEED`.

    Each adds a number of its own to the seed, made of its name, so that no two draw the same. A loop hands its body
    another seed in each turn.
    """
    nodes = _Seeding(graph_def).rewritten(graph_def.node, f"{SEED}:0", "{}:0", "{}:0")
    del graph_def.node[:]
    graph_def.node.extend(nodes)


class _Seeding:
    """The functions of a graph's library, copied with a seed as their last argument where they draw."""

    def __init__(self, graph_def: GraphDef) -> None:
        self._library = graph_def.library
        self._functions = {function.signature.name: function for function in graph_def.library.function}
        self._bodies = bodies(graph_def)
        self._made: dict[tuple[str, bool], str] = {}

    def rewritten(self, nodes: Iterable[NodeDef], seed: str, constant: str, result: str) -> list[NodeDef]:
        """Copy nodes so that they draw from a seed.

        Args:
            nodes: Nodes of a graph, or of a function.
            seed: Name of the tensor of the seed.
            constant: Pattern for the name of a constant's tensor, given the node's.
            result: Pattern for the name of a sum's tensor, given the node's.
        """
        made: list[NodeDef] = []
        for node in nodes:
            if not draws([node], self._bodies):
                made.append(node)
                continue
            if node.op not in _TWINS and node.op not in _CALLS | _LOOPS:
                logger.warning("The random ops in the %s %r of the module cannot be seeded.", node.op, node.name)
                made.append(node)
                continue
            made += _sum(node.name, seed, constant)
            own = result.format(_sum_name(node.name))
            made.append(_twin(node, own) if node.op in _TWINS else self._call(node, own))
        return made

    def _call(self, node: NodeDef, seed: str) -> NodeDef:
        """Copy a node that calls functions, with the seed as one more argument."""
        copy, is_loop = _copy(node), node.op in _LOOPS
        _insert(copy, len([name for name in node.input if not name.startswith("^")]), seed)
        copy.attr["T" if is_loop else "Tin"].list.type.append(tf.int32.as_datatype_enum)
        for name, value in copy.attr.items():
            for function in [value.func] if value.HasField("func") else value.list.func:
                if function.name in self._functions:
                    function.name = self._extended(function.name, is_loop and name == "body")
        if is_loop:
            copy.attr["output_shapes"].list.shape.add().dim.add().size = 2
            if "_num_original_outputs" in copy.attr:  # gradients are asked for these
                copy.attr["_num_original_outputs"].i += 1
        return copy

    def _extended(self, name: str, returns_seed: bool) -> str:
        """Copy a function with the seed as its last argument; the body of a loop returns the next one."""
        key = name, returns_seed
        if key not in self._made:
            self._made[key] = f"{name}_{SEED}_{int(returns_seed)}"
            function = FunctionDef()
            function.CopyFrom(self._functions[name])
            function.signature.name = self._made[key]
            function.signature.input_arg.add(name=SEED, type=tf.int32.as_datatype_enum)
            if "_input_shapes" in function.attr:
                function.attr["_input_shapes"].list.shape.add().dim.add().size = 2
            nodes = self.rewritten(self._functions[name].node_def, SEED, "{}:output:0", "{}:z:0")
            if returns_seed:
                nodes += _sum(f"{SEED}_next", SEED, "{}:output:0")
                function.signature.output_arg.add(name=f"{SEED}_next", type=tf.int32.as_datatype_enum)
                function.ret[f"{SEED}_next"] = f"{_sum_name(f'{SEED}_next')}:z:0"
            del function.node_def[:]
            function.node_def.extend(nodes)
            self._library.function.append(function)
            if not context.context().has_function(function.signature.name):
                context.context().add_function_def(function)  # an import makes it known to its graph alone
        return self._made[key]


def _twin(node: NodeDef, seed: str) -> NodeDef:
    op, place, attributes = _TWINS[node.op]
    twin = NodeDef(name=node.name, op=op, device=node.device, input=node.input)
    _insert(twin, place, seed)
    for ours, theirs in attributes.items():
        if ours in node.attr:
            twin.attr[theirs].CopyFrom(node.attr[ours])
    twin.attr["Tseed"].type = tf.int32.as_datatype_enum
    return twin


def _sum(name: str, seed: str, constant: str) -> list[NodeDef]:
    """Nodes that add a number made of a name to a seed."""
    number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 33
    added = NodeDef(name=f"{_sum_name(name)}/number", op="Const")
    added.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([number, 0], tf.int32))
    added.attr["dtype"].type = tf.int32.as_datatype_enum
    total = NodeDef(name=_sum_name(name), op="AddV2", input=[seed, constant.format(added.name)])
    total.attr["T"].type = tf.int32.as_datatype_enum
    return [added, total]


def _sum_name(name: str) -> str:
    return f"{name}/{SEED}"


def _copy(node: NodeDef) -> NodeDef:
    copy = NodeDef()
    copy.CopyFrom(node)
    return copy


def _insert(node: NodeDef, place: int, tensor: str) -> None:
    node.input[:] = [*node.input[:place], tensor, *node.input[place:]]
