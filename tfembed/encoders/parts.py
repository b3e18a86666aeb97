"""What an encoder runs, in parts: the same few methods over a Keras model and over an opaque module.

Cut k lies between block k - 1 and block k. What crosses it is a dictionary of tensors with one row per example.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Protocol

import keras
import tensorflow as tf

from tfembed.encoders.calls import Call, calls_between, number_of
from tfembed.encoders.crossing import cheapest
from tfembed.encoders.freezing import modules_inside
from tfembed.encoders.graph_hash import GraphHash, hash_graph
from tfembed.saved_model.blocks import Block, select_variables
from tfembed.saved_model.cut import ModuleGraph
from tfembed.saved_model.graph import CutError
from tfembed.saved_model.layer import HubLayer

_POOLERS = {"pooled_dense": "pooler"}  # what KerasHub calls it


class Parts(Protocol):
    """The parts of what an encoder runs."""

    blocks: tuple[Block, ...]
    has_copies: bool
    is_whole: bool  # whether the last block is the end of the body

    def segment(self, start: int, stop: int, training: bool) -> Callable[[Any], Any]:
        """The part between two cuts, as a function; it raises CutError where it cannot be cut."""

    def cost_share(self, cut: int) -> float:
        """Share of the multiplications of a forward pass that are done in front of a cut; it may raise CutError."""

    def graph_hash(self, cut: int) -> GraphHash | None:
        """Hash what is in front of a cut, by the variables of its blocks; None where it cannot be known."""

    def crossing_names(self, cut: int) -> list[str]:
        """Names of the tensors that cross a cut."""

    def select(self, selector: Any) -> tuple[Any, ...]:
        """Return the variables that a selector names; ValueError if it names what there is not."""

    def set_trained(self, variables: Iterable[Any], fixed_statistics: bool) -> None:
        """Let variables train, and freeze the rest; statistics of batch norm too, if they are fixed."""

    @property
    def trains_batch_norm(self) -> bool:
        """Whether a block that trains has batch norm."""

    @property
    def batch_norms(self) -> list[keras.layers.BatchNormalization] | None:
        """The layers of batch norm in the blocks that train; None of a module, which hides them."""

    @property
    def trained_layers(self) -> list[keras.layers.Layer]:
        """The layers inside the blocks that train; none of a module, which hides them."""

    def refresh(self) -> None:
        """Look again for variables, after a layer was given some, or lost them."""

    def stand_in(self, copies: Mapping[int, tf.Variable]) -> None:
        """Have variables read and changed in place of those with the given `id`, until there are none again."""


class ModelParts:
    """The parts of a functional Keras model: its layers in groups.

    A layer that is itself made of numbered blocks (the encoder of a ViT, a model inside a model) counts as its blocks.
    Layers that the wanted output does not need are in no block, and never train.

    Args:
        model: The model.
        output: The name of the wanted output, where the model gives a dictionary; all outputs if None.
    """

    def __init__(self, model: keras.Model, output: str | None = None) -> None:
        self._model, given = model, model.output
        self.has_copies, self.is_whole = False, True
        self._structure = {output: given[output]} if isinstance(given, dict) and output in given else given
        self._outputs = keras.tree.flatten(self._structure)
        self._calls = calls_between(model.inputs, self._outputs)
        self._layers = _grouped([call.operation for call in self._calls])
        self.refresh()
        self._levels = self._find_levels()
        self._graph: ModuleGraph | None = None

    def segment(self, start: int, stop: int, training: bool) -> Callable[[Any], Any]:
        """See Parts."""
        given, wanted = self._crossing(start), self._crossing(stop)
        calls, last = self._between(given, wanted), stop == len(self.blocks)

        def run(features: Any) -> Any:
            if not isinstance(features, dict):
                features = dict(zip(given, keras.tree.flatten(features), strict=True))
            values = {id(tensor): keras.ops.cast(features[name], tensor.dtype) for name, tensor in given.items()}
            for call in calls:
                is_frozen = self._levels[id(call.outputs[0])] < start != 0  # computed again, as in front of the cut
                values |= call.run(values, training and not is_frozen)
            results = {name: keras.ops.cast(values[id(tensor)], tensor.dtype) for name, tensor in wanted.items()}
            return keras.tree.pack_sequence_as(self._structure, list(results.values())) if last else results

        return run

    def cost_share(self, cut: int) -> float:
        """See Parts; counted in the graph that TensorFlow makes of the model, as for any module."""
        if self._graph is None:
            run = tf.function(self.segment(0, len(self.blocks), False), autograph=False)
            specs = {
                name: tf.TensorSpec(tensor.shape, tensor.dtype, name=name) for name, tensor in self._crossing(0).items()
            }
            self._graph = ModuleGraph(run.get_concrete_function(specs), self.blocks)
        return self._graph.cost_share(cut)

    def graph_hash(self, cut: int) -> GraphHash | None:
        """See Parts."""
        segment, names = self.segment(0, cut, False), list(self._crossing(0))

        def run(*inputs: Any) -> list[Any]:  # by position: Keras numbers names as layers are made
            features = segment(dict(zip(names, inputs, strict=True)))
            return list(features.values()) if cut < len(self.blocks) else keras.tree.flatten(features)

        specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in self._crossing(0).values()]
        variables = [variable for block in self.blocks[:cut] for variable in block.variables]
        return hash_graph(tf.function(run, autograph=False).get_concrete_function(*specs), variables)

    def crossing_names(self, cut: int) -> list[str]:
        """See Parts."""
        return sorted(self._crossing(cut))

    def _between(self, given: dict[str, Any], wanted: dict[str, Any]) -> list[Call]:
        """The calls that lead from some tensors to others. A second Keras model of them would break the first one."""
        known, needed = {id(tensor) for tensor in given.values()}, {id(tensor) for tensor in wanted.values()}
        found: list[Call] = []
        for call in reversed(self._calls):
            makes = {id(tensor) for tensor in call.outputs} & needed - known
            if makes:
                found.append(call)
                needed |= {id(tensor) for tensor in call.inputs}
        if lost := [tensor.name for tensor in self._model.inputs if id(tensor) in needed - known]:
            raise CutError(
                f"The part needs the model's inputs {lost}, which are not handed over. Train the model whole."
            )
        return found[::-1]

    def select(self, selector: Any) -> tuple[Any, ...]:
        """See Parts."""
        return select_variables(self.blocks, selector)

    def set_trained(self, variables: Iterable[Any], fixed_statistics: bool) -> None:
        """See Parts."""
        chosen = {id(variable) for variable in variables}
        used = {id(each) for layers in self._layers.values() for layer in layers for each in layer._flatten_layers()}
        self._model.trainable = True  # a layer trains only inside of layers that do
        for layer in self._model._flatten_layers(include_self=False):
            if layer.weights and not any(id(each) in used for each in layer._flatten_layers()):
                layer.trainable = False
        for block, layers in zip(self.blocks, self._layers.values(), strict=True):
            trains = any(id(variable) in chosen for variable in block.variables)
            for layer in layers:
                layer.trainable = trains  # what keeps batch norm in inference mode
            if trains:
                self._fix_statistics(layers, fixed_statistics)
            for variable in block.variables:  # of all: setting a layer's flag to what it is does nothing
                variable.trainable = id(variable) in chosen
            for module in modules_inside(*layers):  # whose own selection is saved, and says what runs in training mode
                module.unfreeze_variables(v for v in module.weights if module.may_train and id(v) in chosen)

    @staticmethod
    def _fix_statistics(layers: Iterable[keras.layers.Layer], fixed: bool) -> None:
        """Say whether statistics of batch norm are fixed, before variables are told whether they train.

        `training=False` would switch dropout off too, and reaches no layer inside of others. Keras computes batch norm
        in inference mode wherever the layer does not train, and trains each variable by a flag of its own.
        """
        for inner in (each for layer in layers for each in layer._flatten_layers()):
            if isinstance(inner, HubLayer):
                inner.fixed_statistics = fixed
            elif isinstance(inner, keras.layers.BatchNormalization):
                inner.trainable = not fixed

    @property
    def trains_batch_norm(self) -> bool:
        """See Parts."""
        modules = [layer for layer in self._trained_inside() if isinstance(layer, HubLayer)]
        return bool(self.batch_norms) or any(module.updates_statistics for module in modules)

    @property
    def batch_norms(self) -> list[keras.layers.BatchNormalization] | None:
        """See Parts."""
        inside = self._trained_inside()
        if any(isinstance(layer, HubLayer) and layer.updates_statistics for layer in inside):
            return None
        return [layer for layer in inside if isinstance(layer, keras.layers.BatchNormalization)]

    def _trained_inside(self) -> list[keras.layers.Layer]:
        """The layers, and those inside of them, of the blocks that train."""
        blocks = zip(self.blocks, self._layers.values(), strict=True)
        trained = [layers for block, layers in blocks if any(variable.trainable for variable in block.variables)]
        inside = [inner for layers in trained for layer in layers for inner in layer._flatten_layers()]
        return list({id(layer): layer for layer in inside}.values())

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

    def stand_in(self, copies: Mapping[int, tf.Variable]) -> None:
        """See Parts; layers read what their Keras variables hold."""
        self.has_copies = bool(copies)

    def _find_levels(self) -> dict[int, int]:
        """For each tensor of the model, by id, the last block that it depends on; -1 for none."""
        own = {id(layer): i for i, layers in enumerate(self._layers.values()) for layer in layers}
        levels = {id(tensor): -1 for tensor in self._model.inputs}
        for call in self._calls:
            level = max([own.get(id(call.operation), -1), *(levels[id(tensor)] for tensor in call.inputs)])
            levels |= {id(tensor): level for tensor in call.outputs}
        return levels

    def _crossing(self, cut: int) -> dict[str, Any]:
        """The tensors that cross a cut, by name: what all that is used behind it can be made of."""
        if cut == 0:
            return dict(zip(self._input_names(), self._model.inputs, strict=True))
        if cut == len(self.blocks):
            return {f"output_{i}": tensor for i, tensor in enumerate(self._outputs)}
        used = list(self._outputs)
        for call in self._calls:
            if call.outputs and self._levels[id(call.outputs[0])] >= cut:
                used.extend(call.inputs)
        names = dict(zip(map(id, self._model.inputs), self._input_names(), strict=True))
        crossing = cheapest(self._calls, [tensor for tensor in used if self._levels[id(tensor)] < cut])
        return {names.get(id(tensor)) or self._name(tensor): tensor for tensor in crossing}

    def _input_names(self) -> list[str]:
        given = self._model.input
        return sorted(given) if isinstance(given, dict) else [tensor.name for tensor in self._model.inputs]

    def _name(self, tensor: Any) -> str:
        """A tensor's name, the same in every process: that of the layer that made it."""
        operation, _, place = tensor._keras_history
        return f"{operation.name}/{place}" if place else operation.name


def _grouped(operations: Iterable[Any]) -> dict[str, list[keras.layers.Layer]]:
    """The layers with weights among operations in named groups, from input to output.

    Layers with a number in their name, such as `layer_3` or `conv2_block1`, belong together; what comes before the
    first of them is the stem, or the embeddings; what comes after the last is called what its layers have in common, or
    belongs to the last of them where it only scales and shifts.
    """
    # Those of dropout are seeds, which are no weights. A layer may be called several times.
    layers = list({id(each): each for each in operations if getattr(each, "weights", ())}.values())
    names = [number_of(layer) for layer in layers]
    if not any(names):  # without weights there still is something to be frozen
        return {layer.name: [layer] for layer in layers} or {"model": []}
    first = next(i for i, name in enumerate(names) if name)
    last = max(i for i, name in enumerate(names) if name)
    has_words = any("embedding" in layer.name for layer in layers[:first])
    has_top = any(len(weight.shape) > 1 for layer in layers[last + 1 :] for weight in layer.weights)
    groups: dict[str, list[keras.layers.Layer]] = {}
    current = "embeddings" if has_words else "stem"
    for i, layer in enumerate(layers):
        current = names[i] or (_top_name(layers[last + 1 :]) if i > last and has_top else current)
        groups.setdefault(current, []).append(layer)
    return groups


def _top_name(layers: Sequence[keras.layers.Layer]) -> str:
    """What people call layers behind the last block: `top` of `top_conv` and `top_bn`, BERT's pooler by its name."""
    last = layers[-1].name
    words = zip(*(layer.name.split("_") for layer in layers), strict=False)
    common = [each[0] for each in takewhile(lambda each: len(set(each)) == 1, words)]
    return _POOLERS.get(last) or "_".join(common) or last


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
