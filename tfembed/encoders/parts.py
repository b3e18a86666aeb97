"""What an encoder runs, in parts: the same few methods over a Keras model and over an opaque module.

Cut k lies between block k - 1 and block k. What crosses it is a dictionary of tensors with one row per example.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import keras

from tfembed.saved_model.blocks import Block, select_variables, variable_name
from tfembed.saved_model.cut import ModuleGraph
from tfembed.saved_model.graph import CutError
from tfembed.saved_model.layer import HubLayer

_NUMBERED = re.compile(r"^(?:transformer_|encoder_)?(.*?(?:layer|block|stage)_?\d+)")


class Parts(Protocol):
    """The parts of what an encoder runs."""

    blocks: tuple[Block, ...]

    def segment(self, start: int, stop: int, training: bool) -> Callable[[Any], Any]:
        """The part between two cuts, as a function; it raises CutError where it cannot be cut."""

    def set_trained(self, selector: Any) -> None:
        """Let what a selector names train, and freeze the rest."""

    @property
    def trained_layers(self) -> list[keras.layers.Layer]:
        """The layers inside the blocks that train; none of a module, which hides them."""

    def refresh(self) -> None:
        """Look again for variables, after a layer was given some, or lost them."""


class ModuleParts:
    """The parts of a SavedModel in a HubLayer, without blocks that the wanted output does not need."""

    def __init__(self, layer: HubLayer, output: str | None) -> None:
        self._layer, everything = layer, layer.keras_blocks
        self._graph: ModuleGraph | None = None
        self._cut_error: CutError | None = None
        try:
            self._graph = layer.graph(output)
        except CutError as error:
            self._cut_error = error
        used = None if self._graph is None else self._graph.used_variables
        self._places = [
            i for i, block in enumerate(layer.blocks) if used is None or used & set(map(id, block.variables))
        ]
        self.blocks = tuple(everything[i] for i in self._places)

    def segment(self, start: int, stop: int, training: bool) -> Callable[[Any], Any]:
        """See Parts; the last segment gives the output that is wanted, and no other."""
        if self._graph is None:
            raise self._cut_error or CutError("The module cannot be cut.")
        places = [*self._places, self._graph.num_blocks]
        return self._graph.segment(places[start] if start else 0, places[stop], training)

    def set_trained(self, selector: Any) -> None:
        """See Parts."""
        blocks = [self._layer.blocks[i] for i in self._places]  # under the names that the module gives its variables
        names = [re.escape(variable_name(variable)) for variable in select_variables(blocks, selector)]
        self._layer.unfreeze(f"^({'|'.join(names)})$" if names else False)

    @property
    def trained_layers(self) -> list[keras.layers.Layer]:
        """See Parts."""
        return []

    def refresh(self) -> None:
        """See Parts; a module has the variables that it has."""


class ModelParts:
    """The parts of a functional Keras model: its layers in groups."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._layers = _grouped(model)
        self.refresh()
        self._levels = self._find_levels()

    def segment(self, start: int, stop: int, training: bool) -> Callable[[Any], Any]:
        """See Parts."""
        given, wanted = self._crossing(start), self._crossing(stop)
        nodes, last = self._between(given, wanted), stop == len(self.blocks)

        def run(features: Any) -> Any:
            if not isinstance(features, dict):
                features = dict(zip(given, keras.tree.flatten(features), strict=True))
            values = {id(tensor): keras.ops.cast(features[name], tensor.dtype) for name, tensor in given.items()}
            for node in nodes:
                arguments, keywords = node.arguments.fill_in(values)
                if getattr(node.operation, "_call_has_training_arg", False):
                    keywords = {**keywords, "training": training}
                results = keras.tree.flatten(node.operation(*arguments, **keywords))
                values |= {id(tensor): result for tensor, result in zip(node.outputs, results, strict=True)}
            results = {name: values[id(tensor)] for name, tensor in wanted.items()}
            return keras.tree.pack_sequence_as(self._model.output, list(results.values())) if last else results

        return run

    def _between(self, given: dict[str, Any], wanted: dict[str, Any]) -> list[Any]:
        """The calls that lead from some tensors to others. A second Keras model of them would break the first one."""
        known, needed = {id(tensor) for tensor in given.values()}, {id(tensor) for tensor in wanted.values()}
        found = []
        for node in reversed(self._nodes()):
            makes = {id(tensor) for tensor in node.outputs} & needed - known
            if makes:
                found.append(node)
                needed |= {id(tensor) for tensor in node.input_tensors}
        return found[::-1]

    def set_trained(self, selector: Any) -> None:
        """See Parts."""
        chosen = {id(variable) for variable in select_variables(self.blocks, selector)}
        for block, layers in zip(self.blocks, self._layers.values(), strict=True):
            trains = any(id(variable) in chosen for variable in block.variables)
            for layer in layers:
                layer.trainable = trains  # what keeps batch norm in inference mode
            for variable in block.variables if trains else ():
                variable.trainable = id(variable) in chosen

    @property
    def trained_layers(self) -> list[keras.layers.Layer]:
        """See Parts."""
        trained = [layer for layers in self._layers.values() for layer in layers if layer.trainable_variables]
        return [inner for layer in trained for inner in layer._flatten_layers()]

    def refresh(self) -> None:
        """See Parts."""
        self.blocks = tuple(
            Block(name, tuple(variable for layer in layers for variable in layer.weights))
            for name, layers in self._layers.items()
        )

    def _find_levels(self) -> dict[int, int]:
        """For each tensor of the model, by id, the last block that it depends on; -1 for none."""
        own = {id(layer): i for i, layers in enumerate(self._layers.values()) for layer in layers}
        levels: dict[int, int] = {}
        for node in self._nodes():
            inputs = [levels[id(tensor)] for tensor in node.input_tensors]
            level = max([own.get(id(node.operation), -1), *inputs])
            levels |= {id(tensor): level for tensor in node.outputs}
        return levels

    def _nodes(self) -> list[Any]:
        """The calls of layers from input to output; Keras has no public way to ask for them."""
        by_depth = self._model._nodes_by_depth
        return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]

    def _crossing(self, cut: int) -> dict[str, Any]:
        """The tensors that cross a cut, by name: made in front of it, used behind it."""
        if cut == 0:
            return dict(zip(self._input_names(), self._model.inputs, strict=True))
        if cut == len(self.blocks):
            return {f"output_{i}": tensor for i, tensor in enumerate(self._model.outputs)}
        used = list(self._model.outputs)
        for node in self._nodes():
            if node.outputs and self._levels[id(node.outputs[0])] >= cut:
                used.extend(node.input_tensors)
        names = dict(zip(map(id, self._model.inputs), self._input_names(), strict=True))
        crossing: dict[int, Any] = {}
        while used:
            tensor = used.pop(0)
            if self._levels[id(tensor)] < 0 and id(tensor) not in names:  # no weights in it: made again from the inputs
                used.extend(
                    tensor._keras_history.operation._inbound_nodes[tensor._keras_history.node_index].input_tensors
                )
            elif self._levels[id(tensor)] < cut:
                crossing[id(tensor)] = tensor
        return {names.get(key) or self._name(tensor): tensor for key, tensor in crossing.items()}

    def _input_names(self) -> list[str]:
        given = self._model.input
        return sorted(given) if isinstance(given, dict) else [tensor.name for tensor in self._model.inputs]

    def _name(self, tensor: Any) -> str:
        """A tensor's name, the same in every process: that of the layer that made it."""
        operation, _, place = tensor._keras_history
        return f"{operation.name}/{place}" if place else operation.name


def _grouped(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """The model's layers with weights in named groups, from input to output.

    Layers with a number in their name, such as `layer_3` or `conv2_block1`, belong together; what comes before the
    first of them is the stem, or the embeddings; what comes after the last is named after its last layer.
    """
    layers = [layer for layer in model.layers if layer.weights]  # those of dropout are seeds, which are no weights
    found = [_NUMBERED.match(layer.name) for layer in layers]
    names = [match.group(1) if match else None for match in found]
    if not any(names):
        return {layer.name: [layer] for layer in layers}
    first = next(i for i, name in enumerate(names) if name)
    last = max(i for i, name in enumerate(names) if name)
    has_words = any("embedding" in layer.name for layer in layers[:first])
    groups: dict[str, list[keras.layers.Layer]] = {}
    current = "embeddings" if has_words else "stem"
    for i, layer in enumerate(layers):
        current = names[i] or (layers[-1].name if i > last else current)
        groups.setdefault(current, []).append(layer)
    return groups


def runs(flags: Sequence[bool], start: int) -> list[tuple[int, int, bool]]:
    """Stretches of blocks with the same flag from a cut on, as (start, stop, flag).

    Example:
        >>> runs([False, False, True], 0)
        [(0, 2, False), (2, 3, True)]
    """
    found: list[tuple[int, int, bool]] = []
    for i in range(start, len(flags)):
        if found and found[-1][2] == flags[i]:
            found[-1] = (found[-1][0], i + 1, flags[i])
        else:
            found.append((i, i + 1, flags[i]))
    return found
