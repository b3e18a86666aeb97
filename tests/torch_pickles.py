"""Files as `torch.save` writes them, made without PyTorch."""

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest


class Storage:
    """Stands for values that lie beside a pickle."""

    def __init__(self, key: str, count: int) -> None:
        self.key, self.count = key, count


def torch_names(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Modules under PyTorch's names, so that pickles can be written that ask for them."""
    torch, inner = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    torch._utils = inner

    def _rebuild_tensor_v2(*_: Any) -> None:
        """A name in a pickle."""

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    inner._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", inner)
    return torch


class Tensor:
    """What a pickle says of a tensor: where its values lie, and its form."""

    def __init__(
        self, torch: Any, storage: Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
    ) -> None:
        self._made = (torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, OrderedDict()))

    def __reduce__(self) -> Any:
        return self._made


def pickled(torch: Any, tensors: Mapping[str, Tensor]) -> bytes:
    """The pickle of a state dict."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, value.key, "cpu", value.count)
            return None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(OrderedDict(tensors))
    return buffer.getvalue()


def zipped(path: Path, content: bytes, **more: bytes) -> Path:
    """A file in PyTorch's zip format."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        for name, value in more.items():
            archive.writestr(f"archive/{name}", value)
    return path


def write_state_dict(torch: Any, path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """A file with these arrays, float32."""
    tensors, values = {}, {}
    for i, (name, array) in enumerate(arrays.items()):
        strides = tuple(int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim))
        tensors[name] = Tensor(torch, Storage(str(i), array.size), 0, array.shape, strides)
        values[f"data/{i}"] = np.ascontiguousarray(array, "float32").tobytes()
    return zipped(path, pickled(torch, tensors), **values)
