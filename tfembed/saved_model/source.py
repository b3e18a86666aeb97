"""The module behind a layer: found at its handle, or brought by the model's file after the layer was made."""

import logging
import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from tfembed.saved_model.archive import StoredModule, load_onto, read_module, write_module
from tfembed.saved_model.batch_statistics import uses_batch_statistics
from tfembed.saved_model.blocks import Block
from tfembed.saved_model.cut import ModuleGraph
from tfembed.saved_model.functions import concrete_functions, find_function
from tfembed.saved_model.graph import CutError
from tfembed.saved_model.handles import local_folder, resolve
from tfembed.saved_model.invocation import Invocation, Request, input_dtypes, invocation
from tfembed.saved_model.module import Module, admitted, content_fingerprint, fingerprint, load, load_folder
from tfembed.saved_model.output_shapes import parse_output_shape
from tfembed.saved_model.partial import Positions, Selector, blocks_of, is_mirrored, partly_trained, seeded, select_ids
from tfembed.saved_model.randomness import Seeds
from tfembed.saved_model.shared_variables import ModuleVariables, create, explain_difference, hold
from tfembed.saved_model.tensor_specs import SeenCalls, any_batch, to_keras, to_tf

logger = logging.getLogger(__name__)


class ModuleSource:
    """A module, its variables, and how to call it.

    Of a `StoredModule` whose handle is not on this machine there are the variables only, until `fetch` or `read`.

    Attributes:
        handle: What the user wrote, or the callable.
        tags: Which graph of a SavedModel with several.
        request: What is asked of the module.
        trust: Whether it may hold ops that write files or run Python.
        variables: Its variables; they stay the same objects when a missing module arrives.
        seen: The calls made so far, as specifications.
        seeds: Seeds of the module's random ops in training.
        stored: The description of a module that is not here; None once it is.
        cut_error: Why the module cannot be trained in part, where that was tried and failed.
    """

    def __init__(
        self,
        handle: Any,
        *,
        request: Request,
        tags: Sequence[str] | None = None,
        options: tf.saved_model.LoadOptions | None = None,
        trust: bool = False,
    ) -> None:
        self.stored = handle if isinstance(handle, StoredModule) else None
        handle = self.stored.handle if self.stored else handle
        self.handle = os.fspath(handle) if isinstance(handle, os.PathLike) else handle
        self.tags = None if tags is None else list(tags)
        self.request, self.trust = request, trust
        self.seen = SeenCalls(self.stored.calls if self.stored else ())
        self.seeds = Seeds()
        self._options = options
        self.cut_error: str | None = None
        self._module: Module | None = None
        self._blocks: tuple[Block, ...] | None = None
        self._calls: dict[Any, Callable[[Any], Any] | None] = {}
        self._invocation: Invocation | None = None
        self._updates_statistics: bool | None = None
        module = self._find()
        self.variables: ModuleVariables = hold(module) if module else create(self.stored.variables)  # type: ignore[union-attr]
        if module:
            self._open(module)

    @property
    def module(self) -> Module:
        """The module; fetched by its handle if it is not here.

        Raises:
            ValueError: If the handle does not lead to it.
        """
        if self._module is None:
            self._fetch()
        if self._module is None:
            raise ValueError(f"No module was loaded from {self.handle!r}.")
        return self._module

    @property
    def invocation(self) -> Invocation:
        """How to call the module; fetched as for `module`."""
        if self._invocation is None:
            self._open(self.module)
        if self._invocation is None:
            raise ValueError(f"No module was loaded from {self.handle!r}.")
        return self._invocation

    @property
    def untracked_variables(self) -> list[tf.Variable]:
        """Variables that the module uses and Keras does not track: hidden ones, and those of strings."""
        unshared = [v for v, shared in zip(self.variables.raw, self.variables.shared, strict=True) if shared is None]
        return [*unshared, *self.module.hidden_variables(concrete_functions(self.invocation.function))]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The module's blocks from input to output."""
        if self._blocks is None:
            self._blocks = blocks_of(self.module, self.invocation)
        return self._blocks

    def call(self, inputs: Any, training: Any, trained: frozenset[int] | None = None) -> Any:
        """Call the module, or, while Keras builds a model whose module is yet to come, say what it would return.

        Args:
            inputs: A tensor or a nest of tensors.
            training: A Python bool or a scalar bool tensor.
            trained: The `id` of each variable that trains, where these are not all.
        """
        if self.stored is not None and not tf.executing_eagerly():
            outputs = self.seen.find(any_batch(inputs))
            if outputs is not None:  # run by mistake, these placeholders fail for want of a value
                return keras.tree.map_structure(lambda each: tf.compat.v1.placeholder(each.dtype, each.shape), outputs)
        when_training = None
        if trained is not None and training is not False and self.invocation.takes_training:
            when_training = self._partly(trained, inputs)
        if when_training is None and training is not False and self.seeds.are_set:
            when_training = self._seeded(inputs)
        outputs = self.invocation(inputs, training, when_training)
        if not tf.executing_eagerly():
            self.seen.note(any_batch(inputs), any_batch(outputs))
        return outputs

    def specify(self, inputs: Any) -> Any:
        """Find shapes and types of the outputs, given a nest of symbolic Keras tensors, by tracing the module."""
        outputs = self.seen.find(inputs) if self.stored is not None else None
        if outputs is None:
            call = self.invocation
            trace = tf.function(lambda values: call(values, False), autograph=False)
            traced = trace.get_concrete_function(keras.tree.map_structure(to_tf, inputs))
            outputs = keras.tree.map_structure(to_keras, traced.structured_outputs)
            self.seen.note(inputs, outputs)
        return outputs

    def output_shapes(self, input_shape: Any, default_dtype: str) -> Any:
        """Find the shapes of the outputs from a nest of input shapes: those set by the user, or else by tracing."""
        shapes = parse_output_shape(input_shape)
        flat = tf.nest.flatten(shapes)
        if self.request.output_shape is not None:
            return tf.nest.map_structure(flat[0][:1].concatenate, self.request.output_shape)
        dtypes = input_dtypes(self.invocation.function, len(flat)) or [default_dtype] * len(flat)
        symbols = [keras.KerasTensor(shape.as_list(), dtype) for shape, dtype in zip(flat, dtypes, strict=True)]
        outputs = self.specify(tf.nest.pack_sequence_as(shapes, symbols))
        return keras.tree.map_structure(lambda output: tf.TensorShape(output.shape), outputs)

    @property
    def fingerprint(self) -> str | None:
        """A name for what is computed, equal in every process; None for a callable, whose code cannot be read.

        Variables count as they were when the module was loaded.
        """
        _ = self.module
        return f"{self._content} {self.tags} {self.request.describe()}" if self._content else None

    @property
    def updates_statistics(self) -> bool:
        """Whether the module's function for training uses or stores statistics of the batch."""
        if self._updates_statistics is None:
            call = self.invocation
            function = find_function(call.function, call.request.arguments, training=True)
            self._updates_statistics = function is not None and uses_batch_statistics(function.concrete)
        return self._updates_statistics

    def input_specs(self) -> Any:
        """What the function for inference takes, as a nest of tf.TensorSpec."""
        call = self.invocation
        return find_function(call.function, call.request.arguments, training=False).inputs  # type: ignore[union-attr]

    def graph(self, output: str | None, inputs: Any = None) -> ModuleGraph:
        """The module's graph, to be used in parts."""
        call, outputs = self.invocation, None if output is None else [output]
        like = self._told_apart(inputs)
        return ModuleGraph(
            call.function, self.blocks, call.request.arguments, outputs=outputs, inputs=like, seeds=self.seeds
        )

    def _told_apart(self, inputs: Any) -> Any:
        """Inputs of another structure than those of the first function, which say that another one is meant."""
        other = isinstance(inputs, dict) and not isinstance(self.input_specs(), dict)
        return inputs if other else None

    def select(self, selector: Selector) -> frozenset[int]:
        """The `id` of each variable that a selector names; for a module that is not here, of those that trained.

        Raises:
            ValueError: If the selector names what the module does not have, or what never trains.
        """
        if selector is True:
            return frozenset(self.variables.trainable_ids)
        if isinstance(selector, Positions):  # which need no blocks
            ids = frozenset(id(self.variables.raw[i]) for i in selector.indices) & self.variables.trainable_ids
            if ids:
                return ids
        elif self.stored is not None:
            flags = zip(self.variables.raw, self.stored.trained, strict=True)
            return frozenset(id(variable) for variable, trained in flags if trained)
        return select_ids(self.blocks, selector, self.variables.trainable_ids, self.variables.raw)

    def describe(self, layer: keras.layers.Layer) -> dict[str, Any]:
        """What a layer's config says of its module, as JSON values; "module" holds the fields of a `StoredModule`.

        Raises:
            NotImplementedError: If the handle is a callable.
            ValueError: If `arguments` holds what JSON cannot.
        """
        if not isinstance(self.handle, str):
            raise NotImplementedError(
                f"Can only make a config for a HubLayer with a string as handle, got {type(self.handle).__name__}. "
                "Save the callable with tf.saved_model.save and pass its folder."
            )
        stored = {
            "variables": self.variables.specify(),
            "trained": self.variables.trained(layer),
            "calls": self.seen.describe(),
        }
        tags = {} if self.tags is None else {"tags": self.tags}
        return {"handle": self.handle, **self.request.describe(), **tags, "module": stored}

    def write(self, folder: str) -> None:
        """Write the module into a folder of a model file."""
        write_module(folder, self.module, self._digest)

    def read(self, folder: str) -> None:
        """Take the module from a folder of a model file, unless it is the one that is here."""
        known = None if self.stored else self._digest
        module = read_module(folder, self.variables, self._options, known=known, trust=self.trust)
        if module is not None:
            self._open(module)

    def _find(self) -> Module | None:
        """Load the module; of a stored one only what is on this machine and has its variables."""
        if self.stored is None:
            return load(self.handle, tags=self.tags, options=self._options, trust=self.trust)
        folder = local_folder(self.handle)
        if folder is None:
            return None
        module = load_folder(admitted(folder, trust=self.trust), tags=self.tags, options=self._options)
        return None if explain_difference(hold(module).specify(), self.stored.variables) else module

    def _open(self, module: Module) -> None:
        self._invocation = invocation(module, self.request)
        self.request = self._invocation.request
        _ = module.regularization_losses  # complains now of what would otherwise fail in the middle of training
        self._module = module
        self._blocks, self._calls = None, {}
        self._digest = fingerprint(module.folder) if module.folder else ""
        self._content = content_fingerprint(module.folder) if module.folder else ""
        self.stored = None

    def _partly(self, trained: frozenset[int], inputs: Any) -> Callable[[Any], Any] | None:
        """The call for training with these variables; None for the module's own, where no block is all frozen."""
        may_train = self.variables.trainable_ids
        ids = [{id(variable) for variable in block.variables} & may_train for block in self.blocks]
        if all(not each or each & trained for each in ids):
            return None
        like = self._told_apart(inputs)
        key = trained, like is None, self.seeds.are_set
        if key not in self._calls:
            try:
                self._calls[key] = partly_trained(
                    self.module, self.invocation, self.blocks, trained, like, seeds=self.seeds
                )
                self.cut_error = None
            except CutError as error:
                self._calls[key] = partial(self.invocation.function, training=False, **self.request.arguments)
                self.cut_error = str(error)
                warnings.warn(
                    f"The module cannot be cut between its frozen and its unfrozen blocks: {error} It runs in "
                    "inference mode while it trains (dropout off, batch norm statistics kept); gradients reach what is "
                    "unfrozen. Unfreeze everything to train it in training mode.",
                    stacklevel=2,
                )
        return self._calls[key]

    def _seeded(self, inputs: Any) -> Callable[[Any], Any] | None:
        """The call for training everything with random ops that draw from `seeds`; None where the module's own does."""
        if not self.invocation.takes_training or is_mirrored(self.module):
            return None
        specs = tf.nest.map_structure(tf.type_spec_from_value, inputs)
        key = str(specs)
        if key not in self._calls:
            train = partial(self.invocation.function, training=True, **self.request.arguments)
            try:
                self._calls[key] = seeded(train, specs, self.variables.raw, self.seeds)
            except CutError as error:
                logger.warning(
                    "Random ops of the module are seeded by the clock, and no run is like another: %s", error
                )
                self._calls[key] = None
        return self._calls[key]

    def _fetch(self) -> None:
        try:
            folder = admitted(resolve(self.handle), trust=self.trust)
            self._open(load_onto(self.variables, folder, tags=self.tags, options=self._options))
        except (ValueError, ConnectionError) as error:
            raise ValueError(
                f"The layer was made from a config, and its module is not here: {error} A .keras file brings the "
                "module with it; read that with keras.models.load_model."
            ) from error
