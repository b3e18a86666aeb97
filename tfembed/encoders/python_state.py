"""The state of layers as Python sees it: what a trace depends on, cheap enough to be looked at before each use."""

import types
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import keras
import numpy as np
import xxhash

from tfembed.saved_model.layer import HubLayer

_PLAIN = (str, bytes, int, float, bool, complex, type(None))
_LIBRARIES = ("keras.", "keras_hub.", "tfembed.", "tensorflow.")
_DEPTH = 3  # of containers in containers


class _Identity:
    """An object that equals itself alone, and is kept alive so that no other object gets its address."""

    __slots__ = ("_object",)

    def __init__(self, value: Any) -> None:
        self._object = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other._object is self._object

    def __hash__(self) -> int:
        return id(self._object)


def state_of(layer: keras.layers.Layer | None) -> tuple[Any, ...]:
    """Describe the settings and the code of a layer and of those in it, without the values of their variables.

    It differs from an earlier state wherever a setting was changed in place, a vocabulary was set, or a method was
    replaced. It may also differ where nothing that counts has changed.

    Example:
        >>> layer = keras.layers.Dense(2, activation="relu")
        >>> before = state_of(layer)
        >>> layer.activation = keras.activations.tanh
        >>> state_of(layer) == before
        False
    """
    if layer is None or isinstance(layer, HubLayer):  # a module cannot be edited
        return ()
    return tuple(item for part in layer._flatten_layers() for item in _state_of_one(part))


def _state_of_one(layer: keras.layers.Layer) -> list[Any]:
    if isinstance(layer, HubLayer):
        return [_Identity(layer)]
    state: list[Any] = [_Identity(type(layer)), _code(type(layer).call), layer.dtype_policy.name]
    for name, value in vars(layer).items():
        if name not in _own_attributes():
            state += [name, _describe(value, _DEPTH)]
    return state


@cache
def _own_attributes() -> frozenset[str]:
    """Attributes of every layer, such as flags and trackers, which say nothing of what it computes."""
    return frozenset([*vars(keras.layers.Layer()), "_loss_tracker", "compiled", "optimizer", "_compile_config"])


def _describe(value: Any, depth: int) -> Any:
    if isinstance(value, _PLAIN):
        return type(value).__name__, value
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.name, value.shape, xxhash.xxh3_128(np.ascontiguousarray(value).tobytes()).hexdigest()
    if isinstance(value, types.FunctionType):
        return _code(value)
    if isinstance(value, types.MethodType):
        return _Identity(value.__self__), _code(value.__func__)
    if depth and isinstance(value, Mapping):
        return tuple((str(key), _describe(entry, depth - 1)) for key, entry in value.items())
    if depth and isinstance(value, list | tuple | set | frozenset):
        return tuple(_describe(entry, depth - 1) for entry in value)
    if isinstance(value, partial):
        return _Identity(value.func), _describe([value.args, value.keywords], depth)
    if depth and hasattr(value, "__dict__") and not type(value).__module__.startswith(_LIBRARIES):
        return _Identity(value), _describe(vars(value), depth - 1)  # settings in an object of a user's own
    return _Identity(value)


def _code(function: Callable[..., Any]) -> Any:
    """Describe a function: its code, its constants, defaults and what it closes over."""
    code = getattr(function, "__code__", None)
    if code is None:
        return _Identity(function)
    cells = [_content(cell) for cell in getattr(function, "__closure__", None) or ()]
    defaults = (getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None))
    return _Identity(code), tuple(cells), _describe(defaults, _DEPTH)


def _content(cell: Any) -> Any:
    try:
        value = cell.cell_contents
    except ValueError:  # it is empty
        return None
    return value if isinstance(value, _PLAIN) else _Identity(value)


def own_code(layer: keras.layers.Layer | None) -> list[str]:
    """Hash the code of the classes of a layer, and of those in it, that no library brings, as JSON values.

    The hashes are equal in every process with the same version of Python.
    """
    parts = [] if layer is None else layer._flatten_layers()
    classes = [kind for part in parts for kind in type(part).__mro__ if kind is not object]
    edited = [kind for kind in dict.fromkeys(classes) if not kind.__module__.startswith(_LIBRARIES)]
    return [
        _hash_code(member.__code__) for kind in edited for member in vars(kind).values() if hasattr(member, "__code__")
    ]


def _describe_constant(constant: Any) -> str:
    if isinstance(constant, types.CodeType):
        return _hash_code(constant)
    return repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _hash_code(code: types.CodeType) -> str:
    constants = [_describe_constant(constant) for constant in code.co_consts]
    return xxhash.xxh3_128(repr([code.co_code, code.co_names, constants]).encode()).hexdigest()
