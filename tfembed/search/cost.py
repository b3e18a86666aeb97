"""What a candidate costs, roughly and before it is run: so that cheap ones can go first."""

from tfembed.phases import Phase
from tfembed.search.candidate import Candidate

_HEAD = 0.02  # an epoch of the head alone, against one of the whole encoder


def expected_cost(candidate: Candidate, num_blocks: int, num_examples: int) -> float:
    """Epochs of the whole encoder that a candidate takes about as long as.

    Args:
        candidate: What would be trained.
        num_blocks: Of its encoder.
        num_examples: To train on.

    Example:
        >>> from tfembed.heads import linear_head
        >>> from tfembed.strategies import full, lp_ft
        >>> one, all = (Candidate(encoder="e", strategy=s, head=linear_head()) for s in (lp_ft(1), full()))
        >>> expected_cost(one, 7, 100) < expected_cost(all, 7, 100)
        True
    """
    return sum(_cost(phase, num_blocks, num_examples) for phase in candidate.strategy.phases)


def _cost(phase: Phase, num_blocks: int, num_examples: int) -> float:
    if phase.unfreeze in (False, 0, ()):
        return _HEAD if phase.solve else _HEAD * phase.epochs
    epochs = phase.epochs if phase.objective == "labels" else phase.steps * phase.batch_size / num_examples
    return epochs * _share(phase, num_blocks)


def _share(phase: Phase, num_blocks: int) -> float:
    """The share of the blocks that cannot be computed once."""
    if isinstance(phase.unfreeze, bool | str):
        return 1.0
    if isinstance(phase.unfreeze, int):
        return min(1.0, phase.unfreeze / num_blocks)
    places = [place % num_blocks for place in phase.unfreeze if isinstance(place, int)]
    return 1 - min(places, default=0) / num_blocks
