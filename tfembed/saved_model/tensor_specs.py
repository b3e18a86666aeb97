"""Nests of tensors as specifications: for Keras, for tracing, and as JSON in a saved model's config."""

import json
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Spec = tf.TensorSpec | tf.RaggedTensorSpec | tf.SparseTensorSpec


def as_tensors(inputs: Any) -> Any:
    """Turn Python and NumPy values in a nest into tensors; leave tensors alone.

    A list of plain values (numbers, strings, lists of these) is one tensor, as it is for NumPy; a list that holds a
    tensor or an array is a nest. Keras refuses NumPy's own strings (dtype `<U`) and Python lists of strings.

    Raises:
        ValueError: If nested lists of plain values have unequal lengths.

    Example:
        >>> as_tensors({"text": ["book a", "flight"]})["text"].dtype
        tf.string
    """
    if isinstance(inputs, dict):
        return {key: as_tensors(value) for key, value in inputs.items()}
    if isinstance(inputs, list | tuple):
        if not _is_plain(inputs):
            values = [as_tensors(value) for value in inputs]
            return values if isinstance(inputs, list) else tuple(values)
    elif not isinstance(inputs, str | bytes | int | float | np.ndarray | np.generic):
        return inputs
    try:
        return tf.convert_to_tensor(inputs)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Cannot make a tensor of {str(inputs)[:80]!r}: {error}. Expected values of one type, lists of equal "
            "length; pass tf.ragged.constant(...) for rows of unequal length."
        ) from error


def _is_plain(values: Iterable[Any]) -> bool:
    plain = str | bytes | int | float | np.generic
    return bool(values) and all(
        _is_plain(value) if isinstance(value, list | tuple) else isinstance(value, plain) for value in values
    )


def to_tf(tensor: Any) -> Any:
    """The tf.TypeSpec of a symbolic Keras tensor; anything else as it is."""
    if not isinstance(tensor, keras.KerasTensor):
        return tensor
    if tensor.ragged:
        return tf.RaggedTensorSpec(
            tensor.shape, tensor.dtype, tensor.ragged_rank or 1, tensor.row_splits_dtype or tf.int64
        )
    return (tf.SparseTensorSpec if tensor.sparse else tf.TensorSpec)(tensor.shape, tensor.dtype)


def to_keras(spec: Any) -> keras.KerasTensor:
    """The symbolic Keras tensor for a tf.TypeSpec or for a tensor."""
    if not isinstance(spec, tf.TypeSpec):
        spec = tf.type_spec_from_value(spec)
    if isinstance(spec, tf.RaggedTensorSpec):
        return keras.KerasTensor(
            spec.shape, spec.dtype.name, ragged=True, ragged_rank=spec.ragged_rank, row_splits_dtype="int64"
        )
    return keras.KerasTensor(spec.shape, spec.dtype.name, sparse=isinstance(spec, tf.SparseTensorSpec))


def to_json(nest: Any) -> dict[str, Any]:
    """Describe a nest of symbolic Keras tensors by JSON values."""
    if isinstance(nest, dict):
        return {"kind": "dict", "items": {key: to_json(value) for key, value in nest.items()}}
    if isinstance(nest, list | tuple):
        return {"kind": type(nest).__name__, "items": [to_json(value) for value in nest]}
    kind = "ragged" if nest.ragged else "sparse" if nest.sparse else "dense"
    return {"kind": kind, "shape": list(nest.shape), "dtype": nest.dtype, "ragged_rank": nest.ragged_rank}


def from_json(described: dict[str, Any]) -> Any:
    """The nest of symbolic Keras tensors that `to_json` described."""
    match described["kind"]:
        case "dict":
            return {key: from_json(value) for key, value in described["items"].items()}
        case "list":
            return [from_json(value) for value in described["items"]]
        case "tuple":
            return tuple(from_json(value) for value in described["items"])
        case kind:
            return keras.KerasTensor(
                described["shape"],
                described["dtype"],
                sparse=kind == "sparse",
                ragged=kind == "ragged",
                ragged_rank=described["ragged_rank"],
            )


def any_batch(nest: Any) -> Any:
    """The symbolic tensors of a nest of tensors, of any batch size."""

    def symbol(tensor: Any) -> keras.KerasTensor:
        known = to_keras(tensor)
        shape = (None, *known.shape[1:])[: len(known.shape)]
        return from_json({**to_json(known), "shape": shape})

    return keras.tree.map_structure(symbol, nest)


class SeenCalls:
    """Which outputs a module gave for which inputs, as specifications.

    A model file is read before its modules are: Keras replays the model's calls, and gets its answers from here.
    """

    _LIMIT = 16  # a module called with ever new shapes must not grow the config without end

    def __init__(self, described: Iterable[dict[str, Any]] = ()) -> None:
        self._seen = {_key(call["inputs"]): call for call in described}

    def note(self, inputs: Any, outputs: Any) -> None:
        """Remember a call, given nests of symbolic Keras tensors."""
        call = {"inputs": to_json(inputs), "outputs": to_json(outputs)}
        if len(self._seen) < self._LIMIT:
            self._seen.setdefault(_key(call["inputs"]), call)

    def find(self, inputs: Any) -> Any:
        """The outputs remembered for these inputs, or those of the only call; None if there are neither."""
        call = self._seen.get(_key(to_json(inputs)))
        if call is None and len(self._seen) == 1:
            call = next(iter(self._seen.values()))
        return None if call is None else from_json(call["outputs"])

    def describe(self) -> list[dict[str, Any]]:
        """The calls as JSON values."""
        return list(self._seen.values())


def _key(described: dict[str, Any]) -> str:
    return json.dumps(described, sort_keys=True)
