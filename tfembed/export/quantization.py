"""Quantization: weights that take less room on disk, and are float32 again as soon as the model is loaded.

The graph that computes stays the same, so that an answer takes as long as before. What sets the weights in float32 is an
initializer, as those of lookup tables are.
"""

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

KINDS = ("bfloat16", "int8-weights")
_SMALLEST = 1024  # values of what is worth it; biases and norms stay as they are
_INT8 = 127


class StoredWeight(tf.saved_model.experimental.TrackableResource):
    """A float32 variable that is kept in fewer bits.

    Args:
        value: The weight, float32 of any shape.
        kind: `"bfloat16"`; or `"int8-weights"`: whole numbers from -127 to 127, times a scale for each index of the
            last axis.
    """

    def __init__(self, value: np.ndarray, kind: str) -> None:
        super().__init__()
        self._name, self._shape = f"weight_{uuid.uuid4().hex}", value.shape
        if kind == "bfloat16":
            self.variables = [tf.Variable(tf.cast(value, tf.bfloat16), trainable=False)]
            return
        axes = tuple(range(value.ndim - 1))
        scale = np.maximum(np.abs(value).max(axis=axes), np.finfo(np.float32).tiny) / _INT8
        whole = np.rint(value / scale).astype(np.int8)
        self.variables = [tf.Variable(whole, trainable=False), tf.Variable(scale.astype(np.float32), trainable=False)]

    def value(self) -> Any:
        """The weight as it comes back, float32."""
        stored, *scale = self.variables
        return tf.cast(stored, tf.float32) * (scale[0] if scale else 1.0)

    def _create_resource(self) -> Any:
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=self._shape, shared_name=self._name)

    def _initialize(self) -> None:
        tf.raw_ops.AssignVariableOp(resource=self.resource_handle, value=self.value())


def quantize(functions: Mapping[str, Any], variables: Iterable[tf.Variable], kind: str) -> list[Any]:
    """Let functions use weights that are kept in fewer bits.

    Args:
        functions: Concrete functions; what they capture is changed.
        variables: What they use.
        kind: See StoredWeight.

    Returns:
        What the functions use now in place of the variables: stored weights, and the variables that stay.
    """
    kept: list[Any] = []
    instead: dict[int, Any] = {}
    for variable in variables:
        if variable.dtype != tf.float32 or variable.shape.rank < 2 or variable.shape.num_elements() < _SMALLEST:
            kept.append(variable)
            continue
        stored = StoredWeight(variable.numpy(), kind)
        stored._initialize()
        instead[id(variable.handle)] = stored.resource_handle
        kept.append(stored)
    for function in functions.values():
        function.set_external_captures([instead.get(id(each), each) for each in function.captured_inputs])
    return kept
