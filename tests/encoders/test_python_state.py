"""The state of an object as Python sees it, and the code of its classes."""

import itertools
from collections import deque
from functools import partial
from types import ModuleType, SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfembed.encoders.python_state import PythonState, own_code

FACTOR = 1.5
SETTINGS = ModuleType("settings_of_somebody")
SETTINGS.factor = 1.5


class Base:
    """A class that others inherit from."""

    def helped(self):
        return 1.5


class Slotted:
    """An object without a dictionary."""

    __slots__ = ("factor",)

    def __init__(self):
        self.factor = 1.5


class Thing(Base):
    """An object that keeps factors in all the places that Python has for them."""

    of_class = 1.5

    def __init__(self):
        self.number = 1.5
        self.array = np.array([1.5, 2.5])
        self.objects = np.array(["a", None], object)
        self.objects[1] = [1]
        one, other = SimpleNamespace(factor=1.5), SimpleNamespace(factor=1.5)
        self.repeated = [one, other, one]
        self.nested = {"a": [1, (2, {3})], "b": deque([4])}
        self.inside = SimpleNamespace(factor=1.5)
        self.slotted = Slotted()
        self.function = partial(np.power, 2)
        self.closure = multiplied_by([1.5])
        self.method = self.inside_method
        self.cycle = self

    def call(self, x, scale=(1.5,), *, shift=0.5):
        return x * FACTOR * SETTINGS.factor * scale[0] + shift

    def inside_method(self):
        return self.of_class

    @property
    def size(self):
        return 1.5

    @staticmethod
    def halved(x):
        return x / 2

    @classmethod
    def made(cls):
        return cls()


def multiplied_by(factors):
    return lambda x: x * factors[0]


CHANGES = {
    "number": lambda t, p: setattr(t, "number", 3.0),
    "kind of number": lambda t, p: setattr(t, "number", 1.5 + 0j),
    "new attribute": lambda t, p: setattr(t, "other", None),
    "name of an attribute": lambda t, p: t.__dict__.update(renamed=t.__dict__.pop("number")),
    "array": lambda t, p: t.array.__setitem__(0, 3.0),
    "type of an array": lambda t, p: setattr(t, "array", t.array.view("int64")),
    "shape of an array": lambda t, p: setattr(t, "array", t.array[:, None]),
    "array of objects": lambda t, p: t.objects.__setitem__(0, "b"),
    "list in an array of objects": lambda t, p: t.objects[1].append(2),
    "which of two equal objects comes again": lambda t, p: t.repeated.__setitem__(2, t.repeated[1]),
    "list in a dictionary": lambda t, p: t.nested["a"].__setitem__(0, 3),
    "order of a dictionary": lambda t, p: setattr(t, "nested", dict(reversed(t.nested.items()))),
    "deque": lambda t, p: t.nested["b"].append(3),
    "list in place of a tuple": lambda t, p: t.nested["a"].__setitem__(1, list(t.nested["a"][1])),
    "object in an attribute": lambda t, p: setattr(t.inside, "factor", 3.0),
    "slot": lambda t, p: setattr(t.slotted, "factor", 3.0),
    "argument of a partial": lambda t, p: setattr(t, "function", partial(np.power, 3)),
    "closure": lambda t, p: t.closure.__closure__[0].cell_contents.__setitem__(0, 3.0),
    "attribute of the class": lambda t, p: p.setattr(Thing, "of_class", 3.0),
    "method": lambda t, p: p.setattr(Thing, "call", lambda self, x: x),
    "code of a method": lambda t, p: p.setattr(Thing.call, "__code__", Base.helped.__code__),
    "default": lambda t, p: p.setattr(Thing.call, "__defaults__", ((3.0,),)),
    "keyword default": lambda t, p: p.setitem(Thing.call.__kwdefaults__, "shift", 3.0),
    "method of a base class": lambda t, p: p.setattr(Base, "helped", lambda self: 3.0),
    "property": lambda t, p: p.setattr(Thing, "size", property(lambda self: 3.0)),
    "static method": lambda t, p: p.setattr(Thing, "halved", staticmethod(lambda x: x)),
    "class method": lambda t, p: p.setattr(Thing, "made", classmethod(lambda cls: None)),
    "global name": lambda t, p: p.setitem(globals(), "FACTOR", 3.0),
    "setting of a module": lambda t, p: p.setattr(SETTINGS, "factor", 3.0),
    "part of a cycle": lambda t, p: setattr(t, "cycle", [t]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_another_state(change, monkeypatch):
    """Wherever something is kept that counts, changing it is noticed; looking twice is no change."""
    thing = Thing()
    before = PythonState(thing)
    assert PythonState(thing) == before
    change(thing, monkeypatch)
    assert PythonState(thing) != before


def test_a_state_is_no_other_object():
    """A state equals states alone."""
    assert PythonState(1) == PythonState(1)
    assert PythonState(1) != PythonState(2)
    assert PythonState(True) != PythonState(1)
    assert (PythonState(1) == 1) is False


def test_objects_that_come_and_go_are_not_taken_for_each_other():
    """An object in the place of one that is gone has perhaps its address, and is another one all the same."""
    holder = SimpleNamespace(inside=object())
    for _ in range(50):
        before = PythonState(holder)
        holder.inside = None
        holder.inside = object()
        assert PythonState(holder) != before


def layer_of_a_user():
    layer = keras.layers.Dense(2, activation="relu")
    layer.build((None, 3))
    return layer


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: setattr(layer, "name", "other"),
        lambda layer: setattr(layer, "trainable", False),
        lambda layer: layer(np.ones((1, 3))),
        lambda layer: layer.kernel.assign(np.zeros((3, 2))),
        lambda layer: keras.Sequential([keras.Input((3,)), layer]).compile("adam", "mse"),
    ],
    ids=["name", "trainable", "call", "weights", "compile"],
)
def test_what_does_not_change_what_is_computed_is_no_change(change):
    """Names, flags, calls and the values of weights, which are looked at elsewhere, leave the state as it is."""
    layer = layer_of_a_user()
    layer(np.ones((1, 3)))
    before = PythonState(layer)
    change(layer)
    assert PythonState(layer) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: setattr(layer, "activation", keras.activations.tanh),
        lambda layer: setattr(layer, "dtype_policy", keras.DTypePolicy("mixed_bfloat16")),
        lambda layer: setattr(layer, "_kernel", tf.Variable(np.zeros((3, 2)))),
        lambda layer: setattr(layer, "use_bias", False),
    ],
    ids=["activation", "compute type", "another variable", "use_bias"],
)
def test_what_changes_what_is_computed_is_a_change(change):
    """Settings of a Keras layer count."""
    layer = layer_of_a_user()
    before = PythonState(layer)
    change(layer)
    assert PythonState(layer) != before


def layer_with(call):
    return type("Own", (keras.layers.Layer,), {"call": call, "__module__": "somewhere"})()


def test_the_code_of_own_layers_is_hashed():
    """Of layers that no library brings, each function in the class counts; of Keras layers none."""
    one, other, *others = (
        own_code(layer_with(call))
        for call in (
            lambda self, x: x + 1,
            lambda self, x: x + 1,
            lambda self, x: x + 2,
            lambda self, x: x - 1,
            lambda self, x: self.y + 1,
            lambda self, x: x in {"a", "b"},
            lambda self, x: [y + 1 for y in x],
            lambda self, x: [y + 2 for y in x],
        )
    )
    assert one == other
    assert all(a != b for a, b in itertools.combinations([one, *others], 2))
    assert own_code(keras.layers.Dense(2)) == own_code(None) == []


def test_the_code_of_layers_in_layers_is_hashed():
    """A model's own layers count, and the classes that they inherit from."""
    inside = layer_with(lambda self, x: x)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), inside])
    assert own_code(model) == own_code(inside) != []
    derived = type("Derived", (type(inside),), {"__module__": "somewhere"})()
    assert own_code(derived) == own_code(inside)
