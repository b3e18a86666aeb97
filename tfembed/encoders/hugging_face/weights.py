"""Weights from a checkpoint into a Keras model: every variable gets its tensor, and no tensor is left over unseen."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import keras
import numpy as np

_LAYER = re.compile(r"layer_(\d+)")
# What the parts of a layer are called here, and there; older files call those of a norm as Keras does.
_PARTS = {
    "kernel": ("weight",),
    "bias": ("bias",),
    "gamma": ("weight", "gamma"),
    "beta": ("bias", "beta"),
    "embeddings": ("weight",),
}


class Source(Protocol):
    """Tensors by name, such as `Tensors`."""

    def __iter__(self) -> Any:
        """All names."""

    def __contains__(self, name: object) -> bool:
        """Whether there is a tensor of that name."""

    def __getitem__(self, name: str) -> np.ndarray:
        """A tensor, float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Where a checkpoint keeps the weights of a model.

    Attributes:
        modules: From a layer here to its module there; `{i}` is the number of a layer. A weight that stands alone has
            its own name on both sides.
        anchor: A tensor that every such checkpoint has; what stands in front of its name, stands in front of all.
        unused: Regular expression of tensors that embeddings do without.
        changed: For tensors that need more than turning: from value and source to the value here.
    """

    modules: Mapping[str, str]
    anchor: str
    unused: str
    changed: Mapping[str, Callable[[np.ndarray, Callable[[str], np.ndarray]], np.ndarray]] = field(default_factory=dict)


def fill(model: keras.Model, source: Source, names: Names, handle: str) -> None:
    """Give the variables of a model the values of a checkpoint.

    Args:
        model: A model with random weights.
        source: The checkpoint.
        names: Where it keeps what.
        handle: What the user called it, for messages.

    Raises:
        ValueError: If a tensor is missing, has another shape, or has no place in the model.
    """
    prefix = _prefix(source, names.anchor, handle)
    taken: set[str] = set()

    def take(name: str) -> np.ndarray:
        taken.add(prefix + name)
        return source[prefix + name]

    for variable in model.variables:
        if "seed_generator" in variable.path:
            continue
        known = _names_there(variable.path, names.modules)
        name = next((name for name in known if prefix + name in source), None)
        if name is None:
            raise ValueError(
                f"{handle!r} has no tensor {known[0] if known else '?'!r} for {variable.path}: its config.json and its "
                "weights are of different models. Fetch both again."
            )
        value = take(name)
        if name in names.changed:
            value = names.changed[name](value, take)
        variable.assign(_fitted(value, variable, f"{handle!r}: {name}"))
    unused = re.compile(names.unused)
    rest = [name.removeprefix(prefix) for name in source if name.startswith(prefix) and name not in taken]
    if lost := sorted(name for name in rest if not unused.match(name)):
        raise ValueError(
            f"{handle!r} has weights that a model of its type has no place for here: {', '.join(lost[:4])}"
            f"{' and more' if len(lost) > 4 else ''}. Its embeddings would not be what it was made for; take another."
        )


def _prefix(source: Source, anchor: str, handle: str) -> str:
    """What stands in front of all names, such as `bert.`; nothing in files of a model without a head."""
    found = sorted({name.removesuffix(anchor) for name in source if f".{name}".endswith(f".{anchor}")}, key=len)
    if not found:
        raise ValueError(
            f"{handle!r} has no tensor {anchor!r}: its weights are not those of the model type that config.json names. "
            "Fetch both again."
        )
    return found[0]


def _names_there(path: str, modules: Mapping[str, str]) -> list[str]:
    """What a variable's tensor may be called."""
    number = _LAYER.search(path)
    for plain in (path, _LAYER.sub("layer_{i}", path)):
        module, _, part = plain.rpartition("/")
        names = [modules[plain]] if plain in modules else []
        if module in modules:
            names = [f"{modules[module]}.{kind}" for kind in _PARTS.get(part, ())]
        if names:
            return [name.replace("{i}", number.group(1)) if number else name for name in names]
    return []


def _fitted(value: np.ndarray, variable: Any, name: str) -> np.ndarray:
    """A tensor in the form that Keras keeps it in: inputs first, and the heads of attention apart."""
    if variable.path.endswith("kernel"):
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
    if value.size != np.prod(variable.shape):
        raise ValueError(
            f"{name} has shape {value.shape}, expected {tuple(variable.shape)}. config.json and the weights are of "
            "different models; fetch both again."
        )
    return value.reshape(variable.shape)
