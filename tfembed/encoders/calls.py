"""The calls of layers that a functional Keras model consists of. Keras has no public way to ask for them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

_NUMBERED = re.compile(r"^(?:transformer_|encoder_)?(.*?(?:layer|block|stage)_?\d+)")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a layer or an operation of keras.ops.

    Attributes:
        operation: What is called; None for a call that only gives its inputs other names.
        arguments: How it is called, as Keras keeps it.
        inputs: The Keras tensors among the arguments.
        outputs: The Keras tensors that it gives.
    """

    operation: Any
    arguments: Any
    inputs: Sequence[Any]
    outputs: Sequence[Any]

    def run(self, values: dict[int, Any], training: bool) -> dict[int, Any]:
        """The values of the outputs, by the `id` of their Keras tensor, made of those of the inputs."""
        if self.operation is None:
            results = [values[id(tensor)] for tensor in self.inputs]
        else:
            arguments, keywords = self.arguments.fill_in(values)
            if getattr(self.operation, "_call_has_training_arg", False):
                keywords = {**keywords, "training": training}
            results = keras.tree.flatten(self.operation(*arguments, **keywords))
        return {id(tensor): result for tensor, result in zip(self.outputs, results, strict=True)}


def calls_between(inputs: Sequence[Any], outputs: Sequence[Any]) -> list[Call]:
    """The calls that lead from some Keras tensors to others, from input to output."""
    by_depth = keras.Function(list(inputs), list(outputs))._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth] if not node.is_input]
    return [call for node in nodes for call in _opened(node)]


def number_of(layer: Any) -> str | None:
    """The block that a layer belongs to by its name, `BLOCK.LAYER` or one with a number; None if it is neither.

    Example:
        >>> number_of(keras.layers.Dense(1, name="conv2_block1_out"))
        'conv2_block1'
        >>> number_of(keras.layers.Dense(1, name="mixed3.conv2d_30"))
        'mixed3'
    """
    block, dot, _ = layer.name.partition(".")
    if dot:
        return str(block)
    found = _NUMBERED.match(layer.name)
    return found.group(1) if found else None


def _opened(node: Any) -> list[Call]:
    """A call; of a layer that is made of numbered blocks, and of nothing else that has weights, the calls inside."""
    layer, call = node.operation, Call(node.operation, node.arguments, node.input_tensors, node.outputs)
    if not isinstance(layer, keras.layers.Layer) or number_of(layer):
        return [call]
    inside = layer._flatten_layers(recursive=False, include_self=False)
    own_weights = layer._trainable_variables + layer._non_trainable_variables
    if own_weights or len({number_of(each) for each in inside} - {None}) < 2:
        return [call]
    try:
        outputs = keras.tree.flatten(layer.call(*node.arguments.args, **node.arguments.kwargs))
    except (TypeError, ValueError):  # it computes with more than layers and keras.ops
        return [call]
    return [*calls_between(node.input_tensors, outputs), Call(None, None, outputs, node.outputs)]
