"""Texts of which an encoder of word vectors knows no word: their embeddings are zeros."""

import logging
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfembed.encoders.encoder import Encoder
from tfembed.encoders.words.layer import Words
from tfembed.features.lengths import TEXTS_PER_TOKENIZING

logger = logging.getLogger(__name__)

NO_WORD = "the encoder knows none of its words"


def describe_unknown(num_unknown: int, num_texts: int, encoder: str, noun: str = "texts") -> str:
    """Say how many texts have no word that an encoder knows, and what to do.

    Args:
        num_unknown: Number of these texts.
        num_texts: Number of all texts.
        encoder: Name of the encoder.
        noun: Noun for the texts, in the plural.

    Example:
        >>> describe_unknown(1, 8, "glove").partition(",")[0]
        "1 of 8 texts (12.5 %) have no word that encoder 'glove' knows"
    """
    return (
        f"{num_unknown:,} of {num_texts:,} {noun} ({100 * num_unknown / num_texts:.3g} %) have no word that encoder "
        f"{encoder!r} knows, so their embeddings are zeros. Check their language and spelling, or take an encoder that "
        "splits words into pieces, such as minilm."
    )


def unknown_rows(embeddings: np.ndarray, kind: str) -> np.ndarray:
    """Return the rows of texts whose embeddings are zeros; none for images, where zeros can be meant.

    Args:
        embeddings: float32 `(n, dim)`.
        kind: Kind of the examples, `"text"` or `"image"`.

    Example:
        >>> unknown_rows(np.array([[0.0, 0.0], [0.0, 1.0]]), "text").tolist()
        [0]
    """
    return np.flatnonzero(~np.any(embeddings, axis=1)) if kind == "text" else np.zeros(0, np.int64)


def warn_unknown(num_unknown: int, num_texts: int, encoder: str, noun: str = "texts") -> None:
    """Log what `describe_unknown` says, as a warning; nothing if each text has a word that the encoder knows."""
    if num_unknown:
        logger.warning("%s", describe_unknown(num_unknown, num_texts, encoder, noun))


def warn_of_splits(encoder: Encoder, splits: Mapping[str, np.ndarray]) -> None:
    """Log for each split how many of its texts have no word that an encoder of word vectors knows.

    Args:
        encoder: Encoder; nothing is looked at where it is not of word vectors.
        splits: Examples of each split, by its name; images are passed over.
    """
    if isinstance(encoder.preprocessing, Words):
        for name, texts in splits.items():
            if texts.ndim > 1 or not isinstance(texts[0], str):
                continue
            warn_unknown(_count(encoder, texts), len(texts), encoder.spec.name, f"{name} texts")


def _count(encoder: Encoder, texts: np.ndarray) -> int:
    count = 0
    for start in range(0, len(texts), TEXTS_PER_TOKENIZING):
        batch = tf.constant(texts[start : start + TEXTS_PER_TOKENIZING].tolist(), tf.string)
        count += int(np.sum(np.asarray(encoder.tokenize(batch)[1]) == 0))
    return count
