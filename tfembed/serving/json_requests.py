"""From the JSON bodies of REST requests to arrays and examples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.serving.json_tensors import check_float, decode_base64, encode_text, is_base64, to_array
from tfembed.serving.json_text import check_name, kind_of, parse_object, show
from tfembed.serving.status import Code, ServingError, invalid

_FLOAT = tf.float32.as_datatype_enum


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a predict request must fill.

    Attributes:
        inputs: From the name of each input to the number of its DataType.
        defaults: The inputs that may be left out.
    """

    inputs: dict[str, int]
    defaults: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictBody:
    """A predict request: row format (`instances`) or column format (`inputs`)."""

    signature_name: str
    row_format: bool
    arrays: dict[str, np.ndarray]


def read_predict(body: bytes, find: Callable[[str], Signature]) -> PredictBody:
    """Read the body of a predict request.

    Args:
        body: JSON.
        find: From the name in `signature_name` (empty if there is none) to the signature.

    Raises:
        ServingError: As TensorFlow Serving answers what is wrong with it.

    Example:
        >>> find = lambda name: Signature(inputs={"x": _FLOAT})
        >>> read_predict(b'{"instances": [1, 2]}', find).arrays
        {'x': array([1., 2.], dtype=float32)}
    """
    try:
        document = parse_object(body)
        name = _signature_name(document)
        signature = find(name)
        if "instances" in document and "inputs" in document:
            raise _format_error(
                document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
            )
        if "instances" in document:
            arrays = _rows(document, signature)
        elif "inputs" in document:
            arrays = _columns(document["inputs"], signature)
        else:
            raise invalid("Missing 'inputs' or 'instances' key")
        return PredictBody(signature_name=name, row_format="instances" in document, arrays=arrays)
    except RecursionError as error:
        raise invalid("JSON Parse error: Nested too deeply.") from error


def read_examples(body: bytes, message: Any) -> None:
    """Read the body of a classify or regress request into a ClassificationRequest or RegressionRequest.

    Raises:
        ServingError: As TensorFlow Serving answers what is wrong with it.
    """
    document = parse_object(body)
    name = _signature_name(document)
    if name:
        message.model_spec.signature_name = name
    if "context" in document:
        _fill_example(document["context"], message.input.example_list_with_context.context)
    if "examples" not in document:
        raise _format_error(document, "When method is classify, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise _format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise _format_error(document, "'examples' value is an empty array")
    filled = message.input.example_list_with_context if "context" in document else message.input.example_list
    for example in examples:
        _fill_example(example, filled.examples.add())


def _signature_name(document: dict[str, Any]) -> str:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise _format_error(document, "not formatted correctly. 'signature_name' key must be a string value.")
    return check_name(name)


def _rows(document: dict[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    instances, inputs = document["instances"], signature.inputs
    if not isinstance(instances, list):
        raise _format_error(document, "Excepting 'instances' to be an list/array")
    if not instances:
        raise _format_error(document, "No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(inputs) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    if _is_object(instances[0]):
        return _named_rows(instances, signature)
    if not inputs:
        raise invalid("instances holds values, but the signature has no inputs")
    name, enum = next(iter(inputs.items()))
    for i, instance in enumerate(instances):
        if _is_object(instance):
            raise invalid(f"Expecting value/list but got object at item {i} of input list")
    return {name: _stack(instances, enum, lambda i: f"Failed to process element: {i} of 'instances' list.")}


def _named_rows(instances: list[Any], signature: Signature) -> dict[str, np.ndarray]:
    inputs, names = signature.inputs, sorted(signature.inputs)
    for i, instance in enumerate(instances):
        if not _is_object(instance):
            raise invalid(f"Expecting object but got list at item {i} of input list")
        for key in instance:
            if key not in inputs:
                raise invalid(
                    f"Failed to process element: {i} key: {key} of 'instances' list. Error: INVALID_ARGUMENT: "
                    f"JSON object: does not have named input: {key}"
                )
        given = set(instance)
        if given != set(instances[0]) or not set(names) - signature.defaults <= given:
            raise invalid(
                f"Failed to process element: {i} of 'instances' list. JSON object: {show(instance)} must only have "
                f"keys: {','.join(names)}"
            )
    return {
        key: _stack(
            [instance[key] for instance in instances],
            inputs[key],
            lambda i, key=key: f"Failed to process element: {i} key: {key} of 'instances' list.",  # type: ignore[misc]
        )
        for key in instances[0]
    }


def _stack(values: list[Any], enum: int, where: Callable[[int], str]) -> np.ndarray:
    """One tensor of many values, the first of which sets size and shape; at once if that works."""
    try:
        return to_array(values, enum)
    except ServingError:
        arrays: list[np.ndarray] = []
        for i, value in enumerate(values):
            try:
                arrays.append(_like(arrays[0] if arrays else None, to_array(value, enum)))
            except ServingError as error:
                raise invalid(f"{where(i)} Error: {error.code.name}: {error.message}") from error
        return np.stack(arrays)


def _like(first: np.ndarray | None, array: np.ndarray) -> np.ndarray:
    if first is not None and array.size != first.size:
        raise invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
    if first is not None and array.shape != first.shape:
        raise invalid(f"Expecting shape {_shape(first)} but got: {_shape(array)}")
    return array


def _columns(value: Any, signature: Signature) -> dict[str, np.ndarray]:
    inputs = signature.inputs
    if _is_object(value):
        for name in inputs:
            if name not in value and name not in signature.defaults:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        return {name: to_array(value[name], enum) for name, enum in inputs.items() if name in value}
    if len(inputs) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    return {name: to_array(value, enum) for name, enum in inputs.items()}


def _fill_example(value: Any, example: Any) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {kind_of(value)}")
    for name, content in value.items():
        feature = example.features.feature[check_name(name)]
        for each in content if isinstance(content, list) else [content]:
            _add_value(each, name, feature)


def _add_value(value: Any, name: str, feature: Any) -> None:
    if value is None or isinstance(value, list) or (isinstance(value, dict) and not is_base64(value)):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind_of(value)}")
    if isinstance(value, dict | str):
        _list_of("bytes", name, feature).append(encode_text(value) if isinstance(value, str) else decode_base64(value))
    elif isinstance(value, float) or not -(2**63) <= value < 2**64:
        _list_of("float", name, feature).append(check_float(float(value), _FLOAT))
    elif value >= 2**63:
        raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
    else:
        _list_of("int64", name, feature).append(int(value))


def _list_of(kind: str, name: str, feature: Any) -> Any:
    found = feature.WhichOneof("kind")
    if found not in (None, f"{kind}_list"):
        raise invalid(f"Unexpected element type in feature: {name} expecting type: {found.removesuffix('_list')}")
    return getattr(feature, f"{kind}_list").value


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and not is_base64(value)


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _format_error(document: dict[str, Any], what: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"JSON Value: {show(document)} {what}")
