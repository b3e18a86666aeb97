"""Recipe: how a data set was made of files, so that it can be written down and made again."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from os.path import abspath
from pathlib import Path
from typing import Any

_FILES = ("validation", "test")  # arguments that may be files


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a data set was made, as JSON values.

    Attributes:
        function: `"load_text"` or `"load_images"`.
        source: The file or folder, as an absolute path, so that it is found from every working folder.
        arguments: Those that differ from the defaults, by name.
        steps: What was done to the data set afterwards: names of its methods, each with arguments by name.
    """

    function: str
    source: str
    arguments: Mapping[str, Any]
    steps: tuple[tuple[str, Mapping[str, Any]], ...] = ()

    def then(self, method: str, arguments: Mapping[str, Any]) -> "Recipe":
        """The recipe with one more step."""
        step = (method, {name: value for name, value in arguments.items() if value is not None})
        return Recipe(function=self.function, source=self.source, arguments=self.arguments, steps=(*self.steps, step))

    def to_python(self) -> str:
        """An expression that makes the data set.

        Example:
            >>> recipe = Recipe(function="load_text", source="intents.csv", arguments={"label": "intent"})
            >>> recipe.then("few_shot", {"n": 10, "seed": None}).to_python()
            "te.load_text('intents.csv', label='intent').few_shot(n=10)"
        """
        first = ", ".join([_source(self.source), *_given(self.arguments)])
        return f"te.{self.function}({first})" + "".join(
            f".{name}({', '.join(_given(arguments))})" for name, arguments in self.steps
        )


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Read a recipe that was written as JSON.

    Example:
        >>> recipe_from_dict({"function": "load_images", "source": "cats", "arguments": {}, "steps": []}).source
        'cats'
    """
    steps = tuple((name, arguments) for name, arguments in values["steps"])
    return Recipe(function=values["function"], source=values["source"], arguments=values["arguments"], steps=steps)


def recipe_of(load: Callable[..., Any], source: str | PathLike[str], given: Mapping[str, Any]) -> Recipe:
    """The recipe of a call.

    Args:
        load: `load_text` or `load_images`.
        source: The file or folder.
        given: Its other arguments by name; those that equal the defaults are left out.
    """
    options = [each for each in inspect.signature(load).parameters.values() if each.default is not each.empty]
    arguments = {each.name: _plain(given[each.name]) for each in options if given[each.name] != each.default}
    arguments |= {name: abspath(arguments[name]) for name in _FILES if isinstance(arguments.get(name), str)}
    return Recipe(function=load.__name__, source=abspath(source), arguments=arguments)


def _plain(value: Any) -> Any:
    if isinstance(value, PathLike):
        return fspath(value)
    return list(value) if isinstance(value, tuple) else value


def _given(arguments: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value!r}" for name, value in arguments.items()]


def _source(source: str) -> str:
    """The source as an expression; what ships with the package lies elsewhere on each machine."""
    from tfembed.resources import NAMES, resource_path

    for name in NAMES:
        if resource_path(name) == Path(source):
            return f"te.resource_path({name!r})"
    return repr(source)
