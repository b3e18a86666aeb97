"""The state of layers as Python sees it: what a trace depends on, cheap enough to be looked at before each use."""

import sys
import types
from collections import deque
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import xxhash

from tfembed.saved_model.layer import HubLayer

_PLAIN = frozenset((type(None), bool, int, float, complex, str, bytes, tf.DType))
_CONTAINERS = (Mapping, list, tuple, set, frozenset, deque)
_FUNCTIONS = (types.FunctionType, types.MethodType, staticmethod, classmethod, property, partial)
_LIBRARIES = ("keras.", "keras_hub.", "tfembed.", "tensorflow.")
# Their code changes with an installation alone, and their objects are caches, locks and the like, layers excepted.
_INSTALLED = sys.stdlib_module_names | {"keras", "keras_hub", "tensorflow", "tensorflow_text", "numpy", "tfembed"}
_LOOKED_INTO = (keras.layers.Layer, keras.DTypePolicy, types.SimpleNamespace)
# What Keras notes of layers as they are called, compiled, saved and unfrozen, and the links between their calls.
_BOOKKEEPING = frozenset(
    (
        *("_inbound_nodes", "_outbound_nodes", "_nodes", "_nodes_by_depth", "_losses", "_loss_ids", "_metrics"),
        *("_name", "name", "_path", "_parent_path", "_trainable", "_called", "built", "_lock", "_build_shapes_dict"),
        *("_tracker", "_obj_reference_counts_dict", "_self_unconditional_dependency_names"),
        *("optimizer", "_loss_tracker", "_compile_loss", "_compile_metrics", "_compile_config", "history", "compiled"),
        *("train_function", "test_function", "predict_function", "stop_training", "_run_eagerly", "_jit_compile"),
        *("steps_per_execution", "_distribute_strategy", "_distribute_reduction_method"),
    )
)


class PythonState:
    """The state of an object at one moment: its attributes, and the code of its classes and functions.

    It follows attributes, containers, closures, default values and the global names that functions use, as far as
    these did not come with Python, TensorFlow or Keras. NumPy arrays count by their content; tensors, variables and
    lookup tables by their identity, whatever values they hold. Names, flags and what Keras notes as it runs do not
    count. Two states may also differ where nothing that counts has changed.

    Args:
        value: The object, such as a layer with those inside it.

    Example:
        >>> layer = keras.layers.Dense(2, activation="relu")
        >>> before = PythonState(layer)
        >>> layer.name, layer.trainable = "other", False
        >>> PythonState(layer) == before
        True
        >>> layer.activation = keras.activations.tanh
        >>> PythonState(layer) == before
        False
    """

    def __init__(self, value: Any) -> None:
        self._values: list[Any] = []
        self._held: dict[int, tuple[int, Any]] = {}  # as long as they live, nothing else has their ids
        waiting = self._note([value])
        while waiting:
            value = waiting.pop()
            if id(value) in self._held:
                self._values.append(self._held[id(value)][0])
                continue
            self._held[id(value)] = len(self._held), value
            self._values.append(type(value) if isinstance(value, _CONTAINERS) else id(value))
            waiting += self._note(_inside(value))

    def _note(self, values: Iterable[Any]) -> list[Any]:
        """Note the contents of an object, and return those that have contents of their own."""
        values = list(values)
        kinds = list(map(type, values))  # True equals 1
        self._values += [kinds, [value for value, kind in zip(values, kinds, strict=True) if kind in _PLAIN]]
        return [value for value, kind in zip(values, kinds, strict=True) if kind not in _PLAIN]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PythonState) and self._values == other._values


def _inside(value: Any) -> Iterable[Any]:
    """List the contents of an object."""
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return [value.tolist()]
        return [value.dtype.name, value.shape, xxhash.xxh3_128(value.tobytes()).hexdigest()]
    if isinstance(value, Mapping):
        return [*value, *value.values()]
    if isinstance(value, _CONTAINERS):
        return value
    if isinstance(value, _FUNCTIONS):
        return _inside_function(value)
    if isinstance(value, type):
        return _inside_class(value)
    if isinstance(value, HubLayer):  # a module cannot be edited, but a callable can
        return [value.fingerprint, value.resolved_object]
    if isinstance(value, keras.Variable):
        return [value._value]
    return _inside_object(value)


def _inside_object(value: Any) -> Iterable[Any]:
    kind = type(value)
    if _is_installed(kind) and not isinstance(value, _LOOKED_INTO):
        return []
    attributes = {name: entry for name, entry in getattr(value, "__dict__", {}).items() if name not in _BOOKKEEPING}
    slots = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ()) if hasattr(value, name)]
    return [kind, *attributes, *attributes.values(), *(getattr(value, name) for name in slots)]


def _inside_class(kind: type) -> Iterable[Any]:
    """List the methods and settings of a class, and the classes that it inherits from."""
    own = {name: value for name, value in vars(kind).items() if isinstance(value, _FUNCTIONS) or type(value) in _PLAIN}
    return [*own, *own.values(), *(base for base in kind.__bases__ if base is not object)]


def _inside_function(function: Any) -> Iterable[Any]:
    if isinstance(function, types.MethodType):
        return [function.__func__, function.__self__]
    if isinstance(function, staticmethod | classmethod):
        return [function.__func__]
    if isinstance(function, property):
        return [function.fget]
    if isinstance(function, partial):
        return [function.func, function.args, function.keywords]
    if _is_installed(function):
        return [function.__code__]
    empty = types.CellType()
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell != empty]
    settings = [function.__code__, function.__defaults__, function.__kwdefaults__]
    return [*settings, *cells, *_named(_names(function.__code__), function.__globals__)]


def _names(code: types.CodeType) -> set[str]:
    """List the names that a function looks up, in it and in those that it defines."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _named(names: Iterable[str], scope: Mapping[str, Any]) -> list[Any]:
    """List what names stand for, in modules too, as far as these are not installed."""
    scopes: list[Mapping[str, Any]] = [scope]
    values: list[Any] = []
    for searched in scopes:
        present = [searched[name] for name in sorted(names) if name in searched]
        modules = [value for value in present if isinstance(value, types.ModuleType) and not _is_installed(value)]
        scopes += [vars(module) for module in modules if not any(vars(module) is known for known in scopes)]
        values += present
    return values


def _is_installed(value: Any) -> bool:
    module = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", "")
    return str(module).partition(".")[0] in _INSTALLED


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
