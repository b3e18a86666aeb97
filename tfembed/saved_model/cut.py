"""Cut a module between any two of its blocks: a frozen part whose results are kept, and a part that trains on them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tfembed.saved_model import checks, match
from tfembed.saved_model.blocks import Block
from tfembed.saved_model.flatten import flatten
from tfembed.saved_model.frontier import Boundary, choose
from tfembed.saved_model.functions import Function, find_function, paths
from tfembed.saved_model.graph import CutError, FlatGraph, import_part, tf_variable, trace
from tfembed.saved_model.probe import measure, multiplications, sample_inputs, unnamed
from tfembed.saved_model.randomness import Seeds
from tfembed.saved_model.reading import Reading, generators, select_outputs, told_shapes, updates


class ModuleGraph:
    """A module's graph, to be used in parts.

    Cut k lies between block k - 1 and block k: `segment(0, k)` is what is frozen when the first k blocks are, and
    `segment(k, num_blocks)` is the rest. What crosses the cut is a dictionary of tensors with one row per example.

    Args:
        module_call: What is called: `module.__call__` of a loaded SavedModel, a signature, or a tf.function.
        blocks: The module's blocks from input to output, as `find_blocks` gives them.
        arguments: Further arguments of the call by name.
        outputs: Names of the outputs to compute, where the module gives a dictionary. All of them if None. Asking for
            few keeps the cut small: every output of a frozen block has to cross it.
        inputs: Tensors or specs for which the traced function is chosen, where there are several.
        seeds: Seeds of random ops in training; as in the module if None.

    Raises:
        CutError: If the module's graph cannot be read. Train it whole then.

    Example:
        >>> import tensorflow as tf
        >>> from tfembed.saved_model.blocks import find_blocks
        >>> class Scale(tf.Module):
        ...     def __init__(self):
        ...         self.first, self.second = tf.Variable([2.0], name="first"), tf.Variable([3.0], name="second")
        ...     @tf.function(input_signature=[tf.TensorSpec([None, 1])])
        ...     def __call__(self, x):
        ...         return tf.exp(x * self.first) * self.second
        >>> module = Scale()
        >>> call = module.__call__.get_concrete_function()
        >>> graph = ModuleGraph(call, find_blocks(module, call))
        >>> features = graph.segment(0, 1)(tf.zeros([2, 1]))
        >>> {name: tensor.shape.as_list() for name, tensor in features.items()}
        {'first': [2, 1]}
        >>> graph.segment(1, 2)(features).numpy().tolist()
        [[3.0], [3.0]]
    """

    def __init__(
        self,
        module_call: Any,
        blocks: Sequence[Block],
        arguments: Mapping[str, Any] | None = None,
        *,
        outputs: Sequence[str] | None = None,
        inputs: Any = None,
        seeds: Seeds | None = None,
    ) -> None:
        self._seeds = seeds or Seeds()
        self.blocks = tuple(blocks)
        self._call, self._arguments = module_call, dict(arguments or {})
        self._outputs = None if outputs is None else tuple(outputs)
        self._block_of = {id(tf_variable(v)): i for i, block in enumerate(self.blocks) for v in block.variables}
        function = find_function(module_call, self._arguments, training=False, like=inputs)
        if function is None:
            raise CutError("The module has no traced function for inference. Train it whole.")
        self._inference = self._read(function)
        self._kept: dict[int, tuple[str, ...] | CutError] = {0: self._inference.flat.inputs}
        self._names = dict(zip(self._inference.flat.inputs, function.input_names, strict=True))
        self._checked: set[tuple[int, bool]] = set()
        self._functions: dict[tuple[int, int, bool, bool], Callable[[Any], Any]] = {}
        self._training_state: tuple[Reading, match.Match | None] | None = None
        self._copies: Mapping[int, tf.Variable] = {}

    @property
    def num_blocks(self) -> int:
        """The number of blocks, which is also the last cut: the one behind everything."""
        return len(self.blocks)

    @property
    def used_variables(self) -> set[int]:
        """The `id` of each tf.Variable that the outputs depend on."""
        flat = self._inference.flat
        return {id(flat.variables[name]) for name in flat.ancestors(flat.outputs) if name in flat.variables}

    @property
    def has_training_function(self) -> bool:
        """Whether the module has a function of its own for training, in which dropout and batch norm act."""
        return self._for_training()[1] is not None

    def spec(self, cut: int) -> dict[str, tf.TensorSpec]:
        """Names, dtypes and shapes of what crosses a cut; of the module's inputs for 0, of its outputs for the last.

        Raises:
            CutError: If the module cannot be cut there.
            ValueError: If there is no such cut.
        """
        reading = self._inference
        if cut == self.num_blocks:
            return dict(zip(paths(reading.structure), map(reading.shapes.spec, reading.flat.outputs), strict=True))
        if cut == 0:
            return dict(zip(reading.function.input_names, map(unnamed, reading.function.specs), strict=True))
        return {self._names[tensor]: reading.shapes.spec(tensor) for tensor in self._crossing(cut)}

    def bytes_per_example(self, cut: int, inputs: Any) -> int:
        """Bytes of one example at a cut, for inputs of that size.

        Args:
            cut: The cut.
            inputs: A batch of the module's inputs, of any batch size.
        """
        crossing = inputs if cut == 0 else self.segment(0, cut)(inputs)
        tensors = [tf.convert_to_tensor(leaf) for leaf in tf.nest.flatten(crossing)]
        return sum(math.prod(tensor.shape[1:]) * tensor.dtype.size for tensor in tensors)

    def cost_share(self, cut: int) -> float:
        """Share of the multiplications of a forward pass, from 0 to 1, that are done in front of a cut."""
        flat, late = self._inference.flat, self._late(self._inference.flat, cut)
        wanted = set(flat.ancestors(flat.outputs))
        costs = {name: n for name, n in multiplications(flat, self._inference.shapes).items() if name in wanted}
        return sum(n for name, n in costs.items() if name not in late) / max(1, sum(costs.values()))

    def segment(self, start: int, stop: int, training: bool = False) -> Callable[[Any], Any]:
        """The part of the module between two cuts, as a function.

        Args:
            start: The cut where it begins. For 0 the function takes what the module takes, else what crosses there.
            stop: The cut where it ends. For the last one the function gives what the module gives.
            training: Whether dropout and batch norm act as in training, if the module has a function for that, and
                moving statistics follow. For blocks that train; the others belong in segments of their own.

        Raises:
            CutError: If the module cannot be cut there.
            ValueError: If there are no such cuts, or they do not follow each other.
        """
        if not 0 <= start < stop <= self.num_blocks:
            raise ValueError(
                f"There is no segment from cut {start} to cut {stop}: the module has {self.num_blocks} blocks. "
                f"Pass 0 <= start < stop <= {self.num_blocks}."
            )
        with tf.init_scope():  # also where a layer asks for it while it is being traced
            reading, partners = self._for_training() if training else (self._inference, None)
            for cut in sorted({start, stop} - {0, self.num_blocks}):
                self._check(cut, partners)
            return self._function(reading, partners, start, stop)

    def stand_in(self, copies: Mapping[int, tf.Variable]) -> None:
        """Have variables read and changed in place of those with the given `id`, until there are none again.

        Segments that are asked for meanwhile are traced where they are called: copies are mirrored variables, of which
        there is one on each device.
        """
        self._copies = dict(copies)

    def _function(self, reading: Reading, partners: match.Match | None, start: int, stop: int) -> Callable[[Any], Any]:
        is_training = partners is not None
        key = (start, stop, is_training, is_training and self._seeds.are_set)
        if self._copies:
            part = self._part(reading, partners, start, stop)
            return lambda inputs: trace(*part)(inputs)  # on each device, with its own copies
        if key not in self._functions:
            self._functions[key] = trace(*self._part(reading, partners, start, stop))
        return self._functions[key]

    def _part(
        self, reading: Reading, partners: match.Match | None, start: int, stop: int
    ) -> tuple[Callable[[Any], Any], Any]:
        """A segment as a Python function, and what it takes."""
        last = stop == self.num_blocks
        wanted = reading.flat.outputs if last else self._located(stop, partners)
        given = self._located(start, partners)
        effects = [] if partners is None else updates(reading.flat, (given, wanted), self._block_of, range(start, stop))
        names = [self._names[tensor] for tensor in self._crossing(start)]
        result_names = [] if last else [self._names[tensor] for tensor in self._crossing(stop)]
        late = self._late(reading.flat, start)
        variables = {name: self._copies.get(id(v), v) for name, v in reading.flat.variables.items()}
        live = replace(reading.flat, variables=variables)

        def run(inputs: Any) -> Any:
            values = tf.nest.flatten(inputs) if start == 0 else [inputs[name] for name in names]
            feeds = dict(zip(given, values, strict=True))
            if start:
                feeds |= told_shapes(reading, feeds, [*wanted, *effects], late)
            results = import_part(live, wanted, feeds, effects=effects, seeds=self._seeds if partners else None)
            return reading.pack(results) if last else dict(zip(result_names, results, strict=True))

        signature = tf.nest.map_structure(unnamed, reading.function.inputs) if start == 0 else self.spec(start)
        return run, signature

    def _read(self, function: Function) -> Reading:
        flat = flatten(function.concrete, [v for block in self.blocks for v in block.variables], function.constants)
        structure = function.concrete.structured_outputs
        if self._outputs is not None:
            structure, kept = select_outputs(structure, flat.outputs, self._outputs)
            flat = replace(flat, outputs=kept, _reach={})
        if (hidden := flat.hidden_variables()) and self.num_blocks > 1:
            raise CutError(f"The module uses {len(hidden)} variables that no block has: it hides them. Train it whole.")
        return Reading(function, flat, measure(flat, function.specs), structure)

    def _for_training(self) -> tuple[Reading, match.Match | None]:
        """The training function and how it corresponds; the inference function where there is none."""
        if self._training_state is None:
            function = find_function(self._call, self._arguments, training=True, like=self._inference.function.inputs)
            reading = self._inference if function is None else self._read(function)
            found = None if function is None else match.match(self._inference.flat, reading.flat)
            self._seeds.adopt(generators(reading.flat) if found else ())
            self._training_state = (reading, found)
        return self._training_state

    def _late(self, flat: FlatGraph, cut: int) -> frozenset[str]:
        """Nodes that depend on a variable of a block behind the cut; whole numbers (seeds, counters) do not count."""
        return flat.reaches(
            name for name, v in flat.variables.items() if self._block_of[id(v)] >= cut and v.dtype.is_floating
        )

    def _crossing(self, cut: int) -> tuple[str, ...]:
        """Inference tensors that cross. Names are given from the first cut on, so that they do not depend on use."""
        if not 0 <= cut < self.num_blocks:
            raise ValueError(f"There is no cut {cut}: pass 0 to {self.num_blocks}.")
        for each in range(len(self._kept), cut + 1):
            try:
                self._kept[each] = self._choose(each)
            except CutError as error:
                self._kept[each] = error
        found = self._kept[cut]
        if isinstance(found, CutError):
            raise found
        return found

    def _choose(self, cut: int) -> tuple[str, ...]:
        flat = self._inference.flat
        kept = choose(Boundary(flat, self._inference.shapes, self._late(flat, cut)))
        checks.check_settled(flat, kept)
        for tensor in kept:
            if tensor not in self._names:
                self._names[tensor] = self._name(tensor)
        return kept

    def _name(self, tensor: str) -> str:
        """A name for a tensor at a cut: that of the last block it went through, numbered where that is taken."""
        flat = self._inference.flat
        used = [self._block_of[id(flat.variables[n])] for n in flat.ancestors([tensor]) if n in flat.variables]
        last = self.blocks[max(used)].name if used else "inputs"
        taken = set(self._names.values())
        return next(n for n in (last, *(f"{last}/{i}" for i in range(1, len(taken) + 2))) if n not in taken)

    def _located(self, cut: int, partners: match.Match | None) -> tuple[str, ...]:
        """What crosses a cut, by its names in the graph that is cut."""
        crossing = self._crossing(cut)
        if partners is None:
            return crossing
        inputs = dict(zip(partners.inference.inputs, partners.training.inputs, strict=True))
        found = [inputs.get(tensor) or partners.partner(tensor) for tensor in crossing]
        if lost := [tensor for tensor, partner in zip(crossing, found, strict=True) if partner is None]:
            why = "; ".join(partners.differences[:3]) or "several tensors there could stand for it"
            raise CutError(f"{lost[:3]} cannot be found in the module's training function: {why}. Train it whole.")
        return tuple(partner for partner in found if partner is not None)

    def _check(self, cut: int, partners: match.Match | None) -> None:
        """Check what must hold at a cut on a small sample, once."""
        reading, samples = self._inference, sample_inputs(self._inference.function.specs, 1)
        if (cut, partners is not None) in self._checked:
            return
        inputs = tf.nest.pack_sequence_as(reading.function.inputs, samples)
        prefix = self._function(reading, None, 0, cut)
        features = prefix(inputs)
        if (cut, False) not in self._checked:
            checks.check_gradients(reading.flat, reading.shapes, self._late(reading.flat, cut))
            if reading.shapes.batch[0] != reading.shapes.batch[1]:
                checks.check_rows(prefix, inputs, features)
            self._checked.add((cut, False))
        if partners is not None:
            expected = tf.nest.flatten(self._function(reading, None, cut, self.num_blocks)(features))
            training, names = self._for_training()[0], [self._names[tensor] for tensor in self._crossing(cut)]
            feeds = dict(zip(self._located(cut, partners), [features[name] for name in names], strict=True))
            checks.check_match(partners, training, feeds, self._late(training.flat, cut), expected)
            self._checked.add((cut, True))
