"""Texts to tokens in the graph, as the tokenizers library makes them: added tokens, normalizer, model, frame."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from tfembed.encoders.added_tokens import AddedToken, Frame, insert_added
from tfembed.encoders.preprocessing import MASK_NAMES
from tfembed.encoders.text_tokens import Writing
from tfembed.encoders.tokenizing import TracedTokens

_IDS, _MASK = OUTPUTS = ("token_ids", MASK_NAMES[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerRules:
    """The steps of a tokenizer around the model that splits words.

    Attributes:
        before: How texts are written first of all.
        added: Tokens that are found before texts are split.
        normalizer: How texts between these are written.
        frame: Tokens around each text.
        max_length: Tokens of a row.
    """

    before: Writing
    added: tuple[AddedToken, ...]
    normalizer: Writing
    frame: Frame
    max_length: int

    @classmethod
    def of(cls, values: dict[str, Any]) -> "TokenizerRules":
        """Make the rules of what `dataclasses.asdict` gave, with lists in place of tuples or not."""
        frame = values["frame"]
        return cls(
            before=Writing(**values["before"]),
            added=tuple(AddedToken(**token) for token in values["added"]),
            normalizer=Writing(**values["normalizer"]),
            frame=Frame(start=tuple(frame["start"]), end=tuple(frame["end"]), pad=frame["pad"]),
            max_length=values["max_length"],
        )


@keras.saving.register_keras_serializable(package="tfembed")
class TextTokenizer(keras.layers.Layer):
    """Texts to the tokens that an encoder takes.

    Args:
        tokenizer: A layer from strings `(n,)` to ids `(n, None)`, without special tokens.
        rules: The steps around it.
        outputs: Names of the outputs: of ids, of the mask that is True where they are no padding, and of zeros.
        **layer_options: Options of `keras.layers.Layer`.
    """

    def __init__(
        self,
        tokenizer: keras.layers.Layer,
        rules: TokenizerRules | dict[str, Any],
        outputs: Sequence[str] = OUTPUTS,
        **layer_options: Any,
    ) -> None:
        super().__init__(**{"dtype": "int32", "trainable": False} | layer_options)
        self._convert_input_args = False
        self.tokenizer = tokenizer
        self.rules = TokenizerRules.of(rules) if isinstance(rules, dict) else rules
        self._outputs = tuple(outputs)
        self._traced = TracedTokens()
        self.built = True

    def call(self, texts: Any) -> dict[str, Any]:
        """Split texts, strings `(n,)`.

        Returns:
            `token_ids` and `padding_mask`, or other outputs, `(n, max_length)`.
        """
        if tf.executing_eagerly():  # where layers of KerasHub would run code of their own for Python
            return self._traced(texts, self._packed, self)
        return self._packed(texts)

    def _packed(self, texts: Any) -> dict[str, Any]:
        rules = self.rules
        raw = [token for token in rules.added if not token.normalized]
        normalized = [token for token in rules.added if token.normalized]
        normalizer = replace(rules.normalizer, leading_space=False)
        ids = insert_added(
            rules.before.apply(texts),
            raw,
            lambda between: insert_added(normalizer.apply(between), normalized, self._split),
        )
        packed, mask = rules.frame.pack(ids, rules.max_length)
        values = {_IDS: packed, _MASK: mask}
        return {name: values[name] if name in values else tf.zeros_like(packed) for name in self._outputs}

    def _split(self, pieces: Any) -> tf.RaggedTensor:
        """Split what is between added tokens; where texts begin with a space, each piece does."""
        leading_space = self.rules.normalizer.leading_space
        return self.tokenizer(Writing(leading_space=True).apply(pieces) if leading_space else pieces)

    def compute_output_spec(self, texts: Any) -> dict[str, Any]:
        """Tensors of the same shape."""
        shape = (texts.shape[0], self.rules.max_length)
        types = {name: "bool" if name == _MASK else "int32" for name in self._outputs}
        return {name: keras.KerasTensor(shape, dtype=dtype) for name, dtype in types.items()}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the tokenizer as a config of its own."""
        tokenizer = keras.saving.serialize_keras_object(self.tokenizer)
        own = {"tokenizer": tokenizer, "rules": asdict(self.rules), "outputs": list(self._outputs)}
        return super().get_config() | own

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TextTokenizer":
        """Make the layer of a config."""
        return cls(**config | {"tokenizer": keras.saving.deserialize_keras_object(config["tokenizer"])})
