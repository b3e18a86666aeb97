"""The choice of the winner, and the files that say what it came to; read without TensorFlow."""

from collections.abc import Sequence

import numpy as np

from tfembed.data import Dataset, Split
from tfembed.search.leaderboard import ranking
from tfembed.search.plan import Plan
from tfembed.search.trial import Trial

RESULT, TEST, EMBEDDED = "result.json", "test.safetensors", "embeddings.safetensors"
_MOST_EMBEDDED = 1_000  # examples that a projector shows with ease


def choose(trials: Sequence[Trial], plan: Plan) -> Trial:
    """The best of the trials and baselines that ran to their end and have a model.

    Raises:
        ValueError: If there is none; the message says why the first one failed.
    """
    eligible = [trial for trial in trials if trial.state == "completed" and trial.candidate is not None]
    if not eligible:
        reasons = [f"{trial.name}: {trial.reason}" for trial in trials if trial.reason]
        raise ValueError(f"No trial ran to its end. {reasons[0] if reasons else ''}")
    return min(eligible, key=lambda trial: ranking(trial, plan))


def embedded_part(data: Dataset) -> Split:
    """The examples whose embeddings are kept: the first of the validation part, or of all but the test part."""
    part = data.validation if len(data.validation) else data.train
    return part.subset(np.arange(min(len(part), _MOST_EMBEDDED)))
