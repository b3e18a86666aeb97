"""Words to word pieces in the graph, as the tokenizers library splits them for BERT."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

_VOCABULARY = "vocabulary.txt"
_SPACE = r"[\t\n\v\f\r\x{85}\p{Z}]"
_PUNCTUATION = r"[!-/:-@\[-`{-~\p{P}]"
_IDEOGRAPH = (
    r"[\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}"
    r"\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}]"
)
_BYTES_PER_LETTER = 4  # of UTF-8, at the most


@keras.saving.register_keras_serializable(package="tfembed")
class WordPieces(keras.layers.Layer):
    """Texts to ids of word pieces: split at spaces, punctuation and ideographs, then into the longest pieces.

    KerasHub's own layer takes words of more than 100 bytes for unknown, such as a Thai sentence; here it is letters.

    Args:
        unknown: The piece that stands for words that cannot be split into pieces.
        splits_ideographs: Whether each Chinese character is a word.
        max_letters: Letters of the longest word that is split.
        **layer_options: Options of `keras.layers.Layer`.

    Example:
        >>> layer = WordPieces("[UNK]")
        >>> layer.set_vocabulary(["[UNK]", "play", "##ing", "!"])
        >>> layer(tf.constant(["playing chess!"]))
        <tf.RaggedTensor [[1, 2, 0, 3]]>
        >>> layer.get_vocabulary()[2]
        '##ing'
    """

    def __init__(
        self, unknown: str, splits_ideographs: bool = True, max_letters: int = 100, **layer_options: Any
    ) -> None:
        super().__init__(**{"dtype": "int32", "trainable": False} | layer_options)
        self._convert_input_args = False
        self.unknown, self.splits_ideographs, self.max_letters = unknown, splits_ideographs, max_letters
        self.vocabulary: list[str] = []
        self._split: Any = None
        self.built = True

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Take pieces, each at the place of its id; those inside a word begin with `##`."""
        import tensorflow_text as tf_text

        self.vocabulary = list(vocabulary)
        self._split = tf_text.FastWordpieceTokenizer(
            self.vocabulary,
            max_bytes_per_word=_BYTES_PER_LETTER * self.max_letters,
            token_out_type=tf.int32,
            unknown_token=self.unknown,
            no_pretokenization=True,
        )

    def get_vocabulary(self) -> list[str]:
        """Return the pieces by id, as tokenizers of KerasHub and `keras.layers.TextVectorization` do."""
        return list(self.vocabulary)

    def call(self, texts: Any) -> tf.RaggedTensor:
        """Split texts, strings `(n,)`, into ids, int32 `(n, None)`."""
        import tensorflow_text as tf_text

        alone = f"{_PUNCTUATION}|{_IDEOGRAPH}" if self.splits_ideographs else _PUNCTUATION
        words = tf_text.regex_split(texts, f"{_SPACE}+|{alone}", alone)
        is_long = tf.strings.length(words.flat_values, "UTF8_CHAR") > self.max_letters
        words = words.with_flat_values(tf.where(is_long, self.unknown, words.flat_values))
        return self._split.tokenize(words).merge_dims(-2, -1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the vocabulary is saved beside it."""
        names = ("unknown", "splits_ideographs", "max_letters")
        return super().get_config() | {name: getattr(self, name) for name in names}

    def save_assets(self, dir_path: str) -> None:
        """Write the vocabulary into a `.keras` file."""
        Path(dir_path, _VOCABULARY).write_bytes("\n".join(self.vocabulary).encode())

    def load_assets(self, dir_path: str) -> None:
        """Take the vocabulary from a `.keras` file."""
        self.set_vocabulary(Path(dir_path, _VOCABULARY).read_bytes().decode().split("\n"))
