"""Training a part of a module: its frozen blocks run in inference mode, the others in training."""

from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from typing import Any

import tensorflow as tf

from tfembed.saved_model.blocks import Block, find_blocks, select_variables
from tfembed.saved_model.cut import ModuleGraph
from tfembed.saved_model.flatten import flatten
from tfembed.saved_model.functions import concrete_functions, find_function
from tfembed.saved_model.graph import CutError, import_part, trace
from tfembed.saved_model.invocation import Invocation, invocation
from tfembed.saved_model.module import Module, load_folder
from tfembed.saved_model.randomness import RANDOM, Seeds, bodies, draws
from tfembed.saved_model.reading import generators


@dataclass(frozen=True, slots=True)
class Positions:
    """A selector of variables by their positions in the module's list, for variables whose names may repeat.

    Attributes:
        indices: Positions of the selected variables.
    """

    indices: tuple[int, ...]


Selector = bool | int | str | Sequence[str] | Positions


def selector_config(selector: Selector) -> Any:
    """Describe a selector by JSON values.

    Example:
        >>> selector_config(Positions((0, 2)))
        {'variables': [0, 2]}
    """
    return {"variables": list(selector.indices)} if isinstance(selector, Positions) else selector


def parse_selector(config: Any) -> Selector:
    """Make the selector that `selector_config` described; in files of earlier versions it is the user's own."""
    if isinstance(config, dict):
        return Positions(tuple(config["variables"]))
    return tuple(config) if isinstance(config, list) else config


def select_ids(
    blocks: Sequence[Block], selector: Selector, may_train: Set[int], variables: Sequence[Any] = ()
) -> frozenset[int]:
    """Find the `id` of each variable that a selector names, of those that may train.

    Args:
        blocks: The module's blocks.
        selector: Names, numbers or positions of what is selected.
        may_train: The `id` of each variable that may train.
        variables: The module's variables in the order that `Positions` refer to.

    Raises:
        ValueError: If the selector names what the module does not have, or only what never trains.
    """
    if selector and not may_train:
        raise ValueError(
            "The module lists no trainable_variables, as those in the format of TF1 Hub, so that no block of it can "
            "be unfrozen. Train a head on it as it is, or load a TF2 SavedModel that lists them."
        )
    if isinstance(selector, Positions):
        chosen = [variables[i] for i in selector.indices]
    else:
        chosen = list(select_variables(blocks, selector))
    selected = {id(variable) for variable in chosen} & may_train
    if selector and not selected:
        what = "Nothing that is selected" if isinstance(selector, Positions) else f"Nothing that {selector!r} selects"
        raise ValueError(
            f"{what} may train. Expected some of the module's trainable_variables, out of "
            f"the blocks {[block.name for block in blocks]}; pass another selector."
        )
    return frozenset(selected)


def blocks_of(module: Module, call: Invocation) -> tuple[Block, ...]:
    """The blocks of a module, ordered by the function that a layer calls for inference."""
    if module.folder is not None and is_mirrored(module):
        # Graphs are read with plain variables. A thread of its own is outside of the distribution's scope.
        with ThreadPoolExecutor(1) as outside:
            plain = outside.submit(load_folder, module.folder).result()
        mirrored = {id(one): other for one, other in zip(plain.variables, module.variables, strict=True)}
        blocks = blocks_of(plain, invocation(plain, call.request))
        return tuple(Block(block.name, tuple(mirrored[id(v)] for v in block.variables)) for block in blocks)
    try:
        inference = [find_function(call.function, call.request.arguments, training=False).concrete]  # type: ignore[union-attr]
    except CutError:
        inference = []
    others = [each for each in concrete_functions(call.function) if each not in inference]
    variables = None if module.lists_variables or not module.created else module.variables
    return find_blocks(module.loaded, *inference, *others, variables=variables)


def partly_trained(
    module: Module,
    call: Invocation,
    blocks: Sequence[Block],
    trained: Set[int],
    inputs: Any = None,
    seeds: Seeds | None = None,
) -> Callable[[Any], Any]:
    """Make the call in which blocks with a trained variable are in training mode and the others in inference mode.

    Args:
        module: The module.
        call: How the layer calls it.
        blocks: The module's blocks from input to output.
        trained: The `id` of each variable that trains.
        inputs: Tensors for which the traced function is chosen, where there are several.
        seeds: Seeds of random ops; as in the module if None.

    Returns:
        A function from the module's inputs to its outputs.

    Raises:
        CutError: If the module cannot be cut where trained and frozen blocks meet.
    """
    if is_mirrored(module):
        raise CutError("Its variables are mirrored over several devices, and a part would read those of one.")
    keys = None if call.request.output_key is None else [call.request.output_key]
    with tf.init_scope(), tf.name_scope(""):  # the graph is read and tried out, also where the layer is being traced
        graph = ModuleGraph(call.function, blocks, call.request.arguments, outputs=keys, inputs=inputs, seeds=seeds)
        flags = [any(id(variable) in trained for variable in block.variables) for block in blocks]
        segments, start = [], 0
        for trains, run in groupby(flags):
            stop = start + len(list(run))
            segments.append(graph.segment(start, stop, training=trains))
            start = stop
    return lambda inputs: reduce(lambda value, segment: segment(value), segments, inputs)


def seeded(
    call: Callable[[Any], Any], specs: Any, variables: Sequence[Any], seeds: Seeds
) -> Callable[[Any], Any] | None:
    """Make a call of a whole module whose random ops draw from seeds.

    Args:
        call: The call in training.
        specs: The inputs as a nest of specs.
        variables: The module's variables.
        seeds: Seeds that are drawn from.

    Returns:
        A function from the inputs to the outputs; None where no random op needs a seed.

    Raises:
        CutError: If the module's graph cannot be written out.
    """
    with tf.init_scope(), tf.name_scope(""):
        concrete = trace(call, specs)
        flat = flatten(concrete, variables)
        seeds.adopt(generators(flat))
        if not draws(flat.nodes.values(), bodies(flat.graph_def)):
            return None
        effects = [name for name in flat.stateful(flat.nodes) if not RANDOM.search(flat.nodes[name].op)]

        def run(inputs: Any) -> Any:
            feeds = dict(zip(flat.inputs, tf.nest.flatten(inputs, expand_composites=True), strict=True))
            tensors = iter(import_part(flat, flat.outputs, feeds, effects=effects, seeds=seeds))
            leaves = tf.nest.flatten(concrete.structured_outputs, expand_composites=True)
            filled = [None if leaf is None else next(tensors) for leaf in leaves]
            return tf.nest.pack_sequence_as(concrete.structured_outputs, filled, expand_composites=True)

        return trace(run, specs)


def is_mirrored(module: Module) -> bool:
    """Tell whether a module's variables are spread over several devices."""
    return any(isinstance(variable, tf.distribute.DistributedValues) for variable in module.variables)
