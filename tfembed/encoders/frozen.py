"""The frozen part of an encoder as a graph, made once for all examples and again when a weight in it has changed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.saved_model.bare import bare
from tfembed.saved_model.graph import CutError, tf_variable

Tensors = dict[str, Any]
_SAMPLE_ROWS = 2
_TOLERANCE = 1e-3  # of a bare graph in float32, whose sums may be taken in another order


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Values of variables at one moment.

    Attributes:
        variables: The variables.
        values: Their values; they share memory with a variable until it is written to.
    """

    variables: tuple[tf.Variable, ...]
    values: tuple[tf.Tensor, ...]

    @classmethod
    def of(cls, variables: Sequence[Any]) -> "Weights":
        """The values that variables have now."""
        found = tuple(map(tf_variable, variables))
        return cls(found, tuple(variable.read_value() for variable in found))

    def are_current(self) -> bool:
        """Whether the variables still have these values."""
        return all(map(_same, self.values, (variable.read_value() for variable in self.variables)))


def _same(kept: tf.Tensor, now: tf.Tensor) -> bool:
    # A variable is never written to in memory that somebody else holds, so the same memory means the same values.
    a, b = kept.numpy(), now.numpy()
    here = isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.ctypes.data == b.ctypes.data
    return here or bool(np.array_equal(a, b))


@dataclass(frozen=True, slots=True, eq=False)
class _Graph:
    run: Callable[[Tensors], Tensors]
    weights: Weights | None  # None for a graph that reads its variables itself


class FrozenGraphs:
    """Graphs of frozen parts, by cut, compute type, and the form of what they are given."""

    def __init__(self) -> None:
        self._known: dict[Any, _Graph] = {}

    def caller(
        self, part: Callable[[Tensors], Tensors], variables: Sequence[Any], *, key: tuple[Any, ...], padded: bool
    ) -> Callable[[Tensors], Tensors]:
        """A function that runs a part as a graph, with the weights as they are now.

        Args:
            part: The part, from prepared examples to what crosses a cut.
            variables: Its weights.
            key: What tells it from others; the compute type comes last.
            padded: Whether the examples are padded to a length that changes.
        """
        checked = set()

        def call(prepared: Tensors) -> Tensors:
            form = (*key, tuple(sorted(prepared)), *(prepared[n].shape[1 + padded :] for n in sorted(prepared)))
            known = self._known.get(form)
            if known is None or not (form in checked or known.weights is None or known.weights.are_current()):
                self._known[form] = known = _build(part, variables, key[-1], prepared, padded)
            checked.add(form)
            return known.run(prepared)

        return call


def _build(
    part: Callable[[Tensors], Tensors], variables: Sequence[Any], compute: str, prepared: Tensors, padded: bool
) -> _Graph:
    """The bare graph of a part; the ordinary one where there can be none, or where it computes something else."""
    free = 2 if padded else 1
    specs = {n: tf.TensorSpec([None] * min(free, v.shape.rank) + v.shape[free:], v.dtype) for n, v in prepared.items()}
    ordinary = tf.function(part, autograph=False).get_concrete_function(specs)
    weights = Weights.of(variables)
    try:
        graph = bare(ordinary, variables, tf.as_dtype(compute))
    except CutError:
        return _Graph(ordinary, None)
    names = sorted(prepared)

    def run(given: Tensors) -> Tensors:
        results = graph(*(given[name] for name in names))
        return tf.nest.pack_sequence_as(ordinary.structured_outputs, results)

    sample = {name: value[:_SAMPLE_ROWS] for name, value in prepared.items()}
    right = compute != "float32" or _agree(run(sample), ordinary(sample))
    return _Graph(run, weights) if right else _Graph(ordinary, None)


def _agree(found: Tensors, expected: Tensors) -> bool:
    """Whether two results are equal but for rounding."""
    return all(
        np.abs(found[name] - value).max(initial=0.0) <= _TOLERANCE * max(1.0, np.abs(value).max(initial=0.0))
        for name, value in expected.items()
        if value.dtype.is_floating
    )
