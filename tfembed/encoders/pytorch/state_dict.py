"""Files of PyTorch weights, read without PyTorch, and without running anything that a file may ask for."""

import collections
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Where the tensors of a checkpoint lie, if not at its top.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "FloatStorage": np.dtype(np.float32),
    "DoubleStorage": np.dtype(np.float64),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}
_CONVERT = (
    "convert it where it comes from: safetensors.torch.save_file(torch.load(PATH, weights_only=True), "
    "'model.safetensors')"
)

# From the type, the name and the number of values of a storage to its values.
_Fetch = Callable[[np.dtype[Any], str, int], np.ndarray]


def read_state_dict(path: Path, *, trust: bool = False) -> dict[str, np.ndarray]:
    """Read the tensors of a `.safetensors` file, or of a `.pth` file that `torch.save` wrote.

    A `.pth` file is a pickle, which may ask for any Python function to be called. Here it gets what makes tensors and
    nothing else, with trust too: then what else it asks for is left out in place of refused.

    Args:
        path: The file.
        trust: Read files as well that hold more than tensors, or are in the format of PyTorch before 1.6.

    Returns:
        Arrays by name, without the prefix `module.` of models trained on several devices, and without the `_orig_mod.`
        of compiled ones.

    Raises:
        ValueError: If the file is damaged, holds no tensors, or asks for what is not needed; the message names that.
    """
    try:
        if path.suffix == ".safetensors":
            found: Any = safetensors.numpy.load_file(path)
        elif zipfile.is_zipfile(path):
            found = _read_zip(path, trust)
        else:
            found = _read_legacy(path, trust)
    except (safetensors.SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile, EOFError, *_MALFORMED) as error:
        raise ValueError(f"Cannot read {str(path)!r}: {error}. It is damaged, or no file of weights.") from error
    tensors = _tensors(found)
    if not tensors:
        raise ValueError(f"{str(path)!r} holds no tensors by name. Expected the state dict of a network.")
    return {name.replace("_orig_mod.", "").removeprefix("module."): value for name, value in tensors.items()}


# What the machine of pickles stumbles over in a file that is none.
_MALFORMED = (KeyError, IndexError, AttributeError, TypeError, UnicodeDecodeError, struct.error, MemoryError)


def _tensors(found: Any) -> dict[str, np.ndarray]:
    """The arrays of a state dict, wherever in a checkpoint it lies."""
    if not isinstance(found, Mapping):
        return {}
    inner = next((found[name] for name in _WRAPPERS if isinstance(found.get(name), Mapping)), found)
    return {name: value for name, value in inner.items() if isinstance(name, str) and isinstance(value, np.ndarray)}


def _read_zip(path: Path, trust: bool) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        record = next((name for name in names if name.endswith("/data.pkl")), None)
        if record is None or any(name.endswith("/constants.pkl") for name in names):
            raise ValueError(f"{str(path)!r} holds a program (TorchScript), or none of PyTorch's: expected weights.")
        folder = record.removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError(f"{str(path)!r} was written on a big-endian machine: {_CONVERT}.")

        def fetch(dtype: np.dtype[Any], key: str, count: int) -> np.ndarray:
            return _values(archive.read(f"{folder}data/{key}"), dtype, count)

        with archive.open(record) as file:
            return _Unpickler(file, path, fetch, trust).load()  # type: ignore[arg-type]


def _read_legacy(path: Path, trust: bool) -> Any:
    """Read the format of PyTorch before 1.6: several pickles, and behind them the values."""
    if not trust:
        raise ValueError(
            f"{str(path)!r} is no .pth file in the zip format: it may be a pickle of PyTorch before 1.6. Pass "
            f"trust=True (--trust) to read it as such, or {_CONVERT}."
        )
    storages: dict[str, np.ndarray] = {}
    size = path.stat().st_size

    def fetch(dtype: np.dtype[Any], key: str, count: int) -> np.ndarray:
        if not 0 <= count * dtype.itemsize <= size:
            raise pickle.UnpicklingError(f"storage {key} of {count} values is larger than the file")
        return storages.setdefault(key, np.zeros(count, dtype))  # filled below

    with path.open("rb") as file:
        read = partial(_Unpickler, file, path, fetch, trust)
        if read().load() != _LEGACY_MAGIC:
            raise pickle.UnpicklingError("it does not begin as PyTorch's files do")
        for _ in ("version", "machine"):
            read().load()
        found = read().load()
        for key in read().load():
            _fill(storages[key], file)
    return found


def _fill(storage: np.ndarray, file: BinaryIO) -> None:
    (count,) = struct.unpack("<q", file.read(8))
    if count != len(storage):
        raise pickle.UnpicklingError(f"a storage has {count} values, expected {len(storage)}")
    storage[:] = _values(file.read(storage.nbytes), storage.dtype, count)


def _values(content: bytes, dtype: np.dtype[Any], count: int) -> np.ndarray:
    if len(content) != count * dtype.itemsize:
        raise pickle.UnpicklingError(f"a storage of {count} values of {dtype} has {len(content)} bytes")
    return np.frombuffer(content, dtype)


class _Unpickler(pickle.Unpickler):
    """What reads a pickle of tensors. The functions that it finds are those of `_FUNCTIONS`, whatever is asked for."""

    def __init__(self, file: BinaryIO, path: Path, fetch: _Fetch, trust: bool) -> None:
        super().__init__(file)
        self._path, self._fetch, self._trust = path, fetch, trust

    def find_class(self, module: str, name: str) -> Any:
        """The function or type that stands for a name in a pickle."""
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if (found := _FUNCTIONS.get(f"{module}.{name}")) is not None:
            return found
        if self._trust:
            return _LeftOut
        raise ValueError(
            f"{str(self._path)!r} asks for {module}.{name}, which tensors do not need: it is not read, since a pickle "
            f"may run any program. Pass trust=True (--trust) to read its tensors and leave that out, or {_CONVERT}."
        )

    def persistent_load(self, pid: Any) -> Any:
        """The values of a storage."""
        kind, dtype, key, _, count, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it holds a {kind} of {dtype}")
        return self._fetch(dtype, str(key), int(count))


class _LeftOut:
    """What stands in for anything that is not read."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Take a value that a pickle adds to a list, and do nothing with it."""

    def extend(self, values: Any) -> None:
        """Take values that a pickle adds to a list, and do nothing with them."""


def _tensor(storage: np.ndarray, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    """An array over a storage, its sizes and strides in values."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if offset < 0 or min((*size, *stride, 0)) < 0 or (0 not in size and last >= len(storage)):
        raise pickle.UnpicklingError(f"a tensor of shape {tuple(size)} reaches beyond its {len(storage)} values")
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _parameter(data: np.ndarray, *_: Any) -> np.ndarray:
    return data


_FUNCTIONS: dict[str, Any] = {
    "collections.OrderedDict": collections.OrderedDict,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
}
