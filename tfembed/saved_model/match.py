"""Find each tensor of a module's inference function again in its training function.

Both come from the same code, so both graphs are walked side by side from their outputs to their inputs. They may differ
in two ways: training multiplies by random masks (dropout, stochastic depth) or adds noise, which is stepped over; and
it takes statistics of the batch where inference takes stored ones (batch norm), where the walk ends. Whatever else
differs is written down, and a cut that depends on it is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tensorflow.core.framework.node_def_pb2 import NodeDef

from tfembed.saved_model.graph import FlatGraph, base, data_inputs

_MASKING = frozenset({"Mul", "Select", "SelectV2"})
_NOISY = _MASKING | {"Add", "AddV2", "Sub", "RealDiv"}
FUSED_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})


@dataclass(slots=True)
class Match:
    """How an inference graph and a training graph correspond.

    Attributes:
        partners: By inference tensor, the training tensors that take its place. Where dropout follows a tensor,
            its result is the partner: that dropout belongs to the block that computed the tensor.
        bypasses: By training tensor that adds randomness, the tensor without it.
        stored: By training tensor of a batch's statistics, the inference tensor with the stored ones.
        norms: By training node of a fused batch norm, the inference node.
        spelled_out: By training tensor of a fused batch norm, the ops that do the same in inference: each a node's
            name with the position of the operand that depends on the input, the last op first.
        differences: What else differs, in words.
    """

    inference: FlatGraph
    training: FlatGraph
    partners: dict[str, list[str]] = field(default_factory=dict)
    bypasses: dict[str, str] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    norms: dict[str, str] = field(default_factory=dict)
    spelled_out: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)

    def partner(self, tensor: str) -> str | None:
        """The training tensor for an inference tensor: of several, the one from which dropout makes the others."""
        found = self.partners.get(tensor, [])
        plain = [t for t in found if self.bypasses.get(t) not in found]
        return plain[0] if len(plain) == 1 else None


def match(inference: FlatGraph, training: FlatGraph) -> Match:
    """Walk both graphs from their outputs to their inputs."""
    result = Match(inference, training)
    stack = list(zip(inference.outputs, training.outputs, strict=False))
    seen = set()
    while stack:
        a, b = (graph.source(tensor) for graph, tensor in zip((inference, training), stack.pop(), strict=True))
        partners = result.partners.setdefault(a, [])
        partners.extend([b] if b not in partners else [])
        while (without := _without_noise(training, training.nodes[base(b)])) is not None:
            result.bypasses[b] = without
            b = training.source(without)
        if (a, b) not in seen:
            seen.add((a, b))
            stack.extend(_step(result, a, b))
    return result


def _step(result: Match, a: str, b: str) -> list[tuple[str, str]]:
    """Pair one inference tensor with one training tensor, and say which pairs follow from that."""
    inference, training = result.inference, result.training
    first, second = inference.nodes[base(a)], training.nodes[base(b)]
    if base(a) not in inference.from_inputs():
        if base(b) in training.from_inputs():
            result.stored[b] = a
        return []
    if a in inference.inputs or b in training.inputs:
        if not (
            a in inference.inputs and b in training.inputs and inference.inputs.index(a) == training.inputs.index(b)
        ):
            result.differences.append(f"inference has {_words(first)} where training has {_words(second)}")
        return []
    if second.op in FUSED_NORMS and first.op not in FUSED_NORMS and (chain := _spelled_out(result, first, second)):
        result.spelled_out[b] = chain
        name, position = chain[-1]
        return [(data_inputs(inference.nodes[name])[position], data_inputs(second)[0])]
    inputs = (data_inputs(first), data_inputs(second))
    if first.op != second.op or len(inputs[0]) != len(inputs[1]) or a.rpartition(":")[2] != b.rpartition(":")[2]:
        result.differences.append(f"inference has {_words(first)} where training has {_words(second)}")
        return []
    if first.op in FUSED_NORMS:
        result.norms[second.name] = first.name
        return list(zip(inputs[0][:3], inputs[1][:3], strict=True))
    return list(zip(*inputs, strict=True))


def _spelled_out(result: Match, first: NodeDef, second: NodeDef) -> list[tuple[str, int]]:
    """The inference ops that scale and shift by what belongs to a training graph's fused batch norm.

    To it belong its own scale and offset, and the moving statistics, which are the variables that training writes.
    """
    inference, training = result.inference, result.training
    own = {placeholder for _, placeholder in training.writes()}
    own |= training.variables.keys() & set(training.ancestors(data_inputs(second)[1:3]))
    variables = {id(training.variables[placeholder]) for placeholder in own}
    chain: list[tuple[str, int]] = []
    node = first
    while node.op in ("Add", "AddV2", "Sub", "Mul") and len(data_inputs(node)) == 2:
        fed = [base(tensor) in inference.from_inputs() for tensor in data_inputs(node)]
        behind = inference.ancestors([data_inputs(node)[fed.index(False)]]) if sum(fed) == 1 else ()
        if not any(id(inference.variables.get(name)) in variables for name in behind):
            break
        chain.append((node.name, fed.index(True)))
        node = inference.nodes[base(inference.source(data_inputs(node)[fed.index(True)]))]
    return chain


def _words(node: NodeDef) -> str:
    return f"the {node.op} {node.name!r}"


def _without_noise(flat: FlatGraph, node: NodeDef) -> str | None:
    """The operand that an op adds randomness to; None if it is not such an op.

    Dropout divides by the share that is kept, before the mask or after it: that division goes with it.
    """
    operands = [flat.source(tensor) for tensor in data_inputs(node)] if node.op in _NOISY else []
    if scaled := _scaled(flat, node):
        inner = flat.nodes[base(scaled)]
        return _without_noise(flat, inner) if inner.op in _MASKING else None
    noise = [tensor for tensor in operands if base(tensor) in flat.noise()]
    plain = [tensor for tensor in operands if base(tensor) in flat.from_inputs() and tensor not in noise]
    if not noise or len(plain) != 1:
        return None
    return (_scaled(flat, flat.nodes[base(plain[0])]) or plain[0]) if node.op in _MASKING else plain[0]


def _scaled(flat: FlatGraph, node: NodeDef) -> str | None:
    """What a node multiplies by, or divides by, a constant."""
    if node.op not in ("Mul", "RealDiv"):
        return None
    operands = [flat.source(tensor) for tensor in data_inputs(node)]
    roots = flat.variables.keys() | flat.constants.keys()
    fixed = [t for t in operands if base(t) not in flat.from_inputs() and roots.isdisjoint(flat.ancestors([t]))]
    others = [t for t in operands if t not in fixed and base(t) in flat.from_inputs()]
    return others[0] if len(fixed) == 1 and len(others) == 1 and base(fixed[0]) not in flat.noise() else None


def calm(found: Match, stored: Mapping[str, str]) -> FlatGraph:
    """The training graph without randomness and with stored statistics: it must compute what inference computes.

    Args:
        found: The correspondence.
        stored: Names of tensors to be fed, by the inference tensor whose value they get.
    """
    nodes = dict(found.training.nodes)
    for name, node in nodes.items():
        patched = NodeDef()
        patched.CopyFrom(node)
        patched.input[:] = [redirect(found, tensor, stored) for tensor in data_inputs(node)]
        if name in found.norms:
            patched.attr["is_training"].b = False
            reference = data_inputs(found.inference.nodes[found.norms[name]])[3:5]
            patched.input[3:5] = [stored[found.inference.source(tensor)] for tensor in reference]
        nodes[name] = patched
    for tensor, chain in found.spelled_out.items():
        nodes |= _spliced(found, tensor, chain, stored)
    return FlatGraph(
        nodes=nodes,
        graph_def=found.training.graph_def,
        inputs=found.training.inputs,
        outputs=tuple(redirect(found, tensor, stored) for tensor in found.training.outputs),
        variables=found.training.variables,
        constants=found.training.constants,
    )


def redirect(found: Match, tensor: str, stored: Mapping[str, str]) -> str:
    """The tensor to take instead of a training tensor in the calm graph."""
    source = found.training.source(tensor)
    while source in found.bypasses:
        source = found.training.source(found.bypasses[source])
    if source in found.spelled_out:
        return f"{_splice_name(source, 0)}:0"
    return stored[found.stored[source]] if source in found.stored else source


def _splice_name(tensor: str, step: int) -> str:
    return f"spelled_out/{tensor.replace(':', '_')}/{step}"


def _spliced(found: Match, tensor: str, chain: list[tuple[str, int]], stored: Mapping[str, str]) -> dict[str, NodeDef]:
    """The inference ops that stand for a fused batch norm, on the training graph's tensor."""
    nodes = {}
    for step, (name, position) in enumerate(chain):
        node = NodeDef()
        node.CopyFrom(found.inference.nodes[name])
        node.name = _splice_name(tensor, step)
        operands = data_inputs(found.inference.nodes[name])
        node.input[:] = [stored.get(found.inference.source(operand), operand) for operand in operands]
        inner = data_inputs(found.training.nodes[base(tensor)])[0]
        following = f"{_splice_name(tensor, step + 1)}:0"
        node.input[position] = redirect(found, inner, stored) if step + 1 == len(chain) else following
        nodes[node.name] = node
    return nodes


def statistics(found: Match) -> list[str]:
    """Inference tensors with stored statistics that training replaces by those of the batch."""
    norms = [found.inference.nodes[name] for name in found.norms.values()]
    fused = [tensor for node in norms for tensor in data_inputs(node)[3:5]]
    for name, position in (step for chain in found.spelled_out.values() for step in chain):
        fused.append(data_inputs(found.inference.nodes[name])[1 - position])
    return list(dict.fromkeys([*found.stored.values(), *map(found.inference.source, fused)]))
