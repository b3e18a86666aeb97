"""Dense layers, in whatever form a graph writes them, as products of two matrices."""

import math
from dataclasses import dataclass

import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef

from tfembed.saved_model.precision import is_float32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dense:
    """A product of rows with a constant matrix.

    Attributes:
        kernel: `(summed, outputs)`.
        num_summed: How many of the last dimensions of what comes in are summed over.
        last: The dimensions of the result that replace them.
    """

    kernel: tf.Tensor
    num_summed: int
    last: list[int]


def read_dense(node: NodeDef, kernel: tf.Tensor | None) -> Dense | None:
    """Read an op as a dense layer.

    Args:
        node: The op.
        kernel: Its second operand, if that is constant.

    Returns:
        The dense layer, or None if the op is something else.

    Example:
        >>> node = NodeDef(op="Einsum")
        >>> node.attr["equation"].s, node.attr["T"].type = b"abc,cde->abde", tf.float32.as_datatype_enum
        >>> dense = read_dense(node, tf.zeros([6, 2, 3]))
        >>> dense.kernel.shape.as_list(), dense.last
        ([6, 6], [2, 3])
    """
    if kernel is None or not is_float32(node):
        return None
    if node.op == "Einsum":
        num_summed = _num_summed(node.attr["equation"].s.decode())
    elif node.op in ("BatchMatMul", "BatchMatMulV2") and kernel.shape.rank == 2:
        num_summed = None if node.attr["adj_x"].b or node.attr["adj_y"].b else 1
    else:
        num_summed = None
    if num_summed is None:
        return None
    shape = kernel.shape.as_list()
    matrix = tf.reshape(kernel, [math.prod(shape[:num_summed]), -1])
    return Dense(kernel=matrix, num_summed=num_summed, last=shape[num_summed:])


def _num_summed(equation: str) -> int | None:
    """How many dimensions an Einsum sums over, if they are the last of the rows and the first of the kernel."""
    operands, _, result = equation.replace(" ", "").partition("->")
    rows, _, kernel = operands.partition(",")
    for count in range(1, min(len(rows), len(kernel))):
        kept, columns = rows[:-count], kernel[count:]
        if (
            rows[-count:] == kernel[:count]
            and result == kept + columns
            and len(set(rows + columns)) == len(rows + columns)
        ):
            return count
    return None
