"""What a flat graph computes, found out by running it on a few small inputs.

Which tensors have one row per example, and which dimension follows which, is written nowhere in a graph: static shapes
say "unknown" for both. So the graph is run on inputs of different sizes, and what grows with the batch is batched.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef

from tfembed.saved_model.graph import CutError, FlatGraph, base, data_inputs, import_part, trace

BATCHES = (2, 3, 2)  # the batch size of each probe
_LENGTHS = (6, 10, 7)  # of unknown dimensions of tables and texts: small, for ids are looked up in tables
_PIXELS = (64, 96, 75)  # of unknown dimensions of images: large enough for five halvings
_HEAVY = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "_FusedMatMul"})
_CONVOLUTIONS = frozenset({"Conv2D", "Conv3D", "DepthwiseConv2dNative", "Conv1D"})

Dimension = tuple[int, ...]  # one dimension of a tensor, as measured in each probe


@dataclass(frozen=True, slots=True)
class Shapes:
    """Measured shapes of a graph's tensors.

    Attributes:
        dimensions: By tensor name, each dimension as measured in each probe.
        dtypes: By tensor name.
        batch: The batch size in each probe.
    """

    dimensions: dict[str, tuple[Dimension, ...]]
    dtypes: dict[str, tf.DType]
    batch: Dimension

    def batched(self, tensor: str) -> bool:
        """Whether the tensor has one row per example."""
        dimensions = self.dimensions.get(tensor)
        return dimensions is not None and dimensions[:1] == (self.batch,)

    def num_bytes(self, tensor: str) -> int:
        """Bytes of one example in the first probe; for a batched tensor."""
        return max(1, math.prod(d[0] for d in self.dimensions[tensor][1:]) * self.dtypes[tensor].size)

    def spec(self, tensor: str) -> tf.TensorSpec:
        """The tensor's dtype, and its shape with None for what changes."""
        if tensor not in self.dimensions:
            return tf.TensorSpec(None, self.dtypes.get(tensor, tf.float32))
        return tf.TensorSpec([d[0] if len(set(d)) == 1 else None for d in self.dimensions[tensor]], self.dtypes[tensor])

    def locate(self, dimension: Dimension, tensors: Sequence[str]) -> tuple[str, int] | int | None:
        """Where to read a dimension: the tensor and axis that always agree with it, or its constant value."""
        if len(set(dimension)) == 1 and dimension != self.batch:
            return dimension[0]
        for tensor in tensors:
            if dimension in self.dimensions.get(tensor, ()):
                return tensor, self.dimensions[tensor].index(dimension)
        return None


def sample_inputs(specs: Sequence[tf.TensorSpec], probe: int) -> list[tf.Tensor]:
    """Small inputs for the given specs, the same on every call: ids of 0 and 1, numbers in [0, 1), texts "a a ..."."""
    return [_sample(spec, probe, np.random.default_rng(7 + position)) for position, spec in enumerate(specs)]


def _sample(spec: tf.TensorSpec, probe: int, generator: np.random.Generator) -> tf.Tensor:
    if spec.shape.rank is None:
        raise CutError(f"The module's input {spec.name!r} has an unknown rank, so no sample of it can be made up.")
    sizes = _PIXELS if spec.shape.rank >= 4 else _LENGTHS
    unknown = [sizes[probe] + 8 * (axis - 1) * (spec.shape.rank >= 4) for axis in range(spec.shape.rank)]
    unknown[:1] = [BATCHES[probe]] * min(1, spec.shape.rank)
    shape = [unknown[axis] if size is None else size for axis, size in enumerate(spec.shape)]
    if spec.dtype == tf.string:
        return tf.fill(shape, " ".join(["a"] * _LENGTHS[probe]))  # so that a tokenizer gives as many tokens
    if spec.dtype.is_floating:
        return tf.constant(generator.random(shape), spec.dtype)
    return tf.cast(tf.constant((np.arange(math.prod(shape)) % 3 != 1).reshape(shape)), spec.dtype)


def measure(flat: FlatGraph, specs: Sequence[tf.TensorSpec]) -> Shapes:
    """Run everything that depends on the inputs, and write down the shapes.

    Args:
        flat: The graph.
        specs: Shapes and dtypes of its inputs, in order.

    Raises:
        CutError: If it does not run on the sample inputs, or takes no batch.
    """
    fixed = {spec.shape[0] for spec in specs if spec.shape.rank}
    if len(fixed) != 1:
        raise CutError(f"The module's inputs do not share one batch dimension: {[str(spec.shape) for spec in specs]}.")
    static: dict[str, tf.TensorSpec] = {}

    def shapes_of(*values: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        tensors = _tensors(flat, dict(zip(flat.inputs, values, strict=True)))
        static.update({name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in tensors.items()})
        known = [tensor for tensor in tensors.values() if tensor.shape.rank is not None]
        return _joined_shapes(known), [tf.shape(tensor) for tensor in tensors.values() if tensor.shape.rank is None]

    try:
        traced = trace(shapes_of, *map(unnamed, specs))
        found = [traced(*sample_inputs(specs, probe)) for probe in range(len(BATCHES))]
    except (tf.errors.OpError, ValueError, TypeError) as error:
        raise CutError(
            f"The module does not run on sample inputs of {[str(s.shape) for s in specs]}: {error}"
        ) from error
    shapes = [_split(static, *result) for result in found]
    dimensions = {
        name: tuple(zip(*(shape[name] for shape in shapes), strict=True))
        for name in static
        if len({len(shape[name]) for shape in shapes}) == 1
    }
    size = fixed.pop()
    dtypes = {name: spec.dtype for name, spec in static.items()}
    return Shapes(dimensions, dtypes, BATCHES if size is None else (size,) * len(BATCHES))


def _split(static: Mapping[str, tf.TensorSpec], joined: tf.Tensor, single: Sequence[tf.Tensor]) -> dict[str, list[int]]:
    """Each tensor's shape, out of the vector of those of known rank, and of the others."""
    sizes, others = iter(joined.numpy().tolist()), iter(single)
    return {
        name: next(others).numpy().tolist()
        if spec.shape.rank is None
        else [next(sizes) for _ in range(spec.shape.rank)]
        for name, spec in static.items()
    }


def _tensors(flat: FlatGraph, feeds: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """All tensors that depend on what is fed, and the kernels that are multiplied with them; by dtype."""
    reachable = flat.from_inputs()
    names = [name for name in flat.ancestors(flat.outputs) if name in reachable]
    kernels = {t for name in names if is_heavy(flat.nodes[name].op) for t in data_inputs(flat.nodes[name])[:2]}
    wanted = [f"{name}:0" for name in names if f"{name}:0" not in feeds]
    wanted += sorted(tensor for tensor in kernels if base(tensor) not in reachable)
    tensors = dict(feeds)
    for first in import_part(flat, wanted, feeds):
        tensors |= {f"{first.op.name.removeprefix('part/')}:{i}": t for i, t in enumerate(first.op.outputs)}
    usable = {name: t for name, t in tensors.items() if t.dtype not in (tf.resource, tf.variant)}
    return dict(sorted(usable.items(), key=lambda item: item[1].dtype.name))


def _joined_shapes(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """All the shapes in one vector, by one op per dtype: thousands of single ops would take seconds to add."""
    groups = [list(group) for _, group in groupby(tensors, key=lambda tensor: tensor.dtype)]
    return tf.concat([shape for group in groups for shape in tf.raw_ops.ShapeN(input=group)], axis=0)


def unnamed(spec: tf.TensorSpec) -> tf.TensorSpec:
    """The spec without its name, so that tensors may be passed by position."""
    return tf.TensorSpec(spec.shape, spec.dtype)


def is_heavy(op: str) -> bool:
    """Whether an op multiplies matrices or convolves: worth computing once instead of every step."""
    return op in _HEAVY or op in _CONVOLUTIONS


def multiplications(flat: FlatGraph, shapes: Shapes) -> dict[str, int]:
    """Multiplications of each matrix product and convolution on the first probe, by node."""
    result = {}
    for name, node in flat.nodes.items():
        tensors = [f"{name}:0", *data_inputs(node)[:2]]
        if is_heavy(node.op) and all(tensor in shapes.dimensions for tensor in tensors):
            output, first, second = ([d[0] for d in shapes.dimensions[tensor]] for tensor in tensors)
            result[name] = math.prod(output) * _num_summed(node, first, second)
    return result


def _num_summed(node: NodeDef, first: Sequence[int], second: Sequence[int]) -> int:
    """How many products are summed for one output value, by the shapes of the two operands."""
    if node.op in _CONVOLUTIONS:
        return math.prod(second[:2]) if node.op.startswith("Depthwise") else math.prod(second[:-1])
    if node.op == "Einsum":
        terms, _, output = node.attr["equation"].s.decode().partition("->")
        sizes = [
            (label, n)
            for term, dims in zip(terms.split(","), (first, second), strict=False)
            for label, n in zip(term, dims, strict=False)
        ]
        return math.prod(n for label, n in dict(sizes).items() if label not in output)
    transposed = any(name in node.attr and node.attr[name].b for name in ("transpose_a", "adj_x"))
    return first[-2 if transposed else -1]
