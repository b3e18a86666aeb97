"""Outcome: what the winner says of examples, on the test part and on what it was chosen by."""

from dataclasses import dataclass

import numpy as np
from safetensors.numpy import load

from tfembed.data import Dataset
from tfembed.search.about import describe_parts
from tfembed.search.choice import TEST, choose
from tfembed.search.folds import make_folds
from tfembed.search.plan import differences
from tfembed.search.study import Study
from tfembed.search.trial import Trial


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What was said of some examples.

    Attributes:
        part: `"test"` or `"validation"`.
        labels: As in `Split.labels`.
        outputs: As in `Predictions.probabilities`.
        examples: As in `Split.examples`; None where the data are not at hand.
    """

    part: str
    labels: np.ndarray
    outputs: np.ndarray
    examples: np.ndarray | None = None


def winner_of(study: Study) -> Trial | None:
    """The trial that won, or is best so far; None where none has come to its end."""
    if study.result is not None:
        return next(trial for trial in study.trials if trial.key == study.result["trial"])
    try:
        return choose(study.trials, study.plan)
    except ValueError:
        return None


def on_test(study: Study) -> Outcome | None:
    """What the winner, trained on all else, says of the test part; None where there is none, or not yet."""
    path = study.folder / TEST
    if study.result is None or not study.result["test"] or not path.exists():
        return None
    known = load(path.read_bytes())
    return Outcome(part="test", labels=known["labels"], outputs=known["outputs"])


def on_validation(study: Study, trial: Trial, data: Dataset | None) -> Outcome | None:
    """What a trial says of the validation part, or of all folds; None where nothing was kept.

    Args:
        study: The trial's.
        trial: One that ran to its end.
        data: What was searched on, as `check_data` accepts it; None where it is not at hand.
    """
    known = study.predictions(trial)
    if not known:
        return None
    examples = None
    if data is not None:
        folds = make_folds(data, study.plan.folds, study.plan.seed)
        examples = np.concatenate([each.validation.examples for each in folds.datasets])
    return Outcome(part="validation", labels=known["labels"], outputs=known["outputs"], examples=examples)


def check_data(study: Study, data: Dataset) -> None:
    """Check that a study was searched on some data.

    Raises:
        ValueError: If it was not, saying what differs.
    """
    differing = differences(study.description["data"], describe_parts(data), "data")
    if differing:
        raise ValueError(f"{study.folder} was searched on other data: {'; '.join(differing)}. Pass the same.")
