"""Heads: what is put on an embedding. A head is a value; `head_layers.build_head` makes layers of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

KINDS = ("linear", "mlp", "cosine")
NORMALIZATIONS = ("batch", "layer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A head, as `linear_head`, `mlp_head` and `cosine_head` make them: from embeddings `(n, dim)` to logits.

    Attributes:
        kind: `"linear"`, `"mlp"` or `"cosine"`.
        units: Sizes of the hidden layers.
        activation: Of the hidden layers.
        dropout: Share of the values dropped in front of the last layer, in [0, 1).
        normalization: `"batch"`, `"layer"` or None, behind each hidden layer.
        scale: Of cosines: logits are in [-scale, scale].

    Raises:
        ValueError: If kind or normalization are unknown, the dropout is no share, or a hidden layer has no units.

    Example:
        >>> Head(kind="mlp", units=(64,), normalization="layer").activation
        'relu'
    """

    kind: str
    units: tuple[int, ...] = ()
    activation: str = "relu"
    dropout: float = 0.0
    normalization: str | None = None
    scale: float = 16.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Unknown kind of head {self.kind!r}: pass one of {', '.join(KINDS)}.")
        if not isinstance(self.dropout, Real) or not 0 <= self.dropout < 1:
            raise ValueError(f"Dropout {self.dropout} is no share: pass a number from 0 to below 1.")
        if self.normalization not in (None, *NORMALIZATIONS):
            raise ValueError(f"Unknown normalization {self.normalization!r}: pass one of {NORMALIZATIONS}, or None.")
        if not all(isinstance(units, Integral) for units in self.units):
            raise ValueError(f"Hidden layers of {list(self.units)!r} units: expected whole numbers, such as [128, 64].")
        if any(units < 1 for units in self.units):
            raise ValueError(f"Hidden layers of {list(self.units)} units: each needs at least 1.")


def linear_head(*, dropout: float = 0.0) -> Head:
    """One dense layer, from `(n, dim)` to `(n, num_classes)`. It can be solved to the optimum, which `train` does.

    Args:
        dropout: Share of the embedding's values dropped in training, in [0, 1).

    Raises:
        ValueError: If the dropout is no such share.

    Example:
        >>> linear_head().kind
        'linear'
    """
    return Head(kind="linear", dropout=dropout)


def mlp_head(
    units: int | Sequence[int] = (128,),
    *,
    activation: str = "relu",
    dropout: float = 0.2,
    normalization: str | None = None,
) -> Head:
    """Hidden layers in front of the dense one: `(n, dim)` to `(n, units)` of each, to `(n, num_classes)`.

    Args:
        units: Sizes of the hidden layers; a number for a single one.
        activation: Of the hidden layers, as Keras names it.
        dropout: Share of the values dropped in front of the last layer, in [0, 1).
        normalization: `"batch"`, `"layer"` or None, behind each hidden layer.

    Raises:
        ValueError: If one of them is none of these; see `Head`.

    Example:
        >>> mlp_head([64, 32]).units
        (64, 32)
    """
    sizes = tuple(units) if isinstance(units, Iterable) else (units,)
    return Head(kind="mlp", units=sizes, activation=activation, dropout=dropout, normalization=normalization)


def cosine_head(*, scale: float = 16.0) -> Head:
    """Cosines to one learnt vector per class, times a scale (https://arxiv.org/abs/1904.04232).

    Args:
        scale: Logits `(n, num_classes)` lie in [-scale, scale].

    Example:
        >>> cosine_head(scale=10.0).scale
        10.0
    """
    return Head(kind="cosine", scale=scale)
