"""When a trial cannot win any more: the median rule."""

from collections.abc import Sequence
from statistics import median

_GRACE = 2  # epochs that every trial may have
_FEWEST = 3  # trials to compare with


class Stopped(Exception):
    """A trial was stopped, since it could not win any more."""


class Diverged(ValueError):
    """A trial's loss is no number any more."""


def why_stop(curve: Sequence[float], others: Sequence[Sequence[float]]) -> str | None:
    """Say why a trial should stop, by the median rule of Vizier, or None if it should go on.

    A trial is stopped after an epoch if its lowest validation loss so far is above the median of what the others had
    reached by then. The first 2 epochs are free, and it takes 3 others to compare with.

    Args:
        curve: The trial's validation losses, epoch by epoch, over all its phases.
        others: Those of trials that came before.

    Example:
        >>> others = [[1.0, 0.9], [1.1, 0.8], [1.0, 0.7]]
        >>> why_stop([1.2, 1.0], others)
        'after 2 epochs its validation loss was 1.0000 at best, the median of 3 other trials 0.8000'
        >>> why_stop([1.2, 0.75], others) is None
        True
    """
    done = len(curve)
    reached = [min(other[:done]) for other in others if len(other) >= done]
    if done < _GRACE or len(reached) < _FEWEST or not min(curve) > median(reached):
        return None
    return (
        f"after {done} epochs its validation loss was {min(curve):.4f} at best, the median of {len(reached)} other "
        f"trials {median(reached):.4f}"
    )
