"""From JSON values to arrays, with the checks and messages of TensorFlow Serving."""

import base64
import binascii
import re
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.serving.json_text import kind_of, show
from tfembed.serving.status import Code, ServingError, invalid
from tfembed.serving.tensors import MAX_RANK, numpy_type, type_name

_STRING = tf.string.as_datatype_enum
_BOOL = tf.bool.as_datatype_enum
# Numbers are rounded to these, as TensorFlow Serving does it since 2.5; beyond the largest they are infinite.
_FLOATS = frozenset(dtype.as_datatype_enum for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64))
_INTEGERS = (tf.int8, tf.uint8, tf.int16, tf.uint16, tf.int32, tf.uint32, tf.int64, tf.uint64)
_RANGE = {dtype.as_datatype_enum: (int(dtype.min), int(dtype.max)) for dtype in _INTEGERS}
_WHITE = re.compile(r"[ \t\n\r\f\v]+")


def to_array(value: Any, enum: int) -> np.ndarray:
    """The tensor that nested lists, or one value, stand for.

    Args:
        value: A JSON value.
        enum: The number of the DataType that is wanted.

    Raises:
        ServingError: If the lists are ragged or something in them does not fit.

    Example:
        >>> to_array([[1, 2.5]], tf.float32.as_datatype_enum)
        array([[1. , 2.5]], dtype=float32)
    """
    array = _to_array_at_once(value, enum)
    return array if array is not None else _to_array_by_value(value, enum)


def is_base64(value: Any) -> bool:
    """Whether a JSON value is an object with nothing but a string under `b64`.

    Example:
        >>> is_base64({"b64": "aGVsbG8="}), is_base64({"b64": 1})
        (True, False)
    """
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(value: Any) -> bytes:
    """The bytes of `{"b64": "..."}`.

    Raises:
        ServingError: If it is not of that form, or no base64.

    Example:
        >>> decode_base64({"b64": "aGVsbG8="})
        b'hello'
    """
    if not is_base64(value):
        raise invalid(f"JSON Value: {show(value)} not formatted correctly for base64 data")
    text = _WHITE.sub("", value["b64"]).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def encode_text(text: str) -> bytes:
    """The bytes of a JSON string, whatever they are."""
    return text.encode("utf-8", "surrogateescape")


def check_float(value: Any, enum: int) -> float:
    """A JSON number as a float, for a tensor of a type.

    Raises:
        ServingError: If it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(value, enum)
    return float(value)


def _rounded(numbers: list[Any], enum: int) -> np.ndarray:
    """Numbers as floats of a type, infinite where they are beyond its largest."""
    with np.errstate(over="ignore"):
        return np.array(numbers, np.float64).astype(numpy_type(enum))


def _to_array_at_once(value: Any, enum: int) -> np.ndarray | None:
    """The fast way, level by level; None where anything is out of the ordinary."""
    if not isinstance(value, list):
        return None
    shape: list[int] = []
    level = value
    while True:
        shape.append(len(level) if len(shape) == 0 else len(level) // max(1, int(np.prod(shape))))
        if not level or not isinstance(level[0], list):
            break
        if len(shape) >= MAX_RANK or set(map(type, level)) != {list} or len(set(map(len, level))) != 1:
            return None
        level = list(chain.from_iterable(level))
    kinds = set(map(type, level))
    if enum == _STRING:
        if kinds - {str}:
            return None
        flat = np.empty(len(level), object)
        flat[:] = [encode_text(text) for text in level]
        return flat.reshape(shape)
    return _numbers(level, kinds, enum, shape)


def _numbers(level: list[Any], kinds: set[type], enum: int, shape: list[int]) -> np.ndarray | None:
    if enum == _BOOL:
        return None if kinds - {bool} else np.array(level, np.bool_).reshape(shape)
    if enum in _RANGE:
        lowest, highest = _RANGE[enum]
        if kinds - {int} or (level and not (lowest <= min(level) and max(level) <= highest)):
            return None
        return np.array(level, numpy_type(enum)).reshape(shape)
    if enum not in _FLOATS or kinds - {int, float}:
        return None
    return _rounded(level, enum).reshape(shape)


def _to_array_by_value(value: Any, enum: int) -> np.ndarray:
    shape: list[int] = []
    first = value
    while isinstance(first, list):
        shape.append(len(first))
        if len(shape) > MAX_RANK:
            raise invalid(f"JSON Value nested more than {MAX_RANK} levels deep is no tensor.")
        if not first:
            break
        first = first[0]
    flat: list[Any] = []
    _fill(value, 0, (enum, shape), flat)
    if enum == _STRING:
        strings = np.empty(len(flat), object)
        strings[:] = flat
        return strings.reshape(shape)
    return (_rounded(flat, enum) if enum in _FLOATS else np.array(flat, numpy_type(enum))).reshape(shape)


def _fill(value: Any, level: int, wanted: tuple[int, list[int]], flat: list[Any]) -> None:
    enum, shape = wanted
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {show(value)} found at incorrect level: {level + 1} in the JSON DOM. "
                f"Expected at level: {len(shape)}"
            )
        flat.append(_element(value, enum))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for each in value:
        _fill(each, level + 1, wanted, flat)


def _element(value: Any, enum: int) -> Any:
    if isinstance(value, dict):
        if enum != _STRING:
            raise _wrong_type(value, enum)
        return decode_base64(value)
    if enum == _STRING:
        if not isinstance(value, str):
            raise _wrong_type(value, enum)
        return encode_text(value)
    if enum == _BOOL:
        if not isinstance(value, bool):
            raise _wrong_type(value, enum)
        return value
    if enum in _FLOATS:
        return check_float(value, enum)
    if enum in _RANGE:
        lowest, highest = _RANGE[enum]
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise _wrong_type(value, enum)
        return value
    raise ServingError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {show(value)} to type: {type_name(enum)}")


def _wrong_type(value: Any, enum: int) -> ServingError:
    return invalid(f"JSON Value: {show(value)} Type: {kind_of(value)} is not of expected type: {type_name(enum)}")
