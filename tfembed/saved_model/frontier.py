"""Which tensors cross the cut: those with the fewest bytes per example that spare every costly frozen op.

The ops in front of the cut form a network through which what is needed behind it has to flow. A tensor's capacity is
its bytes per example. Costly ops (matrix products, convolutions, whatever uses a frozen variable) are sources: they
must not be repeated behind the cut. All others, such as masks, casts and padding, may be, if that makes the cut
cheaper. The cheapest set of tensors to keep is then the minimal cut of the network (Ford and Fulkerson, 1956).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import tensorflow as tf
from scipy.sparse import csr_array  # type: ignore[import-untyped]  # it ships no types
from scipy.sparse.csgraph import breadth_first_order, maximum_flow  # type: ignore[import-untyped]  # it ships no types

from tfembed.saved_model.graph import CutError, FlatGraph, base, data_inputs
from tfembed.saved_model.probe import Dimension, Shapes, is_heavy

UNLIMITED = 2**30
_BODIES = frozenset(
    {"If", "StatelessIf", "Case", "While", "StatelessWhile", "PartitionedCall", "StatefulPartitionedCall"}
)


@dataclass(frozen=True, slots=True)
class Boundary:
    """A graph at one cut.

    Attributes:
        flat: The graph.
        shapes: Its measured shapes.
        late: Nodes behind the cut: those that depend on a variable of an unfrozen block.
    """

    flat: FlatGraph
    shapes: Shapes
    late: frozenset[str]

    def needed(self) -> list[str]:
        """Tensors from in front of the cut that are used behind it, or are outputs of the whole."""
        inputs, wanted = self.flat.from_inputs(), list(self.flat.ancestors(self.flat.outputs))
        tensors = [t for name in wanted if name in self.late for t in data_inputs(self.flat.nodes[name])]
        sources = [self.flat.source(tensor) for tensor in (*tensors, *self.flat.outputs)]
        return [t for t in dict.fromkeys(sources) if base(t) in inputs and base(t) not in self.late]

    def told(self, tensor: str, knowable: Collection[Dimension]) -> set[Dimension] | None:
        """The changing dimensions in a shape that can be told without the tensor whose shape it is, or None."""
        node = self.flat.nodes[base(tensor)]
        dimensions = self.shapes.dimensions.get(self.flat.source(node.input[0])) if node.op == "Shape" else None
        if dimensions is None:
            return None
        changing = {d for d in dimensions if len(set(d)) > 1 or d == self.shapes.batch}
        return changing if changing <= set(knowable) else None


def choose(boundary: Boundary) -> tuple[str, ...]:
    """Choose the tensors to keep at a cut.

    Returns:
        Names of tensors, those that are computed first coming first.

    Raises:
        CutError: If something without one row per example would have to cross.
    """
    knowable = {d for dimensions in boundary.shapes.dimensions.values() for d in dimensions}
    while True:
        edges, used = _network(boundary, knowable)
        kept = minimal_cut(edges)
        unknown = used - {d for tensor in kept for d in boundary.shapes.dimensions[tensor]}
        if not unknown:
            break
        knowable -= unknown  # none of the kept tensors tells these, so what has them must cross or be computed again
    position = {name: i for i, name in enumerate(boundary.flat.nodes)}
    return tuple(sorted(kept, key=lambda tensor: (position[base(tensor)], tensor)))


def _network(boundary: Boundary, knowable: Collection[Dimension]) -> tuple[dict[tuple[str, str], int], set[Dimension]]:
    """Capacities between places, and the dimensions that are told from what is kept.

    Of places, "<t" and ">t" are the two sides of tensor t, and "=n" is op n.
    """
    flat, shapes, inputs = boundary.flat, boundary.shapes, boundary.flat.from_inputs()
    stack, seen = boundary.needed(), set()
    edges: dict[tuple[str, str], int] = {(f">{tensor}", "sink"): UNLIMITED for tensor in stack}
    used: set[Dimension] = set()
    while stack:
        tensor = stack.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        name = base(tensor)
        if (told := boundary.told(tensor, knowable)) is not None:
            used |= told
            continue
        can_cross = shapes.batched(tensor) and shapes.dtypes[tensor] != tf.string
        own = tensor in flat.inputs  # of equals, what the module was given is kept
        edges[f"<{tensor}", f">{tensor}"] = 2 * shapes.num_bytes(tensor) - own if can_cross else UNLIMITED
        edges[f"={name}", f"<{tensor}"] = UNLIMITED
        if name in map(base, flat.inputs) or _is_costly(flat, name):
            edges["source", f"={name}"] = UNLIMITED
            continue
        parents = [parent for t in data_inputs(flat.nodes[name]) if base(parent := flat.source(t)) in inputs]
        edges |= {(f">{parent}", f"={name}"): UNLIMITED for parent in parents}
        stack.extend(parents)
    return edges, used


def _is_costly(flat: FlatGraph, name: str) -> bool:
    """Whether an op is not to be repeated behind the cut: heavy, or one that puts a variable or table to use."""
    inputs = flat.from_inputs()
    if is_heavy(flat.nodes[name].op) or flat.nodes[name].op in _BODIES:
        return True
    others = [t for t in data_inputs(flat.nodes[name]) if base(t) not in inputs]
    roots = flat.variables.keys() | flat.constants.keys()
    return any(not roots.isdisjoint(flat.ancestors([tensor])) for tensor in others)


def minimal_cut(edges: Mapping[tuple[str, str], int]) -> list[str]:
    """Tensors of the minimal cut that lies nearest to the sink, so that the least is computed again.

    Args:
        edges: Capacities between places, from "source" to "sink"; tensor t goes from place "<t" to place ">t".

    Raises:
        CutError: If every cut needs more than UNLIMITED.
    """
    if not edges:
        return []
    places = {place: i for i, place in enumerate(dict.fromkeys(["start", "source", "sink", "end", *chain(*edges)]))}
    everything = {**edges, ("start", "source"): UNLIMITED, ("sink", "end"): UNLIMITED}
    rows, columns = zip(*((places[a], places[b]) for a, b in everything), strict=True)
    values = np.array(list(everything.values()), np.int32)
    capacity = csr_array((values, (rows, columns)), shape=(len(places), len(places)))
    result = maximum_flow(capacity, places["start"], places["end"])
    if result.flow_value >= UNLIMITED:
        raise CutError(
            "A value without one row per example, or a text, would have to cross the cut: the module mixes the "
            "examples of a batch, or its blocks cannot be told apart. Train it whole."
        )
    residual = csr_array(capacity - result.flow)
    residual.data = np.where(residual.data > 0, 1, 0).astype(np.int32)
    residual.eliminate_zeros()
    reaching = set(breadth_first_order(csr_array(residual.T), places["sink"], return_predecessors=False).tolist())
    return [a[1:] for a, b in edges if a[:1] == "<" and places[a] not in reaching and places[b] in reaching]
