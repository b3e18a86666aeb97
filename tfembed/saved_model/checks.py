"""What must hold at a cut, checked on a small sample before anything is trained on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops  # no public name exists for asking whether an op has a gradient

from tfembed.saved_model import match
from tfembed.saved_model.graph import CutError, FlatGraph, import_part, trace
from tfembed.saved_model.probe import Shapes
from tfembed.saved_model.reading import Reading, told_shapes

_TOLERANCE = 1e-3  # of the largest value: rounding stays far below, a wrong tensor is off by the size of the values


def check_settled(flat: FlatGraph, tensors: Sequence[str]) -> None:
    """Check that tensors depend on nothing but the input and variables.

    Raises:
        CutError: If random numbers or the like go into them.
    """
    if drawn := flat.stateful(flat.ancestors(tensors)):
        raise CutError(f"The frozen part is not settled by its input: it runs {drawn[:3]}. Train the module whole.")


def check_gradients(flat: FlatGraph, shapes: Shapes, late: frozenset[str]) -> None:
    """Check that gradients can pass every op behind a cut.

    Raises:
        CutError: If an op has no gradient.
    """
    for name in flat.ancestors(flat.outputs):
        node, dtype = flat.nodes[name], shapes.dtypes.get(f"{name}:0")
        if (
            name in late
            and dtype is not None
            and dtype.is_floating
            and "f" not in node.attr
            and "body" not in node.attr
        ):
            kind = node.attr["_gradient_op_type"].s.decode() if "_gradient_op_type" in node.attr else node.op
            if kind in ("If", "StatelessIf", "Case"):
                continue
            try:
                ops.gradient_registry.lookup(kind)
            except LookupError:
                raise CutError(
                    f"The op {name!r} ({kind}) has no gradient, so nothing in front of it can train."
                ) from None


def check_rows(
    prefix: Callable[[Any], Mapping[str, tf.Tensor]], inputs: Any, features: Mapping[str, tf.Tensor]
) -> None:
    """Check that what crosses a cut is the same for an example alone as in a batch.

    Raises:
        CutError: If it is not, and so cannot be kept per example.
    """
    first = prefix(tf.nest.map_structure(lambda tensor: tensor[:1], inputs))
    for name, value in features.items():
        if not _close(first[name], value[:1]):
            raise CutError(
                f"What crosses the cut as {name!r} depends on the other examples of the batch. Train it whole."
            )


def check_match(
    found: match.Match, training: Reading, feeds: Mapping[str, tf.Tensor], late: frozenset[str], expected: Sequence[Any]
) -> None:
    """Check that the training function computes the same as inference, its randomness and batch statistics aside.

    Args:
        found: Which tensors correspond.
        training: The training function.
        feeds: Sample values of what crosses the cut, by name in the training graph.
        late: Nodes behind the cut in the training graph.
        expected: What inference makes of the sample.

    Raises:
        CutError: If it computes something else.
    """
    stored = {tensor: f"stored_{i}:0" for i, tensor in enumerate(match.statistics(found))}
    calm = match.calm(found, stored)

    def run(*values: tf.Tensor) -> list[tf.Tensor]:
        given = dict(zip(feeds, values, strict=True))
        given |= {match.redirect(found, name, stored): value for name, value in given.items()}
        given |= told_shapes(training, given, training.flat.outputs, late)
        given |= dict(zip(stored.values(), import_part(found.inference, list(stored), {}), strict=True))
        return import_part(calm, calm.outputs, given)

    results = trace(run, *(tf.TensorSpec(value.shape, value.dtype) for value in feeds.values()))(*feeds.values())
    if all(_close(a, b) for a, b in zip(results, expected, strict=True)):
        return
    why = "; ".join(found.differences[:3]) or "their tensors at the cut do not agree"
    raise CutError(f"The module's training function computes something else than inference: {why}. Train it whole.")


def _close(a: tf.Tensor, b: tf.Tensor) -> bool:
    if not (a.dtype.is_floating and b.dtype.is_floating):
        return bool(tf.reduce_all(a == b))
    a, b = tf.cast(a, tf.float64), tf.cast(b, tf.float64)
    return a.shape == b.shape and bool(
        tf.reduce_max(tf.abs(a - b), axis=None) <= _TOLERANCE * tf.maximum(tf.reduce_max(tf.abs(b)), 1e-6)
    )
