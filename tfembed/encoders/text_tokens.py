"""Texts to tokens in the graph: written as the tokenizer knows them, then split and packed by KerasHub."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf

from tfembed.encoders.preprocessing import MASK_NAMES

_SPACES = r"[\t\n\r\p{Z}]"
_INVISIBLE = r"[\p{C}\x{FFFD}]"
_APART = r"[\t\n\v\f\r\x{85}\p{Z}]+"  # what Unicode calls white space
_OUTPUTS = ("token_ids", MASK_NAMES[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """How a text is written before it is split.

    Attributes:
        clean: Whether spaces of all kinds become plain ones, and what cannot be seen is left out.
        quotes: Whether pairs of backticks or apostrophes become quotation marks.
        accents: Unicode form in which accents stand apart and are left out: `"NFD"` or `"NFKD"`; None to keep them.
        lowercase: Whether capital letters become small ones.
        prefix: Stands in front of every text.
        apart: Whether letters and accents are composed, and each digit stands by itself, as the tokenizer of CLIP has
            it; in the graph, KerasHub's takes several digits for a word.
        marks: Whether all marks are left out with the accents, and not those alone that take no room.
        plain_spaces: Characters that become plain spaces.
        strips: Ends where white space is left out: `"right"`, `"both"`, or none of them, `""`.
        single_spaces: Whether several plain spaces become one.
        leading_space: Whether texts begin with a space; an empty one does not.
    """

    clean: bool = False
    quotes: bool = False
    accents: str | None = None
    lowercase: bool = False
    prefix: str = ""
    apart: bool = False
    marks: bool = False
    plain_spaces: str = ""
    strips: str = ""
    single_spaces: bool = False
    leading_space: bool = False

    def apply(self, texts: Any) -> Any:
        """Write texts so, strings `(n,)`.

        Example:
            >>> writing = Writing(clean=True, accents="NFD", lowercase=True)
            >>> writing.apply(tf.constant(["Ça\\u00a0va"]))[0].numpy()
            b'ca va'
        """
        texts = tf.strings.regex_replace(texts, r"\x00", "\x01")  # TensorFlow Text takes it for the end of a text
        if self.prefix:
            texts = tf.strings.join([self.prefix, texts])
        if self.clean:
            texts = tf.strings.regex_replace(tf.strings.regex_replace(texts, _SPACES, " "), _INVISIBLE, "")
        if self.quotes:
            texts = tf.strings.regex_replace(texts, "``|''", '"')
        if self.apart:
            import tensorflow_text as tf_text  # registers its ops too

            texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFC"), _APART, " ")
            texts = tf.strings.regex_replace(texts, r"(\p{N})", r" \1 ")
        if self.accents:
            import tensorflow_text as tf_text  # registers its ops too

            marks = r"\p{M}" if self.marks else r"\p{Mn}"
            texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, self.accents), marks, "")
        if self.lowercase:  # a sigma at the end of a word as anywhere else
            texts = tf.strings.lower(tf.strings.regex_replace(texts, "\u03a3", "\u03c3"), encoding="utf-8")
        return self._spaced(texts)

    def _spaced(self, texts: Any) -> Any:
        if self.plain_spaces:
            texts = tf.strings.regex_replace(texts, f"[{self.plain_spaces}]", " ")
        if self.strips:
            texts = tf.strings.regex_replace(texts, f"{_APART}$" + f"|^{_APART}" * (self.strips == "both"), "")
        if self.single_spaces:
            texts = tf.strings.regex_replace(texts, " {2,}", " ")
        if self.leading_space:
            texts = tf.strings.regex_replace(texts, "^([^ ])", r" \1")
        return texts


@keras.saving.register_keras_serializable(package="tfembed")
class TextTokens(keras.layers.Layer):
    """Texts to the tokens that an encoder takes.

    Args:
        preprocessor: A preprocessor of KerasHub for texts.
        writing: How texts are written before.
        outputs: What is taken of what the preprocessor gives.
        beside_images: Whether the preprocessor prepares images too, and is told that there are none.
        **layer_options: Options of `keras.layers.Layer`.
    """

    def __init__(
        self,
        preprocessor: keras.layers.Layer,
        writing: Writing | dict[str, Any],
        outputs: Sequence[str] = _OUTPUTS,
        beside_images: bool = False,
        **layer_options: Any,
    ) -> None:
        super().__init__(**{"dtype": "int32", "trainable": False} | layer_options)
        self._convert_input_args = False
        self.tokenizer = preprocessor.tokenizer  # comes before what the preprocessor makes when it is first called
        self.preprocessor = preprocessor
        self.writing = Writing(**writing) if isinstance(writing, dict) else writing
        self._outputs, self._beside_images = tuple(outputs), beside_images
        self.built = True

    def call(self, texts: Any) -> dict[str, Any]:
        """Split texts, strings `(n,)`.

        Returns:
            `token_ids` and `padding_mask`, or other outputs, `(n, sequence_length)`.
        """
        written = self.writing.apply(texts)
        tokens = self.preprocessor({"prompts": written, "images": None} if self._beside_images else written)
        return {name: tokens[name] for name in self._outputs}

    def compute_output_spec(self, texts: Any) -> dict[str, Any]:
        """Tensors of the same shape."""
        shape = (texts.shape[0], self.preprocessor.sequence_length)
        types = {name: "bool" if name == MASK_NAMES[0] else "int32" for name in self._outputs}
        return {name: keras.KerasTensor(shape, dtype=dtype) for name, dtype in types.items()}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, the preprocessor as a config of its own."""
        preprocessor = keras.saving.serialize_keras_object(self.preprocessor)
        own = {"preprocessor": preprocessor, "writing": asdict(self.writing), "outputs": list(self._outputs)}
        return super().get_config() | own | {"beside_images": self._beside_images}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TextTokens":
        """Make the layer of a config."""
        return cls(**config | {"preprocessor": keras.saving.deserialize_keras_object(config["preprocessor"])})
