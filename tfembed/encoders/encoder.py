"""Encoder: raw texts or images in, embeddings out, with blocks that can be unfrozen and a cut between them."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import keras
import tensorflow as tf

from tfembed.allocator import keep_freed_memory
from tfembed.encoders.compute import choose_compute, has_bfloat16, sample_examples
from tfembed.encoders.forward import INPUTS, MASK, forward
from tfembed.encoders.freezing import NOTHING_TRAINS, restore_trained, trained_positions
from tfembed.encoders.frozen import FrozenGraphs
from tfembed.encoders.keras_settings import check_settings
from tfembed.encoders.module_parts import ModuleParts
from tfembed.encoders.parts import ModelParts, Parts
from tfembed.encoders.pooling import check_depths
from tfembed.encoders.preprocessing import (
    as_batch,
    count_tokens,
    ends_with_separator,
    limit_tokens,
    mask_name,
    trim_padding,
)
from tfembed.encoders.python_state import PythonState
from tfembed.encoders.spec import EncoderSpec
from tfembed.encoders.suffix import Suffix
from tfembed.encoders.tokenizing import TracedTokens, check_length
from tfembed.saved_model.blocks import Block
from tfembed.saved_model.graph import CutError
from tfembed.saved_model.layer import HubLayer

keep_freed_memory()  # here, since it must come before the first op


@keras.saving.register_keras_serializable(package="tfembed")
class Encoder(keras.layers.Layer):
    """A pretrained embedding as a Keras layer. `load_encoder` makes one; it is frozen at first.

    Frozen blocks run in inference mode whatever `training` says. Compile a model again after `unfreeze`. What is frozen
    stays frozen in saved models, clones and copies.

    Args:
        spec: What is known of it.
        body: A HubLayer, or a functional Keras model.
        preprocessing: A layer from raw examples to what the body takes; None if the body takes them as they are.
        dim: The length of an embedding; found out if None.
        sequence_length: Tokens kept of a text; all that the preprocessing keeps if None, until training chooses.
        trained_with: The strategy that the weights were trained with, as JSON; None if they are the pretrained ones.
        **layer_options: Options of `keras.layers.Layer`.

    Raises:
        ValueError: By `unfreeze` and `cut`, if there is no such block; when it is called, if the examples are not what
            it takes.

    Example:
        >>> import numpy as np
        >>> from tfembed import load_encoder
        >>> encoder = load_encoder("glyphs")
        >>> encoder(np.zeros([2, 8, 8], "uint8")).shape.as_list() == [2, encoder.dim]
        True
    """

    def __init__(
        self,
        spec: EncoderSpec | dict[str, Any],
        body: keras.layers.Layer,
        preprocessing: keras.layers.Layer | None = None,
        dim: int | None = None,
        sequence_length: int | None = None,
        trained_with: str | None = None,
        **layer_options: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", "name": "encoder"} | layer_options)
        self.supports_jit = False  # texts and encoded images cannot be compiled
        self._convert_input_args = False
        self.spec = EncoderSpec(**spec) if isinstance(spec, dict) else spec
        check_settings(self.spec.kind)
        self.body, self.preprocessing = body, preprocessing
        self._parts: Parts | None = None
        self._dim, self.trained_with = dim, trained_with
        self.sequence_length, self.chooses_length = sequence_length, sequence_length is None
        self._batch_norm = "train"
        # In objects that TensorFlow does not look into: an export would take the functions along.
        self._traces = SimpleNamespace(state=None, graphs=FrozenGraphs(), hashes={}, own_name=uuid.uuid4().hex)
        self._tokens = TracedTokens()
        self._compute: str | None = None
        self._training = SimpleNamespace(frozen=0, examples=())
        self.built = True

    def __dir__(self) -> list[str]:
        # Keras reads every attribute here in search of layers to save; these take long and hold none.
        return [
            name
            for name in super().__dir__()
            if name not in ("parts", "blocks", "dim", "flags", "num_frozen", "compute")
        ]

    @property
    def parts(self) -> Parts:
        """The body in parts."""
        if self._parts is None:
            with tf.init_scope(), tf.name_scope(""):  # also where a model that was just read is being traced
                self._parts = self._find_parts()
                self._traces.state = self._traces.state or PythonState(self.body)
        return self._parts

    def _find_parts(self) -> Parts:
        if not isinstance(self.body, HubLayer):
            return ModelParts(self.body, self.spec.output)
        is_text = self.spec.kind == "text" and self.preprocessing is not None
        return ModuleParts(self.body, self.spec.output, self.prepare(tf.constant(["a"])) if is_text else None)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks from input to output; each variable of the body is in exactly one."""
        return self.parts.blocks

    @property
    def dim(self) -> int:
        """The length of an embedding, found out on two made-up examples.

        Raises:
            ValueError: If it gives something else than one vector for each.
        """
        if self._dim is None:
            texts = self.spec.kind == "text"
            size = self.spec.image_size or (8, 8)
            embeddings = self(tf.constant(["a b", "c"]) if texts else tf.zeros([2, *size, 3], tf.uint8))
            if embeddings.shape[0] != 2:
                raise ValueError(
                    f"Encoder {self.spec.name!r} gives shape {tuple(embeddings.shape)} for two {self.spec.kind}s: "
                    "expected one vector for each."
                )
            self._dim = int(embeddings.shape[-1])
        return self._dim

    @property
    def num_frozen(self) -> int:
        """How many blocks are frozen from the input end on: where the encoder can be cut."""
        flags = self.flags
        return flags.index(True) if True in flags else len(flags)

    def unfreeze(self, selector: Any, *, batch_norm: str | None = None) -> None:
        """Choose what trains, and freeze the rest; compile the model again after it.

        Args:
            selector: A number of top blocks; names of blocks; "biases", "norms", or a regular expression to search for
                in variable names; True for everything, False or 0 for nothing.
            batch_norm: Statistics by which batch norm normalizes in the blocks that train: `"train"` for those of each
                batch, as anywhere in Keras, or `"inference"` for the stored ones, which then stay; scales and offsets
                train with either. A SavedModel with batch norm then runs in inference mode as a whole, its dropout
                off too. None for what was chosen last, at first `"train"`.

        Raises:
            ValueError: If the selector names what the encoder does not have, listing what it has; or `batch_norm` is
                neither.
        """
        if batch_norm not in (None, "train", "inference"):
            raise ValueError(f"batch_norm={batch_norm!r}: pass 'train', 'inference', or None to leave it as it is.")
        names_nothing = not selector and selector not in ("", None)  # which are refused
        variables = () if names_nothing else self.parts.select(selector)
        self._batch_norm = batch_norm or self._batch_norm
        self.trainable = not names_nothing
        if self.preprocessing is not None:
            self.preprocessing.trainable = False  # Keras sets the flag of every layer inside
        if names_nothing:
            for variable in self.variables:  # Keras skips layers that do not train already: batch norm of inference
                variable.trainable = False
        else:
            self.parts.set_trained(variables, self._batch_norm == "inference")

    @property
    def batch_norm(self) -> str:
        """Statistics by which batch norm normalizes in the blocks that train; see `unfreeze`."""
        return self._batch_norm

    def join(self, depths: tuple[int, ...]) -> int:
        """Join the pooled features of some depths to the embedding, in place of those joined so far.

        Each of the joined vectors, the embedding included, has length 1.

        Args:
            depths: Cuts after so many blocks; a repeated depth counts once. Empty for the embedding alone, as it is.

        Returns:
            The length of an embedding now.

        Raises:
            ValueError: If there is no such depth.
        """
        check_depths(depths, len(self.blocks))
        distinct = tuple(sorted(set(depths)))
        if distinct != self.spec.depths:
            self.spec, self._dim = replace(self.spec, depths=distinct), None
            self._traces.graphs = FrozenGraphs()
        return self.dim

    def note_training(self, num_frozen: int, *examples: Any) -> None:
        """Note on which examples, and with how many blocks frozen, the encoder is trained.

        Their embeddings are then made of the features at that cut, which are there already.
        """
        self._training.frozen, self._training.examples = num_frozen, examples

    def frozen_while_trained_on(self, examples: Any) -> int:
        """How many blocks were frozen when it was last trained on these very examples; 0 for others."""
        return self._training.frozen if any(examples is each for each in self._training.examples) else 0

    def prepare(self, examples: Any) -> dict[str, Any]:
        """What the body takes, made of a batch of raw examples: tokens without needless padding, or pixels."""
        return self._limited(self._preprocessed(examples))

    def _limited(self, prepared: dict[str, Any]) -> dict[str, Any]:
        if self.sequence_length is None or mask_name(prepared) is None:
            return prepared
        return limit_tokens(prepared, self.sequence_length, self._keeps_separator())

    def _keeps_separator(self) -> bool:
        """Tell whether a truncated text keeps its last token, a separator, or its first tokens alone."""
        if self._tokens.has_separator is None:
            with tf.init_scope(), tf.name_scope(""):  # also where a model is being traced
                self._tokens.has_separator = ends_with_separator(self._preprocessed(tf.constant(["", "a"])))
        return self._tokens.has_separator

    def _preprocessed(self, examples: Any) -> dict[str, Any]:
        prepared = examples if self.preprocessing is None else self.preprocessing(examples)
        return trim_padding(prepared) if isinstance(prepared, dict) else {INPUTS: prepared}

    def tokenize(self, texts: Any) -> tuple[dict[str, Any], Any]:
        """Prepare texts in one graph, many times as fast as layer by layer.

        Args:
            texts: Strings `(n,)`.

        Returns:
            What `prepare` gives, and how many tokens each text had before it was cut off, int64 `(n,)`; None where
            there is no padding mask.
        """
        prepared = self._tokens(texts, self._preprocessed, self.preprocessing)
        return self._limited(prepared), count_tokens(prepared)

    def renew_vocabularies(self) -> None:
        """Make vocabularies anew that TensorFlow drops whenever a seed is set; without them, texts have no tokens."""
        self._tokens.renew(self.preprocessing)

    def limit_length(self, sequence_length: int) -> None:
        """Keep so many tokens of a text, whatever it is trained on; compile the model again after it.

        Raises:
            ValueError: If the encoder takes no tokens, or its preprocessing keeps fewer.
        """
        check_length(self.preprocessing if self.spec.kind == "text" else None, sequence_length, self.spec.name)
        self.sequence_length, self.chooses_length = sequence_length, False

    def run(self, features: dict[str, Any], start: int, stop: int, training: bool = False) -> Any:
        """Run the blocks between two cuts.

        Args:
            features: What crosses the first cut: what `prepare` gives for 0, else what `run` gave.
            start: The first cut.
            stop: The second one.
            training: Whether blocks that train run in training mode.

        Returns:
            What crosses the second cut, as a dictionary of tensors; embeddings `(n, dim)` for the last one.

        Raises:
            CutError: If the body cannot be cut there.
        """
        return forward(self, features, start, stop, training)

    def cut(self, num_frozen: int) -> tuple[Callable[[Any], dict[str, Any]], Suffix]:
        """Cut the encoder at its freeze boundary.

        Args:
            num_frozen: Number of frozen blocks from the input end.

        Returns:
            A function from raw examples to what crosses the cut, one row per example, and a layer from there to the
            embedding: `suffix(prefix(x))` equals `encoder(x)`.

        Raises:
            CutError: If the encoder cannot be cut there.
            ValueError: If there is no such cut.
        """
        if not 0 <= num_frozen <= len(self.blocks):
            raise ValueError(f"There is no cut {num_frozen}: the encoder has {len(self.blocks)} blocks.")
        if num_frozen < len(self.blocks):
            self.parts.segment(num_frozen, len(self.blocks), False)

        def prefix(examples: Any) -> dict[str, Any]:
            return self.frozen_part(self.prepare(as_batch(examples)), num_frozen)

        return prefix, Suffix(self, num_frozen)

    def frozen_part(self, prepared: dict[str, Any], num_frozen: int) -> dict[str, Any]:
        """What crosses a cut, made of prepared examples; behind the last block, the embedding."""
        if num_frozen == 0:
            return prepared
        value = self.run(prepared, 0, num_frozen)
        return value if isinstance(value, dict) else {INPUTS: value}

    @property
    def compute(self) -> str:
        """The type that the frozen part computes in for all examples: `"float32"` or `"bfloat16"`.

        In bfloat16 features, and the predictions that `evaluate` makes of them, deviate from those of `call` and of the
        exported model, which stay in float32: embeddings by a cosine of 0.999 at the least where `"auto"` chose it, so
        that a score near a boundary may come out on its other side.
        """
        if self._compute is None:
            asked = self.spec.compute
            self._compute = asked if asked != "auto" else self._chosen_compute()
        return self._compute

    def _chosen_compute(self) -> str:
        def embed(prepared: dict[str, Any], compute: str) -> Any:
            call = self._traced_in(len(self.blocks), mask_name(prepared) is not None, compute)
            return call(prepared)[INPUTS].numpy()

        prepared = self.prepare(sample_examples(self.spec.kind, self.spec.image_size))
        return choose_compute(embed, prepared, in_hardware=has_bfloat16())

    def traced(self, num_frozen: int, padded: bool) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """`frozen_part` as one graph for batches of every size and, where there is padding, of every length.

        It computes in `compute`, with the weights as they are when it is asked for and first called: ask for it anew
        where weights may have changed.
        """
        return self._traced_in(num_frozen, padded, self.compute)

    def _traced_in(self, num_frozen: int, padded: bool, compute: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        self._drop_stale_traces()
        return self._traces.graphs.caller(
            lambda given: self.frozen_part(given, num_frozen),
            [variable for block in self.blocks[:num_frozen] for variable in block.variables],
            key=(num_frozen, padded, str(self.spec), compute),  # the spec says how embeddings are pooled
            padded=padded,
        )

    def _drop_stale_traces(self) -> None:
        """Forget traced graphs where a setting, a vocabulary or the code of a layer was changed in place."""
        state, traces = PythonState(self.body), self._traces
        if state == traces.state:
            return
        if traces.state is not None and self._parts is not None and not self._parts.has_copies:
            self._parts = None  # which took layers apart as they were
        traces.state, traces.graphs, traces.hashes, traces.own_name = state, FrozenGraphs(), {}, uuid.uuid4().hex

    def preparation_fingerprint(self, forms: Sequence[tf.TensorSpec]) -> Any:
        """Name what is made of raw examples before the body, as JSON values.

        Args:
            forms: Forms of raw examples.
        """
        return self._tokens.fingerprint(forms, self._preprocessed, self.preprocessing)

    def body_fingerprint(self, cut: int) -> str:
        """Name what the body computes in front of a cut, whatever its weights: the same in every process.

        A body that does not say, as one that calls Python code, has a name that no other has, until it is changed.

        Args:
            cut: Number of blocks; the whole body for the last one.

        Raises:
            CutError: If the body cannot be cut there.
        """
        self._drop_stale_traces()
        hashes = self._traces.hashes
        if cut not in hashes:
            with tf.init_scope(), tf.name_scope(""):
                hashes[cut] = self.parts.graph_hash(cut)
            self._traces.state = PythonState(self.body)  # layers note things as they are first called
        is_known = hashes[cut] is not None and hashes[cut].is_whole
        return hashes[cut].digest() if is_known else self._traces.own_name

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Embed a batch: texts as a list or array; images as uint8 arrays or encoded bytes."""
        return super().__call__(as_batch(inputs), *args, **kwargs)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Embed a batch of raw examples, float32 `(n, dim)`."""
        return self.run(self.prepare(inputs), 0, len(self.blocks), bool(training))

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """A batch of embeddings."""
        return keras.KerasTensor((inputs.shape[0], self.dim), dtype="float32")

    @property
    def flags(self) -> list[bool]:
        """For each block, whether it trains."""
        return [self.trainable and any(variable.trainable for variable in block.variables) for block in self.blocks]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, body and preprocessing as configs of their own."""
        serialize = keras.saving.serialize_keras_object
        return super().get_config() | {
            "spec": asdict(self.spec),
            "body": serialize(self.body),
            "dim": self.dim,
            "sequence_length": self.sequence_length,
            "trained_with": self.trained_with,
            "batch_norm": self._batch_norm,
            "trained": trained_positions(self),
            "preprocessing": None if self.preprocessing is None else serialize(self.preprocessing),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Encoder":
        """Make the encoder of a config."""
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        batch_norm = config.pop("batch_norm", "train")
        trained = config.pop("trained", NOTHING_TRAINS)  # which a file of an earlier version does not say
        config["body"] = deserialize(config["body"])
        config["preprocessing"] = config["preprocessing"] and deserialize(config["preprocessing"])
        encoder = cls(**config)
        encoder._batch_norm = batch_norm
        restore_trained(encoder, trained)
        return encoder


__all__ = ["INPUTS", "MASK", "CutError", "Encoder", "Suffix", "as_batch"]
