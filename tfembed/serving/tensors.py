"""Arrays and TensorProtos: read whatever a client sent, write as TensorFlow Serving does."""

from typing import Any

import ml_dtypes
import numpy as np
import tensorflow as tf

from tfembed.serving.status import invalid

MAX_BYTES = 1 << 30  # of one tensor; a few bytes can claim a shape of any size

# Of each type: the field that holds its values one by one, and what a value is turned into before.
_FIELDS: dict[Any, tuple[str, Any]] = {
    tf.float32: ("float_val", np.float32),
    tf.float64: ("double_val", np.float64),
    tf.int32: ("int_val", np.int32),
    tf.int16: ("int_val", np.int32),
    tf.int8: ("int_val", np.int32),
    tf.uint8: ("int_val", np.int32),
    tf.uint16: ("int_val", np.int32),
    tf.int64: ("int64_val", np.int64),
    tf.uint32: ("uint32_val", np.uint32),
    tf.uint64: ("uint64_val", np.uint64),
    tf.bool: ("bool_val", np.bool_),
}


def read_tensor(name: str, proto: Any) -> np.ndarray:
    """The array that a TensorProto holds; one value may stand for many, and none for zeros.

    Raises:
        ServingError: If it holds no tensor, or one beyond MAX_BYTES.

    Example:
        >>> read_tensor("x", tf.make_tensor_proto([1.0, 2.0]))
        array([1., 2.], dtype=float32)
    """
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
        size = 1
        for dimension in shape:
            size *= dimension
        if min(shape, default=0) < 0 or proto.tensor_shape.unknown_rank or size * max(dtype.size or 1, 1) > MAX_BYTES:
            raise ValueError(f"shape {shape}")
        if size and not proto.tensor_content and not _has_values(proto):
            return np.full(shape, b"", object) if dtype == tf.string else np.zeros(shape, dtype.as_numpy_dtype)
        array = tf.make_ndarray(proto)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise invalid(f"tensor parsing error: {name}") from error
    return array if isinstance(array, np.ndarray) else np.asarray(array)


def write_tensor(array: np.ndarray, proto: Any) -> None:
    """Write an array into a TensorProto, value by value and never as tensor_content.

    Raises:
        ServingError: If the type has no field of its own.
    """
    array = np.asarray(array)
    for size in array.shape:
        proto.tensor_shape.dim.add().size = size
    if array.dtype == object or array.dtype.kind in "SU":
        proto.dtype = tf.string.as_datatype_enum
        proto.string_val.extend(_as_bytes(value) for value in array.ravel().tolist())
        return
    dtype = tf.dtypes.as_dtype(array.dtype)
    proto.dtype = dtype.as_datatype_enum
    if dtype in (tf.float16, tf.bfloat16):
        proto.half_val.extend(array.ravel().view(np.uint16).tolist())
    elif dtype in (tf.complex64, tf.complex128):
        part = np.float32 if dtype == tf.complex64 else np.float64
        field = proto.scomplex_val if dtype == tf.complex64 else proto.dcomplex_val
        field.extend(np.ascontiguousarray(array).ravel().view(part).tolist())
    elif dtype in _FIELDS:
        field_name, kind = _FIELDS[dtype]
        getattr(proto, field_name).extend(array.ravel().astype(kind).tolist())
    else:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()


def numpy_type(enum: int) -> Any:
    """The NumPy type of a DataType's number; object for strings."""
    return object if enum == tf.string.as_datatype_enum else tf.dtypes.as_dtype(enum).as_numpy_dtype


def type_name(enum: int) -> str:
    """What TensorFlow calls a type in messages, such as float or int32.

    Example:
        >>> type_name(1), type_name(tf.complex64.as_datatype_enum)
        ('float', 'complex64')
    """
    return {"float32": "float", "float64": "double", "float16": "half"}.get(name := tf.dtypes.as_dtype(enum).name, name)


def enum_of(array: np.ndarray) -> int:
    """The DataType's number of an array."""
    if array.dtype == object or array.dtype.kind in "SU":
        return tf.string.as_datatype_enum
    if array.dtype == ml_dtypes.bfloat16:
        return tf.bfloat16.as_datatype_enum
    return tf.dtypes.as_dtype(array.dtype).as_datatype_enum


def _has_values(proto: Any) -> bool:
    return any(field.name.endswith("_val") for field, _ in proto.ListFields())


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
