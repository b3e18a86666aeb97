"""Tokens that a tokenizer takes out of a text as they are, and those that it puts around it, in the graph."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

Encode = Callable[[Any], tf.RaggedTensor]
_SPACE = r"[\t\n\v\f\r\x{85}\p{Z}]"  # what Unicode calls white space


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedToken:
    """A token that is found before a text is split.

    Attributes:
        content: Characters of the token.
        id: Row of the token in the table of embeddings.
        lstrip: Whether white space in front of the token goes with it.
        rstrip: Whether white space behind the token goes with it.
        normalized: Whether the token is searched in the normalized text, and not in the raw one.
    """

    content: str
    id: int
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Tokens around each text.

    Attributes:
        start: Ids in front of a text.
        end: Ids behind a text.
        pad: Id that fills shorter texts up.
    """

    start: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    pad: int = 0

    def pack(self, ids: tf.RaggedTensor, length: int) -> tuple[Any, Any]:
        """Put texts into one tensor; of longer ones, the first tokens stay.

        Args:
            ids: int32 `(n, None)`.
            length: Tokens of a row, those around the text among them.

        Returns:
            The ids, int32 `(n, length)`, and a mask that is True where they are no padding.

        Example:
            >>> frame = Frame(start=(1,), end=(2,))
            >>> [tensor.numpy().tolist() for tensor in frame.pack(tf.ragged.constant([[7, 8, 9]], tf.int32), 4)]
            [[[1, 7, 8, 2]], [[True, True, True, True]]]
        """
        rows = ids.nrows()
        start, end = (tf.tile(tf.constant([given], tf.int32), [rows, 1]) for given in (self.start, self.end))
        ids = tf.concat([start, ids[:, : length - len(self.start) - len(self.end)], end], axis=1)
        return ids.to_tensor(self.pad, shape=[None, length]), tf.sequence_mask(ids.row_lengths(), length)


def insert_added(texts: Any, tokens: Sequence[AddedToken], encode: Encode) -> tf.RaggedTensor:
    """Find added tokens in texts, the leftmost first and of those the longest, and encode what is between them.

    Args:
        texts: Strings `(n,)`.
        tokens: Tokens to find.
        encode: Function from strings `(m,)` to ids `(m, None)`; an empty string has none.

    Returns:
        Ids, int32 `(n, None)`.

    Example:
        >>> tokens = [AddedToken(content="<a>", id=7, lstrip=True)]
        >>> insert_added(tf.constant(["x <a>yy"]), tokens, lambda texts: tf.strings.unicode_decode(texts, "UTF-8"))
        <tf.RaggedTensor [[120, 7, 121, 121]]>
    """
    if not tokens:
        return encode(texts)
    import tensorflow_text as tf_text

    pattern = pattern_of(tokens)
    pieces = tf_text.regex_split(texts, pattern, pattern)
    ids = _ids_of(pieces.flat_values, tokens)
    is_token = ids >= 0
    between = encode(tf.where(is_token, "", pieces.flat_values))
    alone = tf.RaggedTensor.from_row_lengths(tf.boolean_mask(ids, is_token), tf.cast(is_token, tf.int64))
    return pieces.with_flat_values(tf.concat([between, alone], axis=1)).merge_dims(1, 2)


def pattern_of(tokens: Sequence[AddedToken]) -> str:
    """Build the regular expression that matches added tokens, the longest first."""
    longest_first = sorted(tokens, key=lambda token: -len(token.content))
    return "|".join(
        f"{_SPACE}*" * token.lstrip + re.escape(token.content) + f"{_SPACE}*" * token.rstrip for token in longest_first
    )


def _ids_of(pieces: Any, tokens: Sequence[AddedToken]) -> Any:
    """Ids of the pieces that are tokens, int32; -1 for other pieces."""
    stripped = tf.strings.regex_replace(pieces, f"^{_SPACE}+|{_SPACE}+$", "")
    strips = tf.constant([token.lstrip or token.rstrip for token in tokens])
    compared = tf.where(strips, stripped[:, tf.newaxis], pieces[:, tf.newaxis])
    equal = compared == tf.constant([token.content for token in tokens])
    return tf.reduce_max(tf.where(equal, tf.constant([token.id for token in tokens], tf.int32), -1), axis=1)
