"""Strategies: how much of an encoder to unfreeze, and in which phases. Values only; `train` carries them out."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

Selector = bool | int | str | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One stage of training, with a fixed set of trainable variables.

    Attributes:
        name: What people call it.
        unfreeze: What of the encoder trains: False for nothing, True for all, a number of top blocks, names of blocks,
            "biases", "norms", or a regular expression over variable names. The head always trains.
        solve: Whether a linear head on a frozen encoder is solved to its optimum rather than trained in epochs.
        epochs: At most; training stops when the validation loss no longer falls.
        learning_rate: Of AdamW.
        batch_size: Examples in a step.
        weight_decay: Of AdamW.
        label_smoothing: Share of the probability given to all classes, in [0, 1).
        patience: Epochs without a lower validation loss before training stops.
    """

    name: str
    unfreeze: Selector = False
    solve: bool = False
    epochs: int = 20
    learning_rate: float = 1e-3
    batch_size: int = 16
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    patience: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.unfreeze, list):
            object.__setattr__(self, "unfreeze", tuple(self.unfreeze))
        if isinstance(self.unfreeze, int) and self.unfreeze < 0:
            raise ValueError(f"Phase {self.name!r} unfreezes {self.unfreeze} blocks: pass 0 or more.")
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"Phase {self.name!r} has {name} {getattr(self, name)}: pass 1 or more.")
        if self.learning_rate <= 0:
            raise ValueError(f"Phase {self.name!r} has learning rate {self.learning_rate}: pass one above 0.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"Phase {self.name!r} has label smoothing {self.label_smoothing}: pass 0 to below 1.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """Phases, one after the other. Each begins with the weights that the one before it left.

    Attributes:
        name: What people call it, such as `lp_ft(1)`.
        phases: At least one.
    """

    name: str
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        if not self.phases:
            raise ValueError(f"Strategy {self.name!r} has no phases: give it at least one.")

    def to_json(self) -> str:
        """The strategy as JSON; `strategy_from_json` reads it back."""
        return json.dumps(asdict(self))


_PROBE = Phase(name="probe", solve=True, epochs=50)


def linear_probe() -> Strategy:
    """Train the head alone, on features that are computed once.

    Example:
        >>> [phase.unfreeze for phase in linear_probe().phases]
        [False]
    """
    return Strategy(name="linear_probe", phases=(_PROBE,))


def top_blocks(num_unfrozen: int, *, learning_rate: float = 1e-4, epochs: int = 20) -> Strategy:
    """Train the head and the top blocks together from the start.

    Example:
        >>> top_blocks(2).phases[0].unfreeze
        2
    """
    phase = Phase(name="fine-tune", unfreeze=num_unfrozen, learning_rate=learning_rate, epochs=epochs)
    return Strategy(name=f"top_blocks({num_unfrozen})", phases=(phase,))


def lp_ft(num_unfrozen: int, *, learning_rate: float = 1e-4, epochs: int = 20) -> Strategy:
    """Probe, then fine-tune the top blocks from the probe's solution (https://arxiv.org/abs/2202.10054).

    Example:
        >>> [phase.name for phase in lp_ft(1).phases]
        ['probe', 'fine-tune']
    """
    phases = (_PROBE, *top_blocks(num_unfrozen, learning_rate=learning_rate, epochs=epochs).phases)
    return Strategy(name=f"lp_ft({num_unfrozen})", phases=phases)


def full(*, learning_rate: float = 3e-5, epochs: int = 20) -> Strategy:
    """Train everything.

    Example:
        >>> full().phases[0].unfreeze
        True
    """
    phase = Phase(name="fine-tune", unfreeze=True, learning_rate=learning_rate, epochs=epochs)
    return Strategy(name="full", phases=(phase,))


def strategy_from_json(text: str) -> Strategy:
    """Read a strategy that `Strategy.to_json` wrote.

    Raises:
        ValueError: If it is none, naming the field.

    Example:
        >>> strategy_from_json(lp_ft(1).to_json()) == lp_ft(1)
        True
    """
    try:
        values = json.loads(text)
        return Strategy(name=values["name"], phases=tuple(_phase(phase) for phase in values["phases"]))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"This is no strategy as to_json writes it: {error!r}.") from error


def _phase(values: dict[str, Any]) -> Phase:
    known = {field.name for field in fields(Phase)}
    if unknown := set(values) - known:
        raise ValueError(f"A phase has no {sorted(unknown)}: it has {sorted(known)}.")
    return Phase(**values)
