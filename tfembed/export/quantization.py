"""Quantization: weights that take less room on disk, and are float32 again as soon as the model is loaded.

The graph that computes stays the same, so that an answer takes as long as before. What sets the weights in float32 is
an initializer, as those of lookup tables are.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

KINDS = ("bfloat16", "int8-weights")
_SMALLEST = 1024  # values of what is worth it; biases and norms stay as they are
_INT8 = 127
MOST_LOST = 0.01  # of the score


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What quantization saves and costs.

    Attributes:
        kind: See StoredWeight.
        bytes_before: Of the weights.
        bytes_after: Of what is stored of them.
        score: What was measured: accuracy, where the labels are known; else agreement with the model as it was.
        before: The score of the model as it was.
        after: That of what is exported.
        num_examples: That it was measured on.
    """

    kind: str
    bytes_before: int
    bytes_after: int
    score: str
    before: float
    after: float
    num_examples: int

    def __str__(self) -> str:
        return (
            f"{self.kind}: weights of {self.bytes_before / 1e6:.1f} MB take {self.bytes_after / 1e6:.1f} MB; "
            f"{self.score} {self.before:.4f} before, {self.after:.4f} after, on {self.num_examples} examples"
        )


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


def quantize(functions: Mapping[str, Any], variables: Sequence[tf.Variable], kind: str) -> list[Any]:
    """Let functions use weights that are kept in fewer bits.

    Args:
        functions: Concrete functions; what they capture is changed.
        variables: What they use.
        kind: See StoredWeight.

    Returns:
        What the functions use now: a stored weight in the place of each large variable, and the others.
    """
    used: list[Any] = []
    instead: dict[int, Any] = {}
    for variable in variables:
        if variable.dtype != tf.float32 or variable.shape.rank < 2 or variable.shape.num_elements() < _SMALLEST:
            used.append(variable)
            continue
        stored = StoredWeight(variable.numpy(), kind)
        stored._initialize()
        instead[id(variable.handle)] = stored.resource_handle
        used.append(stored)
    for function in functions.values():
        function.set_external_captures([instead.get(id(each), each) for each in function.captured_inputs])
    return used


def num_bytes(used: Sequence[Any]) -> int:
    """Bytes that variables and stored weights take on disk."""
    variables = [one for each in used for one in (each.variables if isinstance(each, StoredWeight) else [each])]
    return sum(one.shape.num_elements() * one.dtype.size for one in variables)


def score(task: str, outputs: np.ndarray, wanted: np.ndarray) -> float:
    """How well outputs do, 1 for what is wanted: the share of right labels; of regressions the coefficient R2.

    Args:
        task: As in `Dataset.task`.
        outputs: Probabilities `(n, num_classes)`, or values `(n, 1)`.
        wanted: Labels as a Split has them.

    Example:
        >>> score("classification", np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1]))
        0.5
    """
    if task == "classification":
        return float(np.mean(outputs.argmax(axis=1) == wanted))
    if task == "multi_label":
        return float(np.mean((outputs >= 0.5) == (wanted >= 0.5)))
    expected, values = wanted.astype(np.float64), outputs[:, 0].astype(np.float64)  # squares overflow in float32
    missed, spread = ((values - expected) ** 2).sum(), ((expected - expected.mean()) ** 2).sum()
    return float(1 - missed / max(spread, np.finfo(np.float64).tiny))


def as_labels(task: str, outputs: np.ndarray) -> np.ndarray:
    """What outputs say, as labels of a Split."""
    if task == "classification":
        return outputs.argmax(axis=1)
    return outputs if task == "multi_label" else outputs[:, 0]
