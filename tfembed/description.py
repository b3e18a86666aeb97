"""Say in words what a strategy does to an encoder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tfembed.encoders.batch_norm import batch_norm_in_words
from tfembed.encoders.forward import check_cut
from tfembed.encoders.freezing import trained_as_before
from tfembed.encoders.low_rank import low_rank_layers, num_added
from tfembed.encoders.pooling import check_depths
from tfembed.phases import Phase
from tfembed.saved_model.graph import CutError

if TYPE_CHECKING:
    from tfembed.encoders.encoder import Encoder
    from tfembed.strategies import Strategy


def describe(strategy: Strategy, encoder: Encoder) -> str:
    """Say, phase by phase, what trains, how many of the encoder's values, and what is computed only once.

    Args:
        strategy: What to say it of.
        encoder: It is left as it was.

    Raises:
        ValueError: If a phase unfreezes what the encoder does not have.
    """
    check_depths(strategy.phases[0].depths, len(encoder.blocks))
    with trained_as_before(encoder):
        lines = [f"  {i} {phase.name}: {_phase(phase, encoder)}" for i, phase in enumerate(strategy.phases, 1)]
    return "\n".join([strategy.name, *lines])


def _phase(phase: Phase, encoder: Encoder) -> str:
    encoder.unfreeze(phase.unfreeze)
    statistics = batch_norm_in_words(phase.batch_norm, encoder)
    if phase.lora_rank:
        layers = low_rank_layers(encoder)
        count = sum(num_added(layer, phase.lora_rank) for layer in layers)
        what = f"additions of rank {phase.lora_rank} to {len(layers)} layers of attention ({count:,} values)"
    else:
        count = sum(math.prod(variable.shape) for variable in encoder.trainable_variables)
        trained = [block.name for block in encoder.blocks if any(v.trainable for v in block.variables)]
        what = f"{_span(trained)} ({count:,} values)"
    work = _work(phase, what, encoder.num_frozen == len(encoder.blocks))
    return f"{work}{statistics}; computed once: {_cached(phase, encoder)}"


def _work(phase: Phase, what: str, all_frozen: bool) -> str:
    if all_frozen and phase.solve:
        return "only the head trains, solved to its optimum"
    rate = f"at learning rate {phase.learning_rate:g}"
    if phase.layer_decay < 1:
        rate += f", times {phase.layer_decay:g} for each block further down"
    if phase.objective == "contrastive":
        return f"{what} train for {phase.steps} steps {rate}{_how(phase)}, on batches drawn by class; the head rests"
    who = "only the head trains" if all_frozen else f"{what} and the head train"
    return f"{who} for up to {phase.epochs} epochs {rate}{_how(phase)}"


def _how(phase: Phase) -> str:
    return ", in bfloat16" * phase.mixed_precision + ", compiled by XLA" * phase.jit_compile


def _cached(phase: Phase, encoder: Encoder) -> str:
    names, cut = [block.name for block in encoder.blocks], encoder.num_frozen
    if cut == 0:
        return "nothing of the encoder"
    try:
        check_cut(encoder)
    except CutError as error:
        return f"nothing of the encoder, which is run whole: {error}"
    if cut < len(names):
        return f"{_span(names[:cut])}"
    if phase.depths:
        return f"the embeddings, joined with the features of depths {', '.join(map(str, phase.depths))}"
    return "the embeddings"


def _span(names: list[str]) -> str:
    """Names in a row, in short."""
    return ", ".join(names) if len(names) <= 2 else f"{names[0]} to {names[-1]}"
