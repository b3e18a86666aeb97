"""Strategies: how much of an encoder to unfreeze, and in which phases. Values only; `train` carries them out."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfembed.phases import Phase, phase_from_dict
from tfembed.spelling import nearest_names

if TYPE_CHECKING:
    from tfembed.encoders.encoder import Encoder

_PROBE = Phase(name="probe", solve=True, epochs=50)
_SOLVE = Phase(name="solve", solve=True, epochs=50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """Phases, one after the other. Each begins with the weights that the one before it left.

    Attributes:
        name: What people call it, such as `lp_ft(1)`.
        phases: At least one.

    Raises:
        ValueError: If there is no phase, or they do not take the same depths.

    Example:
        >>> probe, tune = Phase(name="probe", solve=True), Phase(name="tune", unfreeze=1, learning_rate=1e-4)
        >>> [phase.name for phase in Strategy(name="mine", phases=(probe, tune)).phases]
        ['probe', 'tune']
    """

    name: str
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError(f"A strategy has the name {self.name!r}: pass a text.")
        if not self.phases:
            raise ValueError(f"Strategy {self.name!r} has no phases: give it at least one.")
        if len({phase.depths for phase in self.phases}) > 1:
            raise ValueError(f"Strategy {self.name!r} joins other depths in other phases: the head needs the same.")

    def to_json(self) -> str:
        """The strategy as JSON; `strategy_from_json` reads it back."""
        return json.dumps(asdict(self))

    def with_batch_norm(self, batch_norm: str) -> "Strategy":
        """Return a copy whose gradient-trained phases treat batch norm alike, which its name says.

        Args:
            batch_norm: `"inference"`, `"train"`, `"adapt"` or `"auto"`; see `Phase`.

        Raises:
            ValueError: If it is none of these.

        Example:
            >>> lp_ft(1).with_batch_norm("adapt").name
            'lp_ft(1), batch norm adapt'
        """
        phases = tuple(phase if phase.solve else replace(phase, batch_norm=batch_norm) for phase in self.phases)
        return Strategy(name=f"{self.name}, batch norm {batch_norm}", phases=phases)

    def describe(self, encoder: "Encoder") -> None:
        """Print, phase by phase, what trains of an encoder, how many of its values, and what is computed only once.

        Args:
            encoder: From `load_encoder`; it is left as it was.

        Raises:
            ValueError: If a phase unfreezes what the encoder does not have; the message lists what it has.

        Example:
            >>> from tfembed import load_encoder
            >>> linear_probe().describe(load_encoder("glyphs"))
            linear_probe
              1 probe: only the head trains, solved to its optimum; computed once: the embeddings
        """
        from tfembed.description import describe

        print(describe(self, encoder))


def linear_probe(*, depths: tuple[int, ...] = ()) -> Strategy:
    """Train the head alone, on features that are computed once.

    Args:
        depths: Cuts whose pooled features are joined to the embedding that the head takes, as in Head2Toe
            (https://arxiv.org/abs/2201.03529): depth k is the cut after block k. Each of the joined vectors, the
            embedding included, is scaled to length 1. Empty for the embedding alone, as it is. With d values at each
            of m depths, the head takes `(n, dim + m * d)`. A repeated depth counts once.

    Example:
        >>> [phase.unfreeze for phase in linear_probe().phases]
        [False]
        >>> linear_probe(depths=(4, 6)).name
        'linear_probe(depths=(4, 6))'
    """
    if depths == ():
        return Strategy(name="linear_probe", phases=(_PROBE,))
    probe = Phase(name="probe", solve=True, epochs=50, depths=depths)
    if not probe.depths:
        return linear_probe()
    return Strategy(name=f"linear_probe(depths={probe.depths})", phases=(probe,))


def top_blocks(num_unfrozen: int, *, learning_rate: float = 1e-4, epochs: int = 20) -> Strategy:
    """Train the head and the top blocks together from the start; then solve the head.

    Args:
        num_unfrozen: The top blocks that train, at least 1.
        learning_rate: Of the head and the last block.
        epochs: At most; training stops when the validation loss no longer falls.

    Raises:
        ValueError: If a number is out of its range; see `Phase`.

    Example:
        >>> [phase.unfreeze for phase in top_blocks(2).phases]
        [2, False]
    """
    _check_unfreezes("top_blocks", num_unfrozen)
    phase = Phase(name="fine-tune", unfreeze=num_unfrozen, learning_rate=learning_rate, epochs=epochs)
    return Strategy(name=f"top_blocks({num_unfrozen})", phases=(phase, _SOLVE))


def only_block(block: int | str, *, learning_rate: float = 1e-4, epochs: int = 20) -> Strategy:
    """Probe, then fine-tune one block alone (https://arxiv.org/abs/2210.11466): for inputs that are unlike those of
    pretraining an early one, for other classes a late one.

    Args:
        block: Its place from the input end, from 0 on; below 0 from the output end, -1 the last; or its name.
        learning_rate: Of the block.
        epochs: At most.

    Raises:
        ValueError: If a number is out of its range; see `Phase`.

    Example:
        >>> only_block(0).phases[1].unfreeze
        (0,)
    """
    return _after_probe(
        f"only_block({block!r})",
        Phase(name="fine-tune", unfreeze=(block,), learning_rate=learning_rate, epochs=epochs),
    )


def gradual(
    num_unfrozen: int = 3, *, learning_rate: float = 1e-4, layer_decay: float = 0.4, epochs: int = 3
) -> Strategy:
    """Unfreeze one more block in each phase, deeper ones at lower rates (ULMFiT, https://arxiv.org/abs/1801.06146).

    Args:
        num_unfrozen: Blocks in the last phase.
        learning_rate: Of the top block.
        layer_decay: Factor of the learning rate from one block to the one below it.
        epochs: Of each phase.

    Raises:
        ValueError: If it unfreezes no block, or a number is out of its range; see `Phase`.

    Example:
        >>> [phase.unfreeze for phase in gradual(2).phases]
        [False, 1, 2, False]
    """
    if num_unfrozen < 1:
        raise ValueError(f"Cannot unfreeze {num_unfrozen} blocks one after the other: pass 1 or more.")
    phases = (
        Phase(name=f"top {k}", unfreeze=k, learning_rate=learning_rate, layer_decay=layer_decay, epochs=epochs)
        for k in range(1, num_unfrozen + 1)
    )
    return _after_probe(f"gradual({num_unfrozen})", *phases)


def lp_ft(num_unfrozen: int, *, learning_rate: float = 1e-4, epochs: int = 20) -> Strategy:
    """Probe, then fine-tune the top blocks from the probe's solution (https://arxiv.org/abs/2202.10054).

    Args:
        num_unfrozen: The top blocks that train, at least 1.
        learning_rate: Of the head and the last block.
        epochs: At most; training stops when the validation loss no longer falls.

    Raises:
        ValueError: If a number is out of its range; see `Phase`.

    Example:
        >>> [phase.name for phase in lp_ft(1).phases]
        ['probe', 'fine-tune', 'solve']
    """
    _check_unfreezes("lp_ft", num_unfrozen)
    phase = Phase(name="fine-tune", unfreeze=num_unfrozen, learning_rate=learning_rate, epochs=epochs)
    return _after_probe(f"lp_ft({num_unfrozen})", phase)


def full(*, learning_rate: float = 3e-5, epochs: int = 20) -> Strategy:
    """Train everything; then solve the head.

    Args:
        learning_rate: Of the head and the last block.
        epochs: At most; training stops when the validation loss no longer falls.

    Raises:
        ValueError: If a number is out of its range; see `Phase`.

    Example:
        >>> full().phases[0].unfreeze
        True
    """
    phase = Phase(name="fine-tune", unfreeze=True, learning_rate=learning_rate, epochs=epochs)
    return Strategy(name="full", phases=(phase, _SOLVE))


def biases(*, learning_rate: float = 1e-3, epochs: int = 20) -> Strategy:
    """Probe, then train the biases alone, of all blocks (BitFit, https://arxiv.org/abs/2106.10199).

    Args:
        learning_rate: Of the head and the biases.
        epochs: At most; training stops when the validation loss no longer falls.

    Raises:
        ValueError: If a number is out of its range; see `Phase`.

    Example:
        >>> biases().phases[1].unfreeze
        'biases'
    """
    return _after_probe("biases", Phase(name="biases", unfreeze="biases", learning_rate=learning_rate, epochs=epochs))


def norms(*, learning_rate: float = 1e-3, epochs: int = 20) -> Strategy:
    """Probe, then train scales and offsets of the normalisation layers alone (https://arxiv.org/abs/2003.00152).

    Args:
        learning_rate: Of the head, the scales and the offsets.
        epochs: At most; training stops when the validation loss no longer falls.

    Raises:
        ValueError: If a number is out of its range; see `Phase`.

    Example:
        >>> norms().phases[1].unfreeze
        'norms'
    """
    return _after_probe("norms", Phase(name="norms", unfreeze="norms", learning_rate=learning_rate, epochs=epochs))


def lora(rank: int = 8, *, num_unfrozen: int | bool = True, learning_rate: float = 1e-3, epochs: int = 20) -> Strategy:
    """Probe, then train low-rank updates of the attention's weights (LoRA, https://arxiv.org/abs/2106.09685).

    Afterwards the updates are added to the weights, so that the model has no extra layers. For encoders of KerasHub.

    Keras factorizes the update of a weight `(dim, heads, head_dim)` into `(dim, heads, rank)` and `(rank, head_dim)`:
    each head has a first factor of its own, and all heads share the second one. So the update of one head has the rank
    r of the paper, and the update of the whole matrix `(dim, heads * head_dim)` a rank of at most `heads * rank`,
    where the paper has r. The paper's factor alpha / r is 1.

    Args:
        rank: Rank r of the update of each head.
        num_unfrozen: The top blocks that get them; True for all.
        learning_rate: Of the additions.
        epochs: At most.

    Raises:
        ValueError: If a number is out of its range; see `Phase`.

    Example:
        >>> lora(4).phases[1].lora_rank
        4
    """
    if rank < 1:
        raise ValueError(f"Cannot add weights of rank {rank}: pass 1 or more.")
    phase = Phase(name="lora", unfreeze=num_unfrozen, lora_rank=rank, learning_rate=learning_rate, epochs=epochs)
    return _after_probe(f"lora({rank})", phase)


def contrastive(num_unfrozen: int, *, learning_rate: float = 1e-4, steps: int = 40) -> Strategy:
    """Draw examples of a class together and push classes apart in the top blocks, then probe; for few examples.

    Supervised contrastive learning (https://arxiv.org/abs/2004.11362), which serves as SetFit does.

    Args:
        num_unfrozen: The top blocks that train; with few classes and few examples, all layers.
        learning_rate: Of these.
        steps: Batches in all.

    Raises:
        ValueError: If a number is out of its range; see `Phase`.

    Example:
        >>> [phase.name for phase in contrastive(2).phases]
        ['contrastive', 'probe']
    """
    phase = Phase(
        name="contrastive",
        unfreeze=num_unfrozen,
        objective="contrastive",
        learning_rate=learning_rate,
        steps=steps,
        batch_size=64,
    )
    return Strategy(name=f"contrastive({num_unfrozen})", phases=(phase, _PROBE))


def accelerate(strategy: Strategy | str, *, mixed_precision: bool = False, jit_compile: bool = False) -> Strategy:
    """The same strategy, its phases in epochs faster on a device that is made for it, such as a GPU.

    Args:
        strategy: Strategy, or its text as `tfembed train --strategy` takes it, such as `"lp_ft:1"`.
        mixed_precision: Whether the encoder computes in bfloat16 while it trains; see `Phase`.
        jit_compile: Whether XLA compiles it; see `Phase`.

    Example:
        >>> [phase.mixed_precision for phase in accelerate(lp_ft(1), mixed_precision=True).phases]
        [False, True, False]
    """

    def accelerated(phase: Phase) -> Phase:
        low, compiled = phase.mixed_precision or mixed_precision, phase.jit_compile or jit_compile
        return phase if phase.solve else replace(phase, mixed_precision=low, jit_compile=compiled)

    strategy = as_strategy(strategy)
    return replace(strategy, phases=tuple(map(accelerated, strategy.phases)))


def as_strategy(value: Any) -> Strategy:
    """Return a strategy as it is, or the one that a text such as `"lp_ft:1"` names.

    Raises:
        ValueError: If it is neither.

    Example:
        >>> as_strategy("lp_ft:1") == as_strategy(lp_ft(1))
        True
    """
    if isinstance(value, str):
        return parse_strategy(value)
    if isinstance(value, Strategy):
        return value
    called = f" Call it: te.{value.__name__}(...)." if callable(value) and value in _ALL else ""
    raise ValueError(
        f"The strategy is of type {type(value).__name__}.{called} Expected a Strategy such as te.lp_ft(1), or its text "
        "'lp_ft:1'."
    )


def parse_strategy(text: str) -> Strategy:
    """Read a strategy such as `lp_ft:2`, `only_block:stem`, `linear_probe:3,5` with depths, or a file of `to_json`.

    Raises:
        ValueError: If there is no such strategy.

    Example:
        >>> parse_strategy("lp_ft:2").name
        'lp_ft(2)'
    """
    if text.endswith(".json"):
        return strategy_from_json(Path(text).read_text(encoding="utf-8"))
    name, colon, argument = text.partition(":")
    numbers = argument.split(",")
    if name in _COUNTED and argument.isdecimal():
        return _COUNTED[name](int(argument))
    if name in _PLAIN and not colon:
        return _PLAIN[name]()
    if name == "only_block" and argument:
        return only_block(int(argument) if argument.removeprefix("-").isdecimal() else argument)
    if name == "linear_probe" and all(number.isdecimal() for number in numbers):
        return linear_probe(depths=tuple(map(int, numbers)))
    near = [f"{near}:{argument or 'K'}" if near not in _PLAIN else near for near in nearest_names(name, _NAMES)]
    question = f" Did you mean {' or '.join(near)}?" if near else ""
    raise ValueError(f"Unknown strategy {text!r}.{question} Pass {STRATEGY_TEXTS}.")


_PLAIN: dict[str, Callable[[], Strategy]] = {
    "linear_probe": linear_probe,
    "full": full,
    "biases": biases,
    "norms": norms,
}
_COUNTED: dict[str, Callable[[int], Strategy]] = {
    "top_blocks": top_blocks,
    "gradual": gradual,
    "lp_ft": lp_ft,
    "lora": lora,
    "contrastive": contrastive,
}
_NAMES = (*_PLAIN, *_COUNTED, "only_block")
_ALL = (*_PLAIN.values(), *_COUNTED.values(), only_block)
STRATEGY_TEXTS = (
    f"{', '.join(_PLAIN)}, {', '.join(f'{name}:K' for name in _COUNTED)} with K a number, only_block:K or :NAME, "
    "linear_probe:K,... with depths, or a .json file with a strategy"
)


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
    except json.JSONDecodeError as error:
        raise ValueError(f"This is no strategy as to_json writes it: {error}.") from error
    if not isinstance(values, dict) or values.keys() != {"name", "phases"}:
        found = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"This is no strategy as to_json writes it: found {found}, expected the fields name, phases.")
    if not isinstance(values["phases"], list):
        raise ValueError(f"The strategy has phases {values['phases']!r}: expected a list of phases.")
    return Strategy(name=values["name"], phases=tuple(map(phase_from_dict, values["phases"])))


def _after_probe(name: str, *phases: Phase) -> Strategy:
    """The probe first, so that the encoder is not bent to a random head; its like last, on the features that came."""
    return Strategy(name=name, phases=(_PROBE, *phases, _SOLVE))


def _check_unfreezes(name: str, num_unfrozen: int) -> None:
    """Check that a strategy that fine-tunes has a block to do it with."""
    if num_unfrozen is not True and num_unfrozen == 0:
        raise ValueError(f"{name}({num_unfrozen}) fine-tunes no block: pass 1 or more, or take linear_probe.")
