"""Words in pieces: the character n-grams that fastText makes the vectors of unknown words of, in the graph."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

_BYTES_PER_LETTER = 4  # of UTF-8, at the most
_START, _PRIME, _MASK = 2166136261, 16777619, 0xFFFFFFFF  # of the 32 bit FNV-1a hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Subwords:
    """Which n-grams of a word there are vectors of.

    Attributes:
        shortest: Letters of the shortest n-grams; `<` and `>`, which stand around a word, count.
        longest: Letters of the longest ones.
        num_buckets: How many vectors they share: the hash of an n-gram says which is its own.
    """

    shortest: int
    longest: int
    num_buckets: int

    def __post_init__(self) -> None:
        if not (1 <= self.shortest <= self.longest and self.num_buckets > 0):
            raise ValueError(
                f"n-grams of {self.shortest} to {self.longest} letters in {self.num_buckets} buckets: expected 1 or "
                "more letters, the longest no shorter than the shortest, and a bucket at the least."
            )


def ngram_buckets(words: Any, subwords: Subwords) -> tf.RaggedTensor:
    """The buckets of the n-grams of words, as fastText computes them.

    Args:
        words: Strings `(n,)`.
        subwords: Which n-grams.

    Returns:
        int64 `(n, None)`, the shortest n-grams first; no place for a word that has none.

    Example:
        >>> ngram_buckets(tf.constant(["a"]), Subwords(shortest=2, longest=3, num_buckets=1000)).to_list()
        [[750, 806, 600]]
    """
    letters = tf.strings.unicode_split(tf.strings.join(["<", words, ">"]), "UTF-8")
    grams = []
    for length in range(subwords.shortest, subwords.longest + 1):
        inside = letters[:, 1:-1] if length == 1 else letters  # the marks alone are no n-grams
        grams.append(tf.strings.ngrams(inside, length, separator=""))
    found = tf.concat(grams, axis=1)
    hashes = _hash(found.flat_values, _BYTES_PER_LETTER * subwords.longest)
    return found.with_flat_values(hashes % subwords.num_buckets)


def _hash(texts: Any, most_bytes: int) -> Any:
    """The hash that fastText numbers n-grams with: FNV-1a, with bytes above 127 taken for negative numbers."""
    content = tf.cast(tf.io.decode_raw(texts, tf.uint8, fixed_length=most_bytes), tf.int64)
    content = tf.where(content > 127, content + (_MASK - 255), content)
    lengths = tf.strings.length(texts)
    hashes = tf.fill(tf.shape(texts), tf.constant(_START, tf.int64))
    for place in range(most_bytes):
        after = tf.bitwise.bitwise_and(tf.bitwise.bitwise_xor(hashes, content[:, place]) * _PRIME, _MASK)
        hashes = tf.where(place < lengths, after, hashes)
    return hashes
