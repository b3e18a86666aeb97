"""Words to byte pairs in the graph, as the tokenizers library splits and joins them for RoBERTa."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_VOCABULARY = "vocabulary.json"
_SPACE = r"\t\n\v\f\r\x{85}\p{Z}"
_MARK = "\U0010fffe"  # no character; stands in front of the last of several spaces, where a word follows
_WORD = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?[^{_SPACE}\p{{L}}\p{{N}}{_MARK}]+|[{_SPACE}]+"
_NO_PAIR = np.iinfo(np.int64).max
_ID_BITS = 2**32  # a pair's value has its rank above these bits, and the id of what it becomes in them
_NO_ID = -1


@keras.saving.register_keras_serializable(package="tfembed")
class BytePairs(keras.layers.Layer):
    """Texts to ids of byte pairs: split as GPT-2 does, then joined pair by pair, the pair of the lowest rank first.

    KerasHub's own layer splits runs of spaces and line feeds otherwise.

    Example:
        >>> layer = BytePairs()
        >>> layer.set_vocabulary({"a": 0, "b": 1, "\u0120": 2, "ab": 3}, ["a b"])
        >>> layer(tf.constant(["ab ab"]))
        <tf.RaggedTensor [[3, 2, 3]]>
    """

    def __init__(self, **layer_options: Any) -> None:
        super().__init__(**{"dtype": "int32", "trainable": False} | layer_options)
        self._convert_input_args = False
        self._content: dict[str, Any] = {}
        self.built = True

    def set_vocabulary(self, vocabulary: Mapping[str, int], merges: Sequence[str], unknown: str | None = None) -> None:
        """Take tokens with their ids, and the pairs that are joined, by rank, their halves apart by a space.

        Args:
            vocabulary: Ids by token.
            merges: Pairs; those of which a token is not in the vocabulary are left out.
            unknown: Token for bytes that the vocabulary lacks; None to leave them out.
        """
        self._content = {"vocabulary": dict(vocabulary), "merges": list(merges), "unknown": unknown}
        lacking = _NO_ID if unknown is None else vocabulary[unknown]
        self._ids_of_bytes = [vocabulary.get(character, lacking) for character in _byte_characters()]
        self._size = 1 + max(vocabulary.values())
        values: dict[int, int] = {}
        for rank, merge in enumerate(merges):
            first, second = merge.split(" ")
            if {first, second, first + second} <= vocabulary.keys():
                key = vocabulary[first] * self._size + vocabulary[second]
                values[key] = rank * _ID_BITS + vocabulary[first + second]
        with tf.init_scope():
            keys = tf.constant(list(values) or [-1], tf.int64)
            entries = tf.lookup.KeyValueTensorInitializer(keys, tf.constant(list(values.values()) or [0], tf.int64))
            self._pairs = tf.lookup.StaticHashTable(entries, _NO_PAIR)

    def call(self, texts: Any) -> tf.RaggedTensor:
        """Split texts, strings `(n,)`, into ids, int32 `(n, None)`."""
        import tensorflow_text as tf_text

        marked = tf.strings.regex_replace(texts, f"([{_SPACE}])([^{_SPACE}])", rf"{_MARK}\1\2")
        words = tf_text.regex_split(marked, f"{_MARK}|{_WORD}", _WORD)
        distinct, indices = tf.unique(words.flat_values)
        return words.with_flat_values(tf.gather(self._joined(distinct), indices)).merge_dims(1, 2)

    def _joined(self, words: Any) -> tf.RaggedTensor:
        """Split distinct words, strings `(n,)`, into ids, int32 `(n, None)`."""
        numbers = tf.cast(tf.io.decode_raw(tf.strings.reduce_join(words), tf.uint8), tf.int32)
        ids = tf.gather(tf.constant(self._ids_of_bytes, tf.int64), numbers)
        rows = tf.repeat(tf.range(tf.size(words, tf.int64)), tf.strings.length(words))
        is_token = ids != _NO_ID
        ids, rows = tf.boolean_mask(ids, is_token), tf.boolean_mask(rows, is_token)

        def has_pair(ids: Any, rows: Any, values: Any) -> Any:
            return tf.reduce_any(values != _NO_PAIR)

        def join(ids: Any, rows: Any, values: Any) -> tuple[Any, Any, Any]:
            lowest = tf.gather(tf.math.segment_min(values, rows), rows)
            joins = _without_overlap((values == lowest) & (values != _NO_PAIR))
            ids = tf.where(joins, values % _ID_BITS, ids)
            remains = tf.concat([[True], ~joins[:-1]], axis=0)
            ids, rows = tf.boolean_mask(ids, remains), tf.boolean_mask(rows, remains)
            return ids, rows, self._values(ids, rows)

        any_length = (tf.TensorShape([None]),) * 3
        state = (ids, rows, self._values(ids, rows))
        ids, rows, _ = tf.while_loop(has_pair, join, state, shape_invariants=any_length)
        return tf.RaggedTensor.from_value_rowids(tf.cast(ids, tf.int32), rows, nrows=tf.size(words, tf.int64))

    def _values(self, ids: Any, rows: Any) -> Any:
        """Look up each token with the one behind it: the value of the pair, int64; the largest number for no pair."""
        pairs = self._pairs.lookup(ids[:-1] * self._size + ids[1:])
        within = tf.where(rows[:-1] == rows[1:], pairs, _NO_PAIR)
        return tf.concat([within, tf.fill([tf.minimum(tf.size(ids), 1)], tf.constant(_NO_PAIR, tf.int64))], axis=0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the vocabulary is saved beside it."""
        return super().get_config()

    def save_assets(self, dir_path: str) -> None:
        """Write the vocabulary into a `.keras` file."""
        Path(dir_path, _VOCABULARY).write_text(json.dumps(self._content), encoding="utf-8")

    def load_assets(self, dir_path: str) -> None:
        """Take the vocabulary from a `.keras` file."""
        self.set_vocabulary(**json.loads(Path(dir_path, _VOCABULARY).read_text(encoding="utf-8")))


def _without_overlap(joins: Any) -> Any:
    """Keep every other one of neighboring places, from the first on: of `a a a` the first two tokens are joined."""
    places = tf.range(tf.size(joins))
    begins = joins & tf.concat([[True], ~joins[:-1]], axis=0)
    runs = tf.cumsum(tf.cast(begins, tf.int32))
    first = tf.gather(tf.math.segment_min(tf.where(begins, places, tf.size(joins)), runs), runs)
    return joins & ((places - first) % 2 == 0)


def _byte_characters() -> list[str]:
    """Return the character that stands for each byte: itself where it can be seen, else one from U+0100 on."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("\u00a1"), ord("\u00ac") + 1), *range(ord("\u00ae"), 256)}
    others = iter(range(256))
    return [chr(byte) if byte in visible else chr(256 + next(others)) for byte in range(256)]
