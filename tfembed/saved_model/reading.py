"""A traced function as it has been read: its graph, its shapes, and how its outputs are packed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef

from tfembed.saved_model.functions import Function
from tfembed.saved_model.graph import FlatGraph, base, data_inputs
from tfembed.saved_model.probe import Shapes
from tfembed.saved_model.randomness import RANDOM


@dataclass(frozen=True, slots=True)
class Reading:
    """One traced function, read.

    Attributes:
        function: The function and its inputs.
        flat: Its graph, with the selected outputs.
        shapes: The shapes of the graph's tensors.
        structure: The structure of the selected outputs.
    """

    function: Function
    flat: FlatGraph
    shapes: Shapes
    structure: Any

    def pack(self, outputs: Sequence[tf.Tensor]) -> Any:
        """Put output tensors into the structure that the module gives."""
        values = iter(outputs)
        leaves = [None if leaf is None else next(values) for leaf in tf.nest.flatten(self.structure)]
        return tf.nest.pack_sequence_as(self.structure, leaves)


def select_outputs(structure: Any, tensors: Sequence[str], names: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """Keep some outputs of a function that gives a dictionary.

    Args:
        structure: The structure of all outputs.
        tensors: Names of the output tensors, in order.
        names: Keys of the outputs to keep.

    Raises:
        ValueError: If the function gives no dictionary, or one without these keys.
    """
    if not isinstance(structure, Mapping):
        raise ValueError(f"Cannot select the outputs {list(names)}: the module gives no dictionary. Pass outputs=None.")
    if unknown := [name for name in names if name not in structure]:
        raise ValueError(f"There are no outputs {unknown}: the module gives {sorted(structure)}.")
    left, kept = iter(tensors), []
    for key in sorted(structure):
        own = [next(left) for leaf in tf.nest.flatten(structure[key]) if leaf is not None]
        kept.extend(own if key in names else [])
    return {name: structure[name] for name in sorted(names)}, tuple(kept)


def told_shapes(
    reading: Reading, feeds: Mapping[str, tf.Tensor], wanted: Iterable[str], late: frozenset[str]
) -> dict[str, tf.Tensor]:
    """Shapes of tensors in front of a cut, told from what crosses it instead of from the tensors.

    Args:
        reading: The function that is cut.
        feeds: What crosses, by name.
        wanted: What is to be computed.
        late: Nodes behind the cut; the shapes of their results are computed as usual.

    Returns:
        A tensor for the result of each `Shape` op that can be told and is used.
    """
    flat, plans = reading.flat, {}
    for name, node in flat.nodes.items():
        if node.op == "Shape" and name not in late and name in flat.from_inputs():
            dimensions = reading.shapes.dimensions.get(flat.source(node.input[0]))
            plan = [reading.shapes.locate(d, list(feeds)) for d in dimensions or ()]
            if dimensions is not None and None not in plan:
                plans[f"{name}:0"] = plan
    used = flat.ancestors(wanted, stop=[*feeds, *plans])
    taken = {tensor for name in used for tensor in data_inputs(flat.nodes[name])} & plans.keys()
    return {tensor: _shape(plans[tensor], feeds, flat.nodes[base(tensor)]) for tensor in sorted(taken)}


def _shape(plan: Sequence[Any], feeds: Mapping[str, tf.Tensor], node: NodeDef) -> tf.Tensor:
    dtype = node.attr["out_type"].type if "out_type" in node.attr else tf.int32
    sizes = [step if isinstance(step, int) else tf.shape(feeds[step[0]])[step[1]] for step in plan]
    return tf.cast(tf.stack(sizes) if sizes else tf.zeros([0], tf.int32), dtype)


def generators(flat: FlatGraph) -> list[tf.Variable]:
    """Find the states of a module's own random generators: whole numbers that random ops take, and that move on."""
    drawing = [name for name, node in flat.nodes.items() if RANDOM.search(node.op)]
    taken = set(flat.ancestors(f"{name}:0" for name in drawing))
    moved = {placeholder for _, placeholder in flat.writes()}
    moved |= {flat.handle_variable(node) or "" for node in flat.nodes.values() if node.op == "RngReadAndSkip"}
    return [v for name, v in flat.variables.items() if name in taken & moved and v.dtype.is_integer]


def updates(
    flat: FlatGraph, ends: tuple[Sequence[str], Sequence[str]], block_of: Mapping[int, int], within: range
) -> list[str]:
    """Ops that change variables of a segment's blocks: moving statistics, and the seeds of its random ops.

    Args:
        flat: The graph.
        ends: Names of the tensors where the segment begins, and of those that it gives.
        block_of: The number of each variable's block, by the variable's id.
        within: The numbers of the segment's blocks.
    """
    given, wanted = ends
    used, found = set(flat.ancestors(wanted, stop=given)), []
    for name, placeholder in flat.writes():
        if not flat.variables[placeholder].dtype.is_floating:
            found.extend([name] if placeholder in used else [])
        elif block_of[id(flat.variables[placeholder])] in within:
            behind = flat.variables.keys() & set(flat.ancestors([name], stop=given))
            levels = [block_of[id(flat.variables[p])] for p in behind if flat.variables[p].dtype.is_floating]
            found.extend([name] if max(levels) in within else [])
    return found
