"""SearchSpace: what a search may try. A value, with good defaults per size of data."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from tfembed.data import Dataset
from tfembed.description import describe
from tfembed.encoders.batch_norm import choose_batch_norm
from tfembed.encoders.encoder import Encoder
from tfembed.heads import Head, linear_head, mlp_head
from tfembed.phases import BATCH_NORM, Phase
from tfembed.search.candidate import Candidate
from tfembed.search.folds import fewest_alike
from tfembed.strategies import Strategy, biases, contrastive, full, gradual, linear_probe, lp_ft, norms, top_blocks

# Up to so many training examples: epochs at most, kinds of strategies, those that cost little first.
_SIZES: tuple[tuple[float, int, tuple[str, ...]], ...] = (
    (2_000, 10, ("linear_probe", "lp_ft", "contrastive", "gradual", "biases", "norms")),
    (20_000, 5, ("linear_probe", "lp_ft", "top_blocks", "biases", "norms")),
    (float("inf"), 3, ("lp_ft", "top_blocks", "full")),
)
_RATES = (1e-5, 1e-3)
_MOST_JOINED = 3  # depths
_OF_ALL_BLOCKS: dict[str, Callable[..., Strategy]] = {"biases": biases, "norms": norms, "full": full}
_DEEP = ("lp_ft", "top_blocks", "gradual", "contrastive")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """What a search may try.

    Attributes:
        encoders: Names of the encoders to choose from: what `search` was given, in its order.
        strategy: From keras-tuner's `HyperParameters` to a strategy; it declares what it wants to have chosen.
        head: Likewise to a head.
        epochs: Of each phase at most, where Hyperband or a baseline needs to know.

    Raises:
        ValueError: If there are no encoders, two of one name, or no epochs.

    Example:
        >>> space = SearchSpace(
        ...     encoders=("minilm",),
        ...     strategy=lambda hp: lp_ft(hp.Int("blocks", 1, 3), learning_rate=hp.Choice("rate", [1e-4, 3e-4])),
        ... )
    """

    encoders: tuple[str, ...]
    strategy: Callable[[Any], Strategy]
    head: Callable[[Any], Head] = lambda hp: linear_head()
    epochs: int = 10

    def __post_init__(self) -> None:
        if not self.encoders or len(set(self.encoders)) < len(self.encoders):
            raise ValueError(f"Encoders {list(self.encoders)}: expected one or more, each with a name of its own.")
        if self.epochs < 1:
            raise ValueError(f"A search space of {self.epochs} epochs: pass 1 or more.")

    def candidate(self, hp: Any) -> Candidate:
        """Ask the space for what keras-tuner's hyperparameters stand for; Hyperband's epochs are kept to.

        Raises:
            ValueError: If the space's functions give no `Strategy` or no `Head`.
        """
        name = hp.Choice("encoder", list(self.encoders)) if len(self.encoders) > 1 else self.encoders[0]
        strategy, head = self.strategy(hp), self.head(hp)
        if not isinstance(strategy, Strategy) or not isinstance(head, Head):
            raise ValueError(
                f"The search space gave {type(strategy).__name__} and {type(head).__name__}: expected a Strategy, such "
                "as te.lp_ft(2), and a Head, such as te.linear_head()."
            )
        if "tuner/epochs" in hp.values:
            strategy = _limited(strategy, int(hp.values["tuner/epochs"]))
        return Candidate(encoder=name, strategy=strategy, head=head)


def default_space(
    encoders: Mapping[str, Encoder], data: Dataset, *, folds: int | None = None, seed: int = 0
) -> SearchSpace:
    """A search space that suits the size of the training data.

    It holds only what can be run: depths that the encoder has and can be cut at, biases and norms where it has some,
    and contrastive strategies where each fold is left two examples of a class to bring together.

    Args:
        encoders: By name; they are left frozen.
        data: What is trained on.
        folds: Number of folds of the search; see `search`.
        seed: Seed of the search, by which the folds are drawn.

    Example:
        >>> from tfembed import load_encoder
        >>> data = Dataset.from_arrays(["yes", "yeah", "no", "nope"], ["y", "y", "n", "n"], validation=0, test=0)
        >>> default_space({"minilm": load_encoder("minilm")}, data).epochs
        10
    """
    epochs, wanted = next((epochs, kinds) for most, epochs, kinds in _SIZES if len(data.train) <= most)
    pairs = data.task == "classification" and fewest_alike(data, folds, seed) > 1
    able = [kind for kind in wanted if kind != "contrastive" or pairs]
    reaches = {
        name: _Reach(
            kinds=tuple(kind for kind in wanted if kind in able and _can_carry_out(kind, encoder)) or ("linear_probe",),
            num_blocks=len(encoder.blocks),
            joinable=_joinable(encoder),
            batch_norm=_batch_norm(encoder, len(data.train)),
            epochs=epochs,
        )
        for name, encoder in encoders.items()
    }

    alike = len(set(reaches.values())) == 1

    def strategy(hp: Any) -> Strategy:
        if alike:
            return next(iter(reaches.values())).strategy(hp, "")
        found = []  # what one encoder can bear another may not: each has hyperparameters of its own
        for name, reach in reaches.items():
            with hp.conditional_scope("encoder", [name]):
                found.append(reach.strategy(hp, f"{name}, "))
        return next(each for each in found if each is not None)

    def head(hp: Any) -> Head:
        kind = hp.Choice("head", ["linear", "mlp"])
        with hp.conditional_scope("head", ["mlp"]):
            units, dropout = hp.Choice("units", [128, 256]), hp.Choice("dropout", [0.1, 0.3, 0.5])
        return linear_head() if kind == "linear" else mlp_head([units], dropout=dropout)

    few = len(data.train) <= _SIZES[0][0]
    return SearchSpace(
        encoders=tuple(encoders),
        strategy=strategy,
        # Few examples are served best by a head that can be solved to its optimum.
        head=(lambda hp: linear_head()) if few else head,
        epochs=epochs,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """What strategies an encoder can bear."""

    kinds: tuple[str, ...]
    num_blocks: int
    joinable: int
    batch_norm: tuple[str, ...]
    epochs: int

    def strategy(self, hp: Any, prefix: str) -> Any:
        """The strategy that hyperparameters stand for; None where they are those of another encoder."""
        count = self.num_blocks
        kind = hp.Choice(f"{prefix}strategy", list(self.kinds))
        with hp.conditional_scope(f"{prefix}strategy", ["linear_probe"]):
            joined = hp.Int(f"{prefix}joined_depths", 1, max(1, self.joinable))
        probe = linear_probe(depths=tuple(range(count - min(joined or 0, self.joinable), count)))
        if self.kinds == ("linear_probe",):
            return probe if kind else None
        with hp.conditional_scope(f"{prefix}strategy", [each for each in self.kinds if each in _DEEP]):
            depth = hp.Choice(f"{prefix}blocks", [each for each in (1, 2, 4, 6, 12, 24) if each < count] or [1])
        with hp.conditional_scope(f"{prefix}strategy", [each for each in self.kinds if each != "linear_probe"]):
            rate = hp.Float(f"{prefix}learning_rate", *_RATES, sampling="log", default=1e-4)
            batch_norm = hp.Choice(f"{prefix}batch_norm", list(self.batch_norm)) if self.batch_norm else None
        if kind == "linear_probe":
            return probe
        made = None if kind is None else _made(kind, depth, rate, self.epochs)
        return made.with_batch_norm(batch_norm) if made and batch_norm else made


def _can_carry_out(kind: str, encoder: Encoder) -> bool:
    """Check that an encoder has what a kind of strategy unfreezes, and weights at all."""
    if kind == "linear_probe":
        return True
    try:
        describe(_made(kind, 1, _RATES[0], 1), encoder)
        encoder.unfreeze(True)
        return bool(encoder.trainable_variables)
    except ValueError:
        return False
    finally:
        encoder.unfreeze(False)


def _batch_norm(encoder: Encoder, num_examples: int) -> tuple[str, ...]:
    """The ways to treat batch norm that an encoder has, first the one that is chosen by default; none without any."""
    try:
        encoder.unfreeze(True)
        if not encoder.parts.trains_batch_norm:
            return ()
        default = choose_batch_norm("auto", encoder, num_examples)
        able = BATCH_NORM[1:] if encoder.parts.batch_norms else ("inference", "train")
        return (default, *(each for each in able if each != default))
    except ValueError:  # nothing of it trains
        return ()
    finally:
        encoder.unfreeze(False)


def _joinable(encoder: Encoder) -> int:
    """Number of topmost depths, up to 3, that can be joined to the embedding: the encoder must be cut at each."""
    count, before = len(encoder.blocks), encoder.spec.depths
    try:
        for joined in range(min(_MOST_JOINED, count - 1), 0, -1):
            with suppress(ValueError):
                encoder.join(tuple(range(count - joined, count)))
                return joined
        return 0
    finally:
        encoder.join(before)


def _made(kind: str, depth: int, rate: float, epochs: int) -> Strategy:
    """The strategy of a name."""
    if kind == "contrastive":
        return contrastive(depth, learning_rate=rate, steps=10 * epochs)
    if kind == "gradual":
        return gradual(depth, learning_rate=rate, epochs=max(1, epochs // depth))
    if kind in _OF_ALL_BLOCKS:
        return _OF_ALL_BLOCKS[kind](learning_rate=rate, epochs=epochs)
    return (lp_ft if kind == "lp_ft" else top_blocks)(depth, learning_rate=rate, epochs=epochs)


def _limited(strategy: Strategy, epochs: int) -> Strategy:
    """A strategy whose phases have so many epochs at most; where the head is solved, epochs do not count."""

    def limited(phase: Phase) -> Phase:
        return phase if phase.solve else replace(phase, epochs=min(phase.epochs, epochs))

    return replace(strategy, phases=tuple(map(limited, strategy.phases)))
