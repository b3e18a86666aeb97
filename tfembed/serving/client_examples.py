"""Examples as a server takes them: texts, and images from files, bytes or arrays."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_TYPES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_HALF": "float16",
    "DT_INT8": "int8",
    "DT_UINT8": "uint8",
    "DT_INT16": "int16",
    "DT_UINT16": "uint16",
    "DT_INT32": "int32",
    "DT_UINT32": "uint32",
    "DT_INT64": "int64",
    "DT_UINT64": "uint64",
    "DT_BOOL": "bool",
    "DT_STRING": "object",
    "DT_BFLOAT16": "bfloat16",
    "DT_COMPLEX64": "complex64",
    "DT_COMPLEX128": "complex128",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureInfo:
    """The inputs and outputs of a signature: from name to the name of its DataType, such as DT_STRING."""

    inputs: dict[str, str]
    outputs: dict[str, str]


def numpy_type(name: str) -> Any:
    """The NumPy type of a DataType's name; object for strings.

    Raises:
        ValueError: If there is none.
    """
    if name not in _TYPES:
        raise ValueError(f"{name} has no NumPy type. Supported are {', '.join(_TYPES)}.")
    if _TYPES[name] == "bfloat16":
        import ml_dtypes

        return ml_dtypes.bfloat16
    return np.dtype(_TYPES[name])


def as_tensor(value: Any, kind: str | None) -> np.ndarray:
    """Values as an array of the type that a signature has for them.

    Args:
        value: Numbers or strings, as an array or in lists.
        kind: The name of the DataType; None where the signature has none, to leave them as they are.

    Raises:
        ValueError: If they do not fit the type.

    Example:
        >>> as_tensor([1, 2.5], "DT_FLOAT")
        array([1. , 2.5], dtype=float32)
    """
    array = np.asarray(value)
    if array.dtype.kind in "SUO":
        array = array.astype(object)
    if kind is None or numpy_type(kind) == array.dtype:
        return array
    wanted = numpy_type(kind)
    if object in (wanted, array.dtype) or (array.dtype.kind == "c" and np.dtype(wanted).kind != "c"):
        raise ValueError(f"The signature takes {kind}, not {array.dtype}.")
    with np.errstate(over="ignore", invalid="ignore"):
        found = array.astype(wanted)
    whole = found.dtype.kind in "biu"
    if not (np.array_equal(found, array) if whole else np.array_equal(np.isfinite(found), np.isfinite(array))):
        raise ValueError(f"The signature takes {kind}, which has no room for these values of {array.dtype}.")
    return found


def encode_examples(examples: Sequence[Any], info: SignatureInfo) -> dict[str, np.ndarray]:
    """The one input of a signature, filled with examples.

    Args:
        examples: Texts; or images as paths, encoded bytes or uint8 arrays `(height, width, channels)`; or numbers,
            where the signature takes numbers.
        info: The signature.

    Raises:
        ValueError: If the signature has several inputs, or an example is none of these.

    Example:
        >>> info = SignatureInfo(inputs={"text": "DT_STRING"}, outputs={})
        >>> encode_examples(["hi"], info)["text"].tolist()
        [b'hi']
    """
    if len(info.inputs) != 1:
        raise ValueError(
            f"The signature has the inputs {', '.join(sorted(info.inputs)) or '(none)'}: pass them by name to `call`."
        )
    ((name, kind),) = info.inputs.items()
    if kind != "DT_STRING":
        return {name: as_tensor(examples, kind)}
    images = "image" in name
    array = np.empty(len(examples), object)
    array[:] = [_encode(example, images) for example in examples]
    return {name: array}


def _encode(example: Any, images: bool) -> bytes:
    if isinstance(example, bytes):
        return example
    if isinstance(example, Path) or (images and isinstance(example, str)):
        return Path(example).read_bytes()
    if isinstance(example, str):
        return example.encode()
    if isinstance(example, np.ndarray) and example.dtype == np.uint8 and example.ndim in (2, 3):
        return _png(example)
    raise ValueError(
        f"{type(example).__name__} is no example: pass texts, or images as paths, bytes or uint8 arrays of shape "
        "(height, width, channels)."
    )


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).save(buffer, "PNG")
    return buffer.getvalue()
