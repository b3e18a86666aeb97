"""Names of a Keras model's layers: the same in every process, and telling which block a layer belongs to."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from tfembed.encoders.application_table import Pattern
from tfembed.encoders.calls import calls_between

# How Keras makes names of types: Conv2D becomes conv2d, MaxPooling2D max_pooling2d.
_WORD, _SECOND_WORD = re.compile(r"(.)([A-Z][a-z]+)"), re.compile(r"([a-z])([A-Z])")


def named_in_blocks(model: keras.Model, *, ends: Sequence[Pattern] = (), named: Sequence[Pattern] = ()) -> keras.Model:
    """A copy of a functional model whose layers are named `BLOCK.LAYER`, or as they were where no pattern says more.

    Names that Keras made up depend on what the process made before; they are numbered anew, from 0 on in each model.

    Args:
        model: The model.
        ends: Layers that end a block, from input to output: what leads to one, and to none before, is the block.
        named: Names of the layers of a block, each a regular expression and what it expands to.

    Returns:
        A model with the same weights, of its own.

    Example:
        >>> image = keras.Input((4, 4, 3))
        >>> x = keras.layers.Conv2D(2, 1)(image)
        >>> x = keras.layers.Activation("relu", name="mixed0")(x)
        >>> copy = named_in_blocks(keras.Model(image, x), ends=[(r"mixed\\d+", r"\\g<0>")])
        >>> [layer.name for layer in copy.layers]
        ['image', 'mixed0.conv2d_0', 'mixed0']
    """
    stable = _stable_names(model)
    blocks = _led_to(model, stable, ends) | {
        key: block for key, name in stable.items() if (block := _expanded(name, named)) is not None
    }

    def copy(layer: Any) -> Any:
        name = stable[id(layer)]
        block = blocks.get(id(layer)) if getattr(layer, "weights", ()) else None
        return type(layer).from_config(layer.get_config() | {"name": f"{block}.{name}" if block else name})

    image = keras.Input(model.input_shape[1:], name="image", dtype=model.input.dtype)
    renamed = keras.models.clone_model(model, input_tensors=image, clone_function=copy)
    renamed.set_weights(model.get_weights())
    return renamed


def up_to(model: keras.Model, name: str) -> keras.Model:
    """The part of a model that leads to a layer.

    Args:
        model: The model.
        name: The layer's name, with or without its block.

    Raises:
        ValueError: If there is no such layer.
    """
    found = [layer for layer in model.layers if name in (layer.name, layer.name.partition(".")[2])]
    if not found:
        names = [layer.name for layer in model.layers[1:]]
        shown = ", ".join([*names[:3], "...", *names[-5:]] if len(names) > 9 else names)
        raise ValueError(
            f"output={name!r}: model {model.name!r} has no such layer. From input to output it has {shown}."
        )
    return keras.Model(model.input, found[0].output, name=model.name)


def _stable_names(model: keras.Model) -> dict[int, str]:
    """The name of each operation by its `id`, where Keras made it up numbered within the model."""
    counts: Counter[str] = Counter()
    names = {}
    calls = calls_between(model.inputs, model.outputs)
    for operation in dict.fromkeys(call.operation for call in calls):
        kind = _SECOND_WORD.sub(r"\1_\2", _WORD.sub(r"\1_\2", type(operation).__name__)).lower()
        made_up = re.fullmatch(rf"{kind}(_\d+)?", operation.name)
        names[id(operation)] = f"{kind}_{counts[kind]}" if made_up else operation.name
        counts[kind] += bool(made_up)
    return names


def _led_to(model: keras.Model, names: dict[int, str], ends: Sequence[Pattern]) -> dict[int, str]:
    """For each operation that leads to the end of a block, by its `id`, the block."""
    calls = calls_between(model.inputs, model.outputs)
    maker = {id(tensor): call for call in calls for tensor in call.outputs}
    found: dict[int, str] = {}
    for call in calls:
        block = _expanded(names[id(call.operation)], ends)
        stack = [] if block is None else [call]
        while stack:
            operation, inputs = stack[-1].operation, stack.pop().inputs
            if id(operation) not in found:
                found[id(operation)] = str(block)
                stack.extend(maker[id(tensor)] for tensor in inputs if id(tensor) in maker)
    return found


def _expanded(name: str, patterns: Iterable[Pattern]) -> str | None:
    """What the first pattern that fits a name expands to."""
    matches = ((re.fullmatch(pattern, name), block) for pattern, block in patterns)
    return next((match.expand(block) for match, block in matches if match), None)
