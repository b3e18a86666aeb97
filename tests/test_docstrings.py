"""What `help` says of the public names. The examples themselves are run as doctests of the modules they stand in."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import tfembed as te

# They take whatever they are given.
NEVER_RAISE = {"accelerate", "cosine_head", "linear_probe"}
# An AttributeError is Python's way to say that there is no such attribute, which callers do not handle.
RAISES = re.compile(r"^\s*raise (?!AttributeError)\w", re.MULTILINE)
RAISED = re.compile(r"^Raises:\n    \w+: \w", re.MULTILINE)
SHAPE = re.compile(r"`[^`]*\([\w, *+]*\)`|`\(n")

each_name = pytest.mark.parametrize("name", sorted(te.__all__))


def _said(found: Any) -> str:
    return inspect.cleandoc(found.__doc__ or "")


def _methods(found: type) -> Iterator[tuple[str, Any]]:
    """Its own public functions and properties, by name."""
    for name, value in vars(found).items():
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if inspect.isfunction(function) and not name.startswith("_"):
            yield name, function


@each_name
def test_it_has_an_example(name: str) -> None:
    """Each public name shows how it is used, in its own docstring."""
    assert ">>> " in _said(getattr(te, name))


@each_name
def test_it_says_what_it_raises(name: str) -> None:
    """Each public function says so, and each class whose own code raises something; methods too."""
    found = getattr(te, name)
    if inspect.isfunction(found):
        assert name in NEVER_RAISE or RAISED.search(_said(found))
        return
    assert "raise " not in inspect.getsource(found) or RAISED.search(_said(found))
    for method, function in _methods(found):
        said = _said(function)
        assert said, method
        assert not RAISES.search(inspect.getsource(function)) or RAISED.search(said), method


@each_name
def test_it_says_the_shapes_of_arrays(name: str) -> None:
    """What takes or gives arrays or models says which shapes: types cannot."""
    found = getattr(te, name)
    functions = [found] if inspect.isfunction(found) else [found, *(function for _, function in _methods(found))]
    given = " ".join(str(each) for function in functions for each in getattr(function, "__annotations__", {}).values())
    if "ndarray" in given:
        assert SHAPE.search(" ".join(map(_said, functions)))
