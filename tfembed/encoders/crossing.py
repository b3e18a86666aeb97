"""What crosses a cut of a Keras model: the tensors with the fewest bytes an example that spare every costly call."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from tfembed.encoders.calls import Call
from tfembed.saved_model.frontier import UNLIMITED, minimal_cut

_TYPICAL_LENGTH = 32  # of a dimension that changes, such as the number of tokens
_HEAVY = frozenset({"Matmul", "Einsum", "Dot", "Tensordot", "Conv", "DepthwiseConv", "ConvTranspose", "Attention"})

# Layers whose results, large ones, are the same for every example.
_SHARED = frozenset({"RelativeEmbedding", "RelativeBias"})


def cheapest(calls: Sequence[Call], needed: Iterable[Any]) -> list[Any]:
    """Choose what to keep so that what is needed behind a cut can be computed.

    Masks, activations and other calls without weights may be repeated behind the cut, if what they are made of is
    smaller than what they give.

    Args:
        calls: All calls of the model.
        needed: The Keras tensors from in front of the cut that are used behind it.

    Returns:
        Keras tensors, in the order in which they are computed.

    Raises:
        CutError: If something without one row per example would have to cross.
    """
    maker = {id(tensor): call for call in calls for tensor in call.outputs}
    stack, seen = list(needed), {}
    edges = {(f">{id(tensor)}", "sink"): UNLIMITED for tensor in stack}
    while stack:
        tensor = stack.pop()
        if id(tensor) in seen:
            continue
        seen[id(tensor)], call = tensor, maker.get(id(tensor))
        edges[f"<{id(tensor)}", f">{id(tensor)}"] = 2 * _num_bytes(tensor) - (call is None)  # of equals, the input
        edges[f"={id(call)}", f"<{id(tensor)}"] = UNLIMITED
        if call is None or _is_costly(call.operation):
            edges["source", f"={id(call)}"] = UNLIMITED
        else:
            edges |= {(f">{id(parent)}", f"={id(call)}"): UNLIMITED for parent in call.inputs}
            stack.extend(call.inputs)
    position = {id(tensor): i for i, call in enumerate(calls) for tensor in call.outputs}
    kept = [seen[int(name)] for name in minimal_cut(edges)]
    return sorted(kept, key=lambda tensor: position.get(id(tensor), -1))


def _num_bytes(tensor: Any) -> int:
    """Bytes of one example; more than there may be, where there is not one row per example."""
    if not tensor.shape or tensor.shape[0] is not None or tensor.dtype == "string":
        return UNLIMITED // 2
    return (
        math.prod(_TYPICAL_LENGTH if size is None else size for size in tensor.shape[1:])
        * tf.as_dtype(tensor.dtype).size
    )


def _is_costly(operation: Any) -> bool:
    if type(operation).__name__ in _SHARED:
        return False
    return bool(getattr(operation, "weights", ())) or type(operation).__name__ in _HEAVY
