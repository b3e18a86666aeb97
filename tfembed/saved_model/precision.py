"""Which ops of a graph run in bfloat16, where that is asked for."""

from collections.abc import Sequence

import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.python.framework import op_def_registry  # no public name exists for the table of ops

_COSTLY = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "Einsum", "Conv2D", "DepthwiseConv2dNative"})
# What lies between costly ops stays in bfloat16 if all that it takes is. Norms, softmax and reductions are not here.
_CARRIED = frozenset(
    {"Add", "AddV2", "Sub", "Mul", "Pow", "BiasAdd", "Neg", "Square", "Tanh", "Sigmoid", "Erf", "Erfc", "Relu", "Relu6"}
    | {"Elu", "Selu", "LeakyRelu", "Maximum", "Minimum", "Reshape", "Transpose", "ExpandDims", "Squeeze", "ConcatV2"}
    | {"Pack", "Unpack", "Split", "Slice", "StridedSlice", "Pad"}
    # computes in float32 whatever it takes, and takes its statistics in float32
    | {"FusedBatchNormV3"}
)


def is_float32(node: NodeDef) -> bool:
    """Whether the type of an op is given by an attribute `T`, and is float32."""
    return "T" in node.attr and node.attr["T"].type == tf.float32.as_datatype_enum  # to read what is not there adds it


def switchable(node: NodeDef) -> list[int]:
    """Positions of the inputs of an op that are float32 and become bfloat16 with its attribute `T`.

    Example:
        >>> node = NodeDef(op="Reshape")
        >>> node.attr["T"].type = tf.float32.as_datatype_enum
        >>> switchable(node)
        [0]
    """
    definition = op_def_registry.get(node.op)
    if definition is None or not is_float32(node):
        return []
    types = []
    for argument in definition.input_arg:
        types += [argument.type_attr] * (node.attr[argument.number_attr].i if argument.number_attr else 1)
    return [i for i, name in enumerate(types) if name == "T"]


def runs_low(node: NodeDef, moving: Sequence[bool]) -> bool:
    """Whether an op runs in bfloat16.

    Args:
        node: The op.
        moving: For each input that can be switched and is no constant, whether it is in bfloat16.

    Example:
        >>> node = NodeDef(op="AddV2")
        >>> node.attr["T"].type = tf.float32.as_datatype_enum
        >>> runs_low(node, [True]), runs_low(node, [True, False])
        (True, False)
    """
    return is_float32(node) and (node.op in _COSTLY or (node.op in _CARRIED and bool(moving) and all(moving)))
