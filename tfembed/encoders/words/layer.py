"""Texts to words, and words to their places in a vocabulary, in the graph."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfembed.encoders.words.subwords import Subwords, ngram_buckets

UNKNOWN = 0  # the place of all words that are not in the vocabulary
_SIF = 1e-3  # "a" of Arora et al. (2017), who found 1e-3 to 1e-4 to serve equally well
_LOOKED_AT, _CAPITALS = 10_000, 0.001  # a vocabulary with fewer words than that in capitals is one of lower case
_VOCABULARY, _COUNTS = "vocabulary.txt", "counts.npy"
_CONTRACTIONS = (r"(?i)(n't|'(?:s|re|ve|ll|d|m))$", r" \1")  # do n't, it 's; where the vocabulary has those
# What the vocabulary does not know is taken apart step by step, as the tokenizers do that vectors are made with.
_TAKEN_APART = (
    (r"[\x{2018}\x{2019}\x{02BC}]", "'"),
    (r"([^\p{L}\p{N}\p{M}'\-])", r" \1 "),  # punctuation
    _CONTRACTIONS,
    (r"(['\-])", r" \1 "),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Vocabulary:
    """In an object that Keras and TensorFlow do not look into: they would track every word.

    Attributes:
        words: Those that have a place, from 1 on.
        counts: How often each was seen; None if nobody knows.
        weights: The weight of each place, float32; None if they are not asked for.
        is_lower: Whether it is in lower case.
        steps: How what it does not know is taken apart.
    """

    words: tuple[bytes, ...]
    counts: np.ndarray | None
    weights: np.ndarray | None
    is_lower: bool
    steps: tuple[tuple[str, str], ...]


@keras.saving.register_keras_serializable(package="tfembed")
class Words(keras.layers.Layer):
    """Texts to the places of their words in a vocabulary, padded.

    Texts are split at white space. What the vocabulary does not know is taken apart at punctuation, then before `n't`
    and `'s`, then at apostrophes and hyphens; unknown punctuation is left out. Where the vocabulary is in lower case,
    so is the text; else what is not found as it stands is looked for in lower case.

    Args:
        max_length: Tokens kept of a text: words, and n-grams of words that are made of them.
        weighted: Whether to give the weight of each word too: `a / (a + p)` with its share `p` of all words, as in
            "A Simple but Tough-to-Beat Baseline for Sentence Embeddings" (Arora et al. 2017, "smooth inverse
            frequency"), with a = 0.001. Of a vocabulary without counts, the shares follow Zipf's law.
        subwords: The n-grams that unknown words are made of, as a dictionary; None to take the place of unknown words.
        skip_unknown: Whether unknown words are left out, which neither the vocabulary nor n-grams have a vector of.
        **layer_options: Options of `keras.layers.Layer`.

    Example:
        >>> layer = Words(max_length=3)
        >>> layer.set_vocabulary([b"do", b"n't", b"go"])
        >>> layer(tf.constant(["Don't go!"]))["token_ids"].numpy().tolist()
        [[1, 2, 3]]
    """

    def __init__(
        self,
        max_length: int,
        weighted: bool = False,
        subwords: dict[str, int] | None = None,
        skip_unknown: bool = False,
        **layer_options: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", "trainable": False} | layer_options)
        self._convert_input_args = False
        self.max_length, self.weighted = max_length, weighted
        self.skip_unknown = skip_unknown
        self.subwords = None if subwords is None else Subwords(**subwords)
        self._known: _Vocabulary

    def set_vocabulary(self, words: Sequence[bytes], counts: np.ndarray | None = None) -> None:
        """Set the words that have a place, from 1 on, and how often each was seen."""
        some = [word.decode("utf-8", "replace") for word in words[:_LOOKED_AT]]
        has_contractions = not {b"n't", b"'s"}.isdisjoint(words)
        self._known = _Vocabulary(
            words=tuple(words),
            counts=counts,
            weights=_sif_weights(len(words), counts) if self.weighted else None,
            is_lower=sum(word != word.lower() for word in some) <= _CAPITALS * len(some),
            steps=tuple(step for step in _TAKEN_APART if step != _CONTRACTIONS or has_contractions),
        )
        with tf.init_scope():
            places = tf.range(1, len(words) + 1, dtype=tf.int64)
            entries = tf.lookup.KeyValueTensorInitializer(tf.constant(self._known.words, tf.string), places)
            self._table = tf.lookup.StaticHashTable(entries, UNKNOWN)

    @property
    def words(self) -> list[str]:
        """The words that have a place, from 1 on."""
        return [word.decode("utf-8", "replace") for word in self._known.words]

    def split(self, texts: Any) -> tf.RaggedTensor:
        """The words of texts `(n,)`, as the vocabulary has them, strings `(n, None)`."""
        texts = tf.strings.regex_replace(texts, r"[\s\p{Z}\x00\x{200B}\x{FEFF}]+", " ")
        pieces = tf.strings.split(tf.strings.lower(texts, "utf-8") if self._known.is_lower else texts)
        for pattern, replacement in self._known.steps:
            spaced = tf.strings.regex_replace(pieces.flat_values, pattern, replacement)
            known = self._table.lookup(pieces.flat_values) != UNKNOWN
            parts = tf.strings.split(tf.where(known, pieces.flat_values, spaced))
            pieces = pieces.with_flat_values(parts).merge_dims(1, 2)
        found = pieces.flat_values
        known = self._table.lookup(found) != UNKNOWN
        if not self._known.is_lower:
            small = tf.strings.lower(found, "utf-8")
            found = tf.where(known | (self._table.lookup(small) == UNKNOWN), found, small)
        has_letters = tf.strings.regex_full_match(found, r"(?s).*[\p{L}\p{N}].*")
        return tf.ragged.boolean_mask(pieces.with_flat_values(found), pieces.with_flat_values(known | has_letters))

    def call(self, texts: Any) -> dict[str, Any]:
        """Prepare texts.

        Args:
            texts: Strings `(n,)`.

        Returns:
            `token_ids` and `padding_mask`, int32 `(n, max_length)`; with n-grams `shares`, what part of its word each
            token is, and if asked for `word_weights`, both float32 of the same shape.
        """
        words = self.split(texts)
        places = self._table.lookup(words.flat_values)
        columns = {}
        if self.weighted:
            columns["word_weights"] = tf.gather(tf.constant(self._known.weights), places)
        if self.subwords is None:
            tokens, columns = words.with_flat_values(places), {n: words.with_flat_values(v) for n, v in columns.items()}
        else:
            parts = _in_parts(words.flat_values, places, self.subwords, 1 + len(self._known.words))
            sizes = parts.row_lengths()
            columns["shares"] = 1.0 / tf.cast(sizes, tf.float32)
            repeated = {name: parts.with_flat_values(tf.repeat(value, sizes)) for name, value in columns.items()}
            tokens = words.with_flat_values(parts).merge_dims(1, 2)
            columns = {name: words.with_flat_values(value).merge_dims(1, 2) for name, value in repeated.items()}
        if self.skip_unknown:
            has_vector = tokens.with_flat_values(tokens.flat_values != UNKNOWN)
            tokens, *others = (tf.ragged.boolean_mask(each, has_vector) for each in (tokens, *columns.values()))
            columns = dict(zip(columns, others, strict=True))
        shape = [None, self.max_length]
        found = {name: column.to_tensor(shape=shape) for name, column in columns.items()}
        mask = tf.sequence_mask(tf.minimum(tokens.row_lengths(), self.max_length), self.max_length, tf.int32)
        return found | {"token_ids": tf.cast(tokens.to_tensor(shape=shape), tf.int32), "padding_mask": mask}

    def compute_output_spec(self, texts: Any) -> dict[str, Any]:
        """What `call` gives for Keras tensors."""
        names = {"token_ids": "int32", "padding_mask": "int32"}
        names |= {"shares": "float32"} if self.subwords else {}
        names |= {"word_weights": "float32"} if self.weighted else {}
        return {name: keras.KerasTensor((texts.shape[0], self.max_length), dtype) for name, dtype in names.items()}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the vocabulary is saved beside it."""
        subwords = None if self.subwords is None else asdict(self.subwords)
        own = {"max_length": self.max_length, "weighted": self.weighted, "subwords": subwords}
        return super().get_config() | own | {"skip_unknown": self.skip_unknown}

    def save_assets(self, dir_path: str) -> None:
        """Write the vocabulary into a `.keras` file."""
        Path(dir_path, _VOCABULARY).write_bytes(b"\n".join(self._known.words))
        if self._known.counts is not None:
            np.save(Path(dir_path, _COUNTS), self._known.counts, allow_pickle=False)

    def load_assets(self, dir_path: str) -> None:
        """Take the vocabulary from a `.keras` file."""
        counts = Path(dir_path, _COUNTS)
        words = Path(dir_path, _VOCABULARY).read_bytes().split(b"\n")
        self.set_vocabulary(words, np.load(counts, allow_pickle=False) if counts.is_file() else None)


def _sif_weights(num_words: int, counts: np.ndarray | None) -> np.ndarray:
    """The weight of each place, float32 `(1 + num_words,)`; of unknown words 1, for they are rare."""
    often = 1.0 / np.arange(1, num_words + 1) if counts is None else counts.astype(float)
    shares = often / max(often.sum(), 1e-12)
    return np.concatenate([[1.0], _SIF / (_SIF + shares)]).astype(np.float32)


def _in_parts(words: Any, places: Any, subwords: Subwords, first: int) -> tf.RaggedTensor:
    """The places of what words are made of: the word itself, or, of an unknown one, its n-grams, int64 `(n, None)`."""
    is_unknown = places == UNKNOWN
    found = ngram_buckets(tf.boolean_mask(words, is_unknown), subwords) + first
    bare = tf.cast(found.row_lengths() == 0, tf.int64)  # too short to have any
    unknown = tf.fill([tf.reduce_sum(bare)], tf.constant(UNKNOWN, tf.int64))
    found = tf.concat([found, tf.RaggedTensor.from_row_lengths(unknown, bare)], axis=1)
    known = tf.expand_dims(tf.boolean_mask(places, ~is_unknown), 1)
    both = tf.concat([tf.RaggedTensor.from_tensor(known), found], axis=0)
    order = tf.concat([tf.where(~is_unknown)[:, 0], tf.where(is_unknown)[:, 0]], axis=0)
    return tf.gather(both, tf.math.invert_permutation(order))
