"""Arrays and TensorProtos: read whatever a client sent, write as TensorFlow Serving does. Waits for no TensorFlow."""

import math
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np

from tfembed.serving.protos import importing_messages
from tfembed.serving.status import invalid

with importing_messages():
    from tensorflow.core.framework.types_pb2 import DataType

MAX_RANK = 32  # TensorFlow's Python session crashes when it is fed with strings of more dimensions
MAX_BYTES = 1 << 30  # of one tensor
_STRING_BYTES = 64  # of a string in NumPy and in TensorFlow, besides its letters

_FLOATS = {"DT_FLOAT": np.float32, "DT_DOUBLE": np.float64}
_HALVES = {"DT_HALF": np.float16, "DT_BFLOAT16": ml_dtypes.bfloat16}
_COMPLEX = {"DT_COMPLEX64": np.complex64, "DT_COMPLEX128": np.complex128}
_WHOLE = {f"DT_{kind}{bits}": np.dtype(f"{kind.lower()}{bits}") for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)}
# The NumPy type of each DataType by its number, and the number by NumPy's name; a string is an object.
_TYPES: dict[int, np.dtype] = {
    DataType.Value(name): np.dtype(kind)
    for name, kind in {**_FLOATS, **_HALVES, **_COMPLEX, **_WHOLE, "DT_BOOL": np.bool_, "DT_STRING": object}.items()
}
_ENUMS = {dtype.name: enum for enum, dtype in _TYPES.items()}
# Of each type: the field that holds its values one by one, and what a value is turned into before.
_FIELDS: dict[str, tuple[str, Any]] = {
    "float32": ("float_val", np.float32),
    "float64": ("double_val", np.float64),
    "int32": ("int_val", np.int32),
    "int16": ("int_val", np.int32),
    "int8": ("int_val", np.int32),
    "uint8": ("int_val", np.int32),
    "uint16": ("int_val", np.int32),
    "int64": ("int64_val", np.int64),
    "uint32": ("uint32_val", np.uint32),
    "uint64": ("uint64_val", np.uint64),
    "bool": ("bool_val", np.bool_),
    "float16": ("half_val", np.uint16),
    "bfloat16": ("half_val", np.uint16),
    "complex64": ("scomplex_val", np.float32),
    "complex128": ("dcomplex_val", np.float64),
    "object": ("string_val", None),
}


def check_tensor(name: str, proto: Any, max_expanded: int = MAX_BYTES) -> int:
    """Count the bytes of memory that a TensorProto takes as an array; a few bytes can claim any shape.

    Args:
        name: Name of the tensor, for errors.
        proto: The TensorProto.
        max_expanded: Bytes of memory that an array may take whose values are not all in the TensorProto.

    Raises:
        ServingError: If it holds no tensor, one of too many dimensions, or one that is too large.

    Example:
        >>> import tensorflow as tf
        >>> check_tensor("x", tf.make_tensor_proto([1.0, 2.0])), check_tensor("x", tf.make_tensor_proto(["a", "bc"]))
        (8, 131)
    """
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    dtype, size = _TYPES.get(proto.dtype), math.prod(shape)
    if dtype is None or min(shape, default=0) < 0 or proto.tensor_shape.unknown_rank:
        raise invalid(f"tensor parsing error: {name}")
    if len(shape) > MAX_RANK:
        raise invalid(f"tensor parsing error: {name} has {len(shape)} dimensions, and may have {MAX_RANK}")
    memory = size * dtype.itemsize
    if dtype.kind == "O":
        memory = size * _STRING_BYTES + sum(map(len, proto.string_val))
    if memory > (max_expanded if _num_values(proto) < size else MAX_BYTES):
        raise invalid(f"tensor parsing error: {name} of shape {shape} would take {memory} bytes")
    return memory


def read_tensor(name: str, proto: Any, max_expanded: int = MAX_BYTES) -> np.ndarray:
    """The array that a TensorProto holds; one value may stand for many, and none for zeros.

    Raises:
        ServingError: As `check_tensor`.

    Example:
        >>> import tensorflow as tf
        >>> read_tensor("x", tf.make_tensor_proto([1.0, 2.0]))
        array([1., 2.], dtype=float32)
    """
    check_tensor(name, proto, max_expanded)
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    dtype, size = _TYPES[proto.dtype], math.prod(shape)
    try:
        if size and not _num_values(proto):
            return np.full(shape, b"", object) if dtype.kind == "O" else np.zeros(shape, dtype)
        if proto.tensor_content and dtype.kind != "O":
            return np.frombuffer(proto.tensor_content, dtype).copy().reshape(shape)
        return _from_values(getattr(proto, _FIELDS[dtype.name][0]), dtype, size).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise invalid(f"tensor parsing error: {name}") from error


def _from_values(values: Sequence[Any], dtype: np.dtype, size: int) -> np.ndarray:
    """An array of so many values, of which the last one that is there stands for those that are not."""
    if dtype.kind == "O":
        array = np.empty(len(values), object)
        array[:] = values
    elif dtype.kind == "c" or dtype.name in ("float16", "bfloat16"):
        array = np.array(values, _FIELDS[dtype.name][1]).view(dtype)
    else:
        array = np.fromiter(values, dtype, len(values))  # which refuses what the type has no room for
    return array if len(array) == size else np.pad(array, (0, size - len(array)), "edge")


def write_tensor(array: np.ndarray, proto: Any) -> None:
    """Write an array into a TensorProto, value by value and never as tensor_content.

    Raises:
        ServingError: If the type has no field of its own.
    """
    array = np.asarray(array)
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    proto.dtype = enum_of(array)
    dtype = _TYPES[proto.dtype]
    field_name, kind = _FIELDS[dtype.name]
    field = getattr(proto, field_name)
    if dtype.kind == "O":
        field.extend(_as_bytes(value) for value in array.ravel().tolist())
    elif dtype.kind == "c" or field_name == "half_val":
        field.extend(np.ascontiguousarray(array).ravel().view(kind).tolist())
    else:
        field.extend(array.ravel().astype(kind).tolist())


def numpy_type(enum: int) -> Any:
    """The NumPy type of a DataType's number; object for strings."""
    dtype = _TYPES[enum]
    return object if dtype.kind == "O" else dtype.type


def type_name(enum: int) -> str:
    """What TensorFlow calls a type in messages, such as float or int32.

    Example:
        >>> type_name(1), type_name(8)
        ('float', 'complex64')
    """
    return DataType.Name(enum).removeprefix("DT_").lower()


def enum_of(array: np.ndarray) -> int:
    """The DataType's number of an array.

    Raises:
        ServingError: If TensorFlow has no such type.
    """
    if array.dtype.kind in "OSU":
        return DataType.Value("DT_STRING")
    if array.dtype.name not in _ENUMS:
        raise invalid(f"{array.dtype} is no type of TensorFlow")
    return _ENUMS[array.dtype.name]


def _num_values(proto: Any) -> int:
    """Count the values that a TensorProto holds itself."""
    dtype = _TYPES[proto.dtype]
    if proto.tensor_content and dtype.kind != "O":
        return len(proto.tensor_content) // dtype.itemsize
    return len(getattr(proto, _FIELDS[dtype.name][0])) // (2 if dtype.kind == "c" else 1)


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
