"""Nearest neighbours of an example, and analogies: `king - man + woman`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfembed.data.examples import as_examples
from tfembed.encoders.encoder import INPUTS, Encoder
from tfembed.encoders.words.layer import Words
from tfembed.features import encode
from tfembed.features.unknown_words import NO_WORD


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbour:
    """An example that is near.

    Attributes:
        example: As it was given; a word of the vocabulary where nothing was.
        similarity: The cosine of the two embeddings, from -1 to 1.

    Example:
        >>> import tfembed as te
        >>> black, grey = np.zeros([8, 8], "uint8"), np.full([8, 8], 100, "uint8")
        >>> found = te.nearest(te.load_encoder("glyphs"), black, among=[grey], k=1)[0]
        >>> found.example is grey, -1 <= found.similarity <= 1
        (True, True)
    """

    example: Any
    similarity: float


def nearest(
    encoder: Encoder, query: Any, among: Sequence[Any] | np.ndarray | None = None, k: int = 10
) -> list[Neighbour]:
    """Find what has the most similar embedding.

    Args:
        encoder: Of texts or images.
        query: A word, a text, or an image as encoded bytes, a path or pixels `uint8 (height, width)`, with a last axis
            of 1 or 3 if it has one.
        among: Examples to search in; the vocabulary of word vectors if None. The query itself is left out.
        k: How many to return at the most.

    Returns:
        The nearest first.

    Raises:
        ValueError: If there is nothing to search in, or the query has no embedding because all its words are unknown.

    Example:
        >>> import tfembed as te
        >>> images = np.stack([np.full([8, 8], shade, "uint8") for shade in (0, 10, 200)])
        >>> [int(found.example.max()) for found in nearest(te.load_encoder("glyphs"), images[0], images[1:], k=1)]
        [10]
    """
    return _search(encoder, [query], [1.0], among, k)


def analogy(
    encoder: Encoder,
    plus: Sequence[str],
    minus: Sequence[str],
    among: Sequence[str] | None = None,
    k: int = 10,
) -> list[Neighbour]:
    """Find what completes an analogy: the nearest to the sum of some embeddings without that of others.

    Embeddings are brought to length 1 first (3CosAdd, https://aclanthology.org/W14-1618).

    Args:
        encoder: Of texts.
        plus: Words or texts to add, such as king and woman.
        minus: Words or texts to take away, such as man.
        among: As for `nearest`; those that are added or taken away are left out.
        k: As for `nearest`.

    Returns:
        The nearest first.

    Raises:
        ValueError: As for `nearest`.

    Example:
        >>> import tempfile, tfembed as te
        >>> vectors = {"king": "1 0 1", "man": "1 0 0", "woman": "0 1 0", "queen": "0 1 1", "tree": "0 0 0.1"}
        >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        ...     _ = file.write("\\n".join(f"{word} {numbers}" for word, numbers in vectors.items()))
        ...     file.flush()
        ...     encoder = te.load_encoder(f"glove:{file.name}")
        >>> [found.example for found in analogy(encoder, plus=["king", "woman"], minus=["man"], k=1)]
        ['queen']
    """
    for name, texts in {"plus": plus, "minus": minus}.items():
        if isinstance(texts, str):
            raise ValueError(f"{name}={texts!r}: expected a list of texts. Pass [{texts!r}].")
    return _search(encoder, [*plus, *minus], [1.0] * len(plus) + [-1.0] * len(minus), among, k)


def _search(
    encoder: Encoder, queries: list[Any], signs: list[float], among: Sequence[Any] | np.ndarray | None, k: int
) -> list[Neighbour]:
    """The examples nearest to a sum of queries, these left out."""
    if k < 1:
        raise ValueError(f"k={k}: expected 1 or more.")
    found: Sequence[Any] | np.ndarray
    if among is None:
        layer = _words(encoder)
        found, own = layer.words, set(layer.split(tf.constant(queries)).flat_values.numpy().tolist())
        rows = encoder.body.get_layer("embeddings").embeddings.numpy()[1 : 1 + len(found)]
        left_out = np.array([word.encode() in own for word in found])
    else:
        found, rows = among, _embed(encoder, among)
        left_out = np.array([any(_same(each, query) for query in queries) for each in among])
    target = _unit(_embed(encoder, queries), queries).T @ np.array(signs, np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))  # without a copy of all rows
    similarity = rows @ target / np.maximum(lengths * np.linalg.norm(target), 1e-12)
    order = np.argsort(np.where(left_out, -np.inf, similarity))[::-1][: min(k, int((~left_out).sum()))]
    return [Neighbour(example=found[i], similarity=float(similarity[i])) for i in order.tolist()]


def _words(encoder: Encoder) -> Words:
    """What knows the words of word vectors."""
    if not isinstance(encoder.preprocessing, Words):
        raise ValueError(
            f"Encoder {encoder.spec.name!r} has no vocabulary of words with a vector each to search in: pass among=, "
            "a list of examples."
        )
    return encoder.preprocessing


def _embed(encoder: Encoder, examples: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Embeddings, float32 `(n, dim)`."""
    if isinstance(examples, list) and isinstance(examples[0], np.ndarray):
        examples = np.stack(examples)
    kind, checked = as_examples(examples, lambda i: f"examples[{i}]")
    if kind != encoder.spec.kind:
        raise ValueError(f"{examples[0]!r} is a {kind}: expected a {encoder.spec.kind}, which the encoder takes.")
    return encode(encoder, checked, len(encoder.blocks)).batch(np.arange(len(checked)))[INPUTS]


def _unit(embeddings: np.ndarray, queries: list[Any]) -> np.ndarray:
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if lost := [query for query, length in zip(queries, lengths[:, 0], strict=True) if not length > 0]:
        raise ValueError(f"{lost[0]!r} has no embedding: {NO_WORD}. Pass another one.")
    return embeddings / lengths


def _same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) or isinstance(b, np.ndarray) else a == b
