"""HubLayer: any SavedModel as a Keras 3 layer, the successor of hub.KerasLayer."""

import logging
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf
from keras.src.saving import serialization_lib  # no public way to ask for the safe mode

from tfembed.saved_model.archive import StoredModule, read_values, write_values
from tfembed.saved_model.blocks import Block
from tfembed.saved_model.cut import ModuleGraph
from tfembed.saved_model.graph import tf_variable
from tfembed.saved_model.invocation import Request
from tfembed.saved_model.output_shapes import parse_output_shape
from tfembed.saved_model.partial import Positions, Selector, parse_selector, selector_config
from tfembed.saved_model.source import ModuleSource
from tfembed.saved_model.tensor_specs import as_tensors

logger = logging.getLogger(__name__)


# Keras reads every attribute in search of layers to save; these take long and hold none.
_WITHOUT_LAYERS = frozenset(
    (
        *("blocks", "keras_blocks", "resolved_object", "fingerprint"),
        *("untracked_variables", "updates_statistics", "runs_fixed"),
    )
)


@keras.saving.register_keras_serializable(package="tfembed")
class HubLayer(keras.layers.Layer):
    """A SavedModel, or any callable, as a Keras layer: `hub.KerasLayer` for Keras 3, under the same arguments.

    The module is called with one tensor or a nest of tensors (for a signature, a dict is its keyword arguments), and
    with `training` as a Python bool where it has such an argument: True if the layer trains *and* is called for
    training. So a frozen layer runs in inference mode, whatever `training` says: its batch norm statistics stay and
    its dropout is off. Lists and NumPy arrays of strings are taken as string tensors.

    Of a callable, the attributes `variables`, `trainable_variables` and `regularization_losses` (callables without
    arguments) are used where it has them. The losses count while the layer trains, once, however often it is called.

    `.keras` files hold the module, its values and what is frozen, and load without the handle. The values of string
    variables are saved too, though Keras does not list them among the weights.

    Args:
        handle: A folder with a SavedModel, a `.tar.gz` of one, a web address of tfhub.dev or Kaggle, or a callable.
        trainable: Whether all that may train does. Raises at call with a signature and with TF1 Hub modules; variables
            of a signature train in its graph for inference where `unfreeze` names them or their blocks.
        arguments: More keyword arguments for the module; JSON values where the layer is to be saved.
        tags: Which graph of a SavedModel with several.
        signature: Name of the signature to call in place of the module itself; "default" for TF1 Hub modules.
        signature_outputs_as_dict: Whether to return all outputs of the signature, as a dict.
        output_key: The one output to return, of those in a dict; "default" for TF1 Hub modules.
        output_shape: Shapes without batch size to set on the outputs, in a nest like theirs.
        load_options: Options for loading the SavedModel; not kept in the config.
        trust: Whether the module may hold ops that write files or run Python; not kept in the config, so that a model
            file cannot say so of itself: such a one is read with `keras.models.load_model(path, safe_mode=False)`.
        **layer_options: Options of `keras.layers.Layer`, and the `input_shape` of Keras 2. The dtype is float32 unless
            given; a text module that is the first layer of a `Sequential` without an Input needs `dtype="string"`.

    Raises:
        ValueError: If the handle is neither a module nor a callable, or the other arguments do not fit it; at call, if
            the layer trains and calls a signature, or the outputs are not as asked for.

    Example:
        >>> HubLayer(tf.math.square)([[2.0, 3.0]]).numpy().tolist()
        [[4.0, 9.0]]
    """

    def __init__(
        self,
        handle: Any,
        trainable: bool = False,
        arguments: dict[str, Any] | None = None,
        tags: list[str] | None = None,
        signature: str | None = None,
        signature_outputs_as_dict: bool | None = None,
        output_key: str | None = None,
        output_shape: Any = None,
        load_options: tf.saved_model.LoadOptions | None = None,
        trust: bool = False,
        **layer_options: Any,
    ) -> None:
        # Under a mixed precision policy Keras would cast the module's inputs, whose types were fixed when it was saved.
        layer_options.setdefault("dtype", "float32")
        input_shape = layer_options.pop("input_shape", None)
        super().__init__(trainable=trainable, **layer_options)
        self.supports_jit = False
        if input_shape is not None:
            # Sequential makes its Input of this attribute and the layer's dtype; of Layer's own, a float32 one.
            self.input_shape = (None, *input_shape)
        request = Request(
            arguments=dict(arguments or {}),
            signature=signature,
            outputs_as_dict=bool(signature_outputs_as_dict),
            output_key=output_key,
            output_shape=parse_output_shape(output_shape),
        )
        self._source = ModuleSource(handle, request=request, tags=tags, options=load_options, trust=trust)
        self._selector: Selector = True
        self._said_nothing_trains = False
        self.fixed_statistics = False
        self._module_weights = self._source.variables.to_track()
        self._set_flags()
        self._track_module()

    def _track_module(self) -> None:
        """Let TensorFlow know of the loaded object: exports need its variables, lookup tables and assets."""
        if self._source.stored is None and getattr(self, "_loaded", None) is not self._source.module.loaded:
            self._loaded = self._source.module.loaded
            self._set_flags()

    @property
    def resolved_object(self) -> Any:
        """The callable, or the object that `tf.saved_model.load` returned."""
        loaded = self._source.module.loaded
        self._track_module()
        return loaded

    @property
    def may_train(self) -> bool:
        """Whether the module has variables that may train at all."""
        return bool(self._source.variables.trainable_ids)

    @property
    def untracked_variables(self) -> list[tf.Variable]:
        """Variables that the module uses and Keras does not track; an export needs them too."""
        return self._source.untracked_variables

    @property
    def trainable(self) -> bool:
        """Whether the layer trains; compile the model again after setting it.

        True for a layer that trains already means everything, as anywhere in Keras. False and then True again brings
        back what `unfreeze` selected.
        """
        return keras.layers.Layer.trainable.fget(self)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        self._set_flags()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "trainable" and value and self.trainable and self._selector is not True:
            self._selector = True
            self._set_flags()
        super().__setattr__(name, value)  # which skips the setter where the value is what it was

    def _set_flags(self) -> None:
        self._trained = self._source.select(self._selector) if self.trainable else frozenset()
        self._source.variables.set_trained(self, self._trained)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The module's variables in blocks from input to output; one block where the module hides them."""
        return self._source.blocks

    @property
    def fingerprint(self) -> str | None:
        """A name for what the module computes, equal in every process; None for a callable."""
        return self._source.fingerprint

    @property
    def cut_error(self) -> str | None:
        """Why a partly unfrozen layer runs in inference mode while it trains; None where it need not."""
        return self._source.cut_error

    @property
    def updates_statistics(self) -> bool:
        """Whether the module has batch norm: its function for training uses, or stores, statistics of the batch."""
        return self._source.updates_statistics

    @property
    def runs_fixed(self) -> bool:
        """Whether training runs the module in inference mode, since its statistics of batch norm are fixed."""
        return self.fixed_statistics and self.updates_statistics

    @property
    def keras_blocks(self) -> tuple[Block, ...]:
        """The same blocks with what Keras tracks: its variables over the module's, whose flags say what trains."""
        known = self._source.variables.by_id
        return tuple(
            Block(block.name, tuple(known[id(each)] for each in block.variables if id(each) in known))
            for block in self.blocks
        )

    @property
    def input_specs(self) -> Any:
        """What the module takes, as a nest of tf.TensorSpec; the first traced function's where there are several."""
        return self._source.input_specs()

    def graph(self, output: str | None = None, inputs: Any = None) -> ModuleGraph:
        """The module's graph, to be used in parts.

        Args:
            output: The one output that is wanted, of those in a dict.
            inputs: Tensors to choose by, where the module takes texts as well as their tokens.

        Raises:
            CutError: If the graph cannot be read.
        """
        return self._source.graph(output, inputs)

    def unfreeze(self, selector: Selector) -> None:
        """Choose what trains, and freeze the rest; compile the model again after it.

        In training the blocks with an unfrozen variable run in training mode, all others in inference mode. A module
        that cannot be cut between them runs in inference mode as a whole; a warning and `cut_error` say so.

        Args:
            selector: A number of blocks counted from the output; names of blocks; a regular expression to search for
                in variable names; "biases" or "norms"; True for everything, False or 0 for nothing.

        Raises:
            ValueError: If the selector names what the module does not have; the message lists what it has.

        Example:
            >>> layer = HubLayer(tf.math.square)
            >>> layer.unfreeze(False)
            >>> layer.trainable
            False
        """
        self._select(selector)

    @property
    def selector(self) -> Selector:
        """What `unfreeze` selected last, by position; True for everything."""
        return self._selector

    def unfreeze_variables(self, variables: Iterable[Any]) -> None:
        """Train these variables of the layer, and freeze the rest; compile the model again after it.

        They are told apart as objects: a module's variables may all have one name.

        Args:
            variables: Some of the variables in `blocks` or `weights`; none to freeze everything.

        Raises:
            ValueError: If none of them may train, or one is no variable of the layer.
        """
        selected = {id(tf_variable(variable)) for variable in variables}
        indices = [i for i, variable in enumerate(self._source.variables.raw) if id(tf_variable(variable)) in selected]
        if len(indices) < len(selected) and self._source.variables.trainable_ids:
            raise ValueError(
                f"{len(selected) - len(indices)} of the variables are not of layer {self.name!r}: pass variables that "
                "its blocks list."
            )
        self._select(Positions(tuple(indices)) if indices else False)

    def set_seed(self, *seed: int) -> None:
        """Have the module's random ops, such as its dropout, draw from a seed in training.

        Args:
            *seed: Whole numbers from 0 on; without any, the module draws as it was saved to, mostly by the clock.
        """
        self._source.seeds.reset(*seed)

    def _select(self, selector: Selector) -> None:
        """Apply a selector that fits; one that does not changes nothing."""
        _ = self.resolved_object  # its blocks are not known before it is here
        selected = self._source.select(selector)
        if selector and selector is not True:  # by position, since another copy of the module may have other names
            raw = self._source.variables.raw
            selector = Positions(tuple(i for i, variable in enumerate(raw) if id(variable) in selected))
        self._selector = selector or True
        keras.layers.Layer.trainable.fset(self, bool(selector))
        self._set_flags()

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in _WITHOUT_LAYERS]

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the layer on a tensor, a nest of tensors, or Python and NumPy values, strings among them."""
        self._check_trainable()
        return super().__call__(as_tensors(inputs), *args, **kwargs)

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Call the module; see the class."""
        if training is None or training is False or not self.trainable or self.runs_fixed:
            training = False
        outputs = self._source.call(inputs, training, None if self._selector is True else self._trained)
        self._track_module()
        return outputs

    def compute_output_spec(self, inputs: Any, training: Any = None) -> Any:
        """Find shapes and types of the outputs, as a nest of symbolic tensors."""
        return self._source.specify(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Find the shapes of the outputs from a nest of shapes, both with batch size.

        Returns:
            A tf.TensorShape (equal to the tuple of its sizes), or a nest of them.
        """
        return self._source.output_shapes(input_shape, self.compute_dtype)

    def _check_trainable(self) -> None:
        if self.trainable and self._source.request.signature is not None and self._selector is True:
            raise ValueError(
                f"HubLayer {self.name!r}: trainable=True is unsupported when calling a signature or a TF1 Hub module, "
                "which tell neither updates nor losses. Set trainable=False, load a TF2 SavedModel with a callable, or "
                "name what trains: layer.unfreeze(1)."
            )
        if self.trainable and not self.trainable_weights and not self._said_nothing_trains:
            self._said_nothing_trains = True
            logger.error("HubLayer %r is trainable but has zero trainable weights.", self.name)

    def _get_own_losses(self) -> list[Any]:
        # Keras collects losses from here, each layer once. `add_loss` inside `call` would count once per call, and a
        # regularizer belongs to one variable, where these are losses of the module.
        losses = self._source.module.regularization_losses if self._source.stored is None else []
        return super()._get_own_losses() + [loss() if self.trainable else tf.zeros(()) for loss in losses]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as JSON values, and what is needed to read the layer without its module.

        Raises:
            NotImplementedError: If the handle is a callable.
            ValueError: If `arguments` holds what JSON cannot.
        """
        config = super().get_config() | self._source.describe(self)
        if hasattr(self, "input_shape"):
            config["input_shape"] = list(self.input_shape[1:])
        if self._selector is not True:
            config["unfrozen"] = selector_config(self._selector)
        if self.fixed_statistics:
            config["fixed_statistics"] = True
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "HubLayer":
        """Make the layer of a config; a module that is not on this machine is fetched when it is first needed."""
        config = dict(config)
        described, selector = config.pop("module", None), config.pop("unfrozen", True)
        fixed_statistics = config.pop("fixed_statistics", False)
        if described is not None:
            config["handle"] = StoredModule(handle=config["handle"], **described)
        layer = cls(**config, trust=serialization_lib.in_safe_mode() is False)
        layer._selector = parse_selector(selector)
        layer.fixed_statistics = fixed_statistics
        layer._set_flags()
        return layer

    def save_own_variables(self, store: Any) -> None:
        """Write the values of the module's variables."""
        write_values(store, self._source.variables.raw)

    def load_own_variables(self, store: Any) -> None:
        """Read the values of the module's variables."""
        read_values(store, self._source.variables.raw, self.name)

    def save_assets(self, dir_path: str) -> None:
        """Write the module into a `.keras` file."""
        self._source.write(dir_path)

    def load_assets(self, dir_path: str) -> None:
        """Take the module from a `.keras` file."""
        self._source.read(dir_path)
        self._track_module()
