"""A head that asks the nearest examples, and explains itself with them. Nothing is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfembed.data import Dataset
from tfembed.data.examples import as_examples
from tfembed.embeddings.embedder import Embedder, open_embedder
from tfembed.embeddings.nearest import nearest

_TEMPERATURE = 0.07  # of votes by cosine, as in https://arxiv.org/abs/2104.14294


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """A training example that was asked.

    Attributes:
        example: The text, path or image.
        label: Its class.
        similarity: The cosine with the example in question, from -1 to 1.
        weight: Its share of the votes.
    """

    example: Any
    label: Any
    similarity: float
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A prediction with its reasons.

    Attributes:
        label: The class with the most votes.
        score: Its share of them.
        votes: The neighbours, the nearest first.
    """

    label: Any
    score: float
    votes: tuple[Vote, ...]


class NeighbourHead:
    """Classifies by the nearest training examples; `knn_head` makes one.

    Args:
        embedder: Of the examples.
        data: Where the neighbours are from: the training part.
        vectors: Of the training examples, `(n, dim)`.
        neighbours: How many are asked.

    Raises:
        ValueError: By `predict`, if the examples are not of the encoder's kind.

    Example:
        >>> import tfembed as te
        >>> shades = np.stack([np.full([8, 8], shade, "uint8") for shade in (0, 250)])
        >>> data = te.Dataset.from_arrays(shades, ["black", "white"], validation=0, test=0)
        >>> found = te.knn_head("glyphs", data, neighbours=1).predict(np.full([1, 8, 8], 240, "uint8"))
        >>> [(each.label, each.score, int(each.votes[0].example.max())) for each in found]
        [('white', 1.0, 250)]
    """

    def __init__(self, embedder: Embedder, data: Dataset, vectors: np.ndarray, neighbours: int) -> None:
        self._embedder, self._data, self._vectors, self._neighbours = embedder, data, vectors, neighbours

    def predict(self, examples: Sequence[Any] | np.ndarray) -> list[Explained]:
        """Predict, with reasons. Of two classes with as many votes, the one with the nearer neighbour wins.

        Args:
            examples: Texts, or images as `embed` takes them.

        Raises:
            ValueError: If the examples are not what the encoder takes.
        """
        kind, checked = as_examples(examples, lambda i: f"examples[{i}]")
        if kind != self._embedder.kind:
            raise ValueError(f"The examples are {kind}s: expected {self._embedder.kind}s, which the encoder takes.")
        rows, cosines = nearest(self._vectors, self._embedder.embed(checked), self._neighbours)
        weights = np.exp((cosines - cosines[:, :1]) / _TEMPERATURE)
        weights /= weights.sum(axis=1, keepdims=True)
        return [self._explained(*each) for each in zip(rows, cosines, weights, strict=True)]

    def _explained(self, rows: np.ndarray, cosines: np.ndarray, weights: np.ndarray) -> Explained:
        train, names = self._data.train, self._data.class_names
        votes = tuple(
            Vote(example=train.examples[row], label=names[train.labels[row]], similarity=float(c), weight=float(w))
            for row, c, w in zip(rows.tolist(), cosines, weights, strict=True)
        )
        shares: dict[Any, float] = {}
        for vote in votes:
            shares[vote.label] = shares.get(vote.label, 0.0) + vote.weight
        label = max(shares, key=lambda name: shares[name])
        return Explained(label=label, score=shares[label], votes=votes)


def knn_head(encoder: Any, data: Dataset, *, neighbours: int = 10) -> NeighbourHead:
    """Classify by the nearest examples of the training part, by cosine; what is nearer has more votes.

    Args:
        encoder: As in `embed`.
        data: Examples with one class each.
        neighbours: How many are asked, at most.

    Raises:
        ValueError: If the data are not for classification, or not of the encoder's kind.

    Example:
        >>> import tfembed as te
        >>> texts, labels = ["refund me", "money back", "hello", "hi"], [0, 0, 1, 1]
        >>> data = te.Dataset.from_arrays(texts, labels, validation=0, test=0)
        >>> found = knn_head("minilm", data, neighbours=2).predict(["I want my money back"])[0]
        >>> found.label, found.votes[0].example
        ('0', 'money back')
    """
    embedder = open_embedder(encoder, data.kind)
    if data.task != "classification" or data.kind != embedder.kind:
        raise ValueError(
            f"The data are {data.kind}s for {data.task}: expected {embedder.kind}s for classification, which encoder "
            f"{embedder.name!r} takes."
        )
    if neighbours < 1:
        raise ValueError(f"neighbours={neighbours}: expected at least 1.")
    return NeighbourHead(embedder, data, embedder.embed(data.train.examples), neighbours)
