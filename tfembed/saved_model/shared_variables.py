"""The module's tf.Variables as Keras variables: the same memory, tracked once, frozen by flag."""

import weakref
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from tfembed.saved_model.module import Module

# Keras counts the bytes of every weight and knows no others; string variables, for one, make `model.save` fail.
_COUNTED = frozenset(
    {"bool", "bfloat16", *(f"float{bits}" for bits in (16, 32, 64))}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False, kw_only=True)
class SharedVariable:
    """A variable of a module as Keras sees it, and which of the layers that hold it want it trained.

    One Keras variable per tf.Variable, however many layers hold it: two would be updated twice in each step. It trains
    when any of its layers wants that.
    """

    keras: keras.Variable
    wishes: weakref.WeakKeyDictionary[Any, bool] = field(default_factory=weakref.WeakKeyDictionary)

    def set_trained(self, layer: keras.layers.Layer, wanted: bool) -> None:
        """Note what one layer wants, and set the flag."""
        self.wishes[layer] = wanted
        self.keras.trainable = any(self.wishes.values())


_known: weakref.WeakValueDictionary[int, SharedVariable] = weakref.WeakValueDictionary()


def share(variable: Any, may_train: bool) -> SharedVariable | None:
    """Get the Keras variable over a module's variable, which is not copied: gradients and updates reach the module.

    Args:
        variable: A tf.Variable, or a keras.Variable.
        may_train: Whether it may train at all: Keras files a variable by this flag when it starts to track it.

    Returns:
        The shared variable, or None where Keras cannot hold it (strings, shapes that are not known).
    """
    known = _known.get(id(variable))
    if known is not None:
        return known
    if isinstance(variable, keras.Variable):
        shared = SharedVariable(keras=variable)
    elif not variable.shape.is_fully_defined() or variable.dtype.name not in _COUNTED:
        return None
    else:
        name = variable.name.removesuffix(":0").replace("/", ".")
        shared = SharedVariable(keras=keras.Variable(variable, trainable=may_train, autocast=False, name=name))
    _known[id(variable)] = shared
    return shared


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ModuleVariables:
    """The variables of a module that a layer holds.

    Attributes:
        raw: The tf.Variables, those that may train first.
        may_train: For each, whether it may train at all.
        shared: For each, what Keras tracks; None for those that Keras cannot hold.
    """

    raw: tuple[Any, ...]
    may_train: tuple[bool, ...]
    shared: tuple[SharedVariable | None, ...]

    def to_track(self) -> list[keras.Variable]:
        """The Keras variables, flagged by whether they may train: so Keras files them when it starts to track them."""
        for shared, may_train in zip(self.shared, self.may_train, strict=True):
            if shared is not None:
                shared.keras.trainable = may_train
        return [shared.keras for shared in self.shared if shared is not None]

    @property
    def by_id(self) -> dict[int, keras.Variable]:
        """What Keras tracks, by the `id` of the tf.Variable."""
        pairs = zip(self.raw, self.shared, strict=True)
        return {id(variable): shared.keras for variable, shared in pairs if shared is not None}

    @property
    def trainable_ids(self) -> set[int]:
        """The `id` of each tf.Variable that may train."""
        return {id(variable) for variable, may_train in zip(self.raw, self.may_train, strict=True) if may_train}

    def trained(self, layer: keras.layers.Layer) -> list[bool]:
        """For each variable, whether that layer trains it."""
        return [shared is not None and shared.wishes.get(layer, False) for shared in self.shared]

    def set_trained(self, layer: keras.layers.Layer, ids: Set[int]) -> None:
        """Set the flags for a layer that trains the variables with these ids, of those that may train."""
        wanted = ids & self.trainable_ids
        for variable, shared in zip(self.raw, self.shared, strict=True):
            if shared is not None:
                shared.set_trained(layer, id(variable) in wanted)

    def specify(self) -> list[dict[str, Any]]:
        """Describe the variables by JSON values: name, shape, dtype, and whether each may train."""
        return [
            {
                "name": variable.name,
                "shape": None if variable.shape.rank is None else variable.shape.as_list(),
                "dtype": tf.as_dtype(variable.dtype).name,
                "may_train": may_train,
            }
            for variable, may_train in zip(self.raw, self.may_train, strict=True)
        ]


def hold(module: Module) -> ModuleVariables:
    """Hold the variables that a module lists."""
    trainable = module.trainable_ids
    return _held(module.variables, [id(variable) in trainable for variable in module.variables])


def create(specification: list[dict[str, Any]]) -> ModuleVariables:
    """Make the variables that `ModuleVariables.specify` described, their values zero or empty."""
    made = []
    for each in specification:
        value = tf.zeros([size or 0 for size in each["shape"] or ()], each["dtype"])
        name = each["name"].removesuffix(":0")
        with tf.name_scope(""):
            made.append(tf.Variable(value, each["may_train"], name=name, shape=tf.TensorShape(each["shape"])))
    return _held(made, [each["may_train"] for each in specification])


def explain_difference(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> str | None:
    """Say in words how two lists of described variables differ; None where they are equal.

    Example:
        >>> explain_difference([], [{"name": "w", "shape": [2]}])
        'it has 0 variables, expected 1'
    """
    if len(found) != len(expected):
        return f"it has {len(found)} variables, expected {len(expected)}"
    for one, other in zip(found, expected, strict=True):
        for key, value in other.items():
            if one[key] != value:
                return f"its variable {one['name']} has {key} {one[key]}, expected {value} ({other['name']})"
    return None


def _held(variables: list[Any], may_train: list[bool]) -> ModuleVariables:
    shared = [share(variable, trains) for variable, trains in zip(variables, may_train, strict=True)]
    return ModuleVariables(raw=tuple(variables), may_train=tuple(may_train), shared=tuple(shared))
