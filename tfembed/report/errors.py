"""The worst errors: examples that a model is most wrong about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfembed.report.outcome import Outcome
from tfembed.report.pictures import data_uri

_MOST = 24
_LONGEST = 400  # characters of a text


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """An example that was got wrong.

    Attributes:
        truth: What it is.
        said: What it was taken for.
        confidence: The probability that was given to that; None for targets and for several labels.
        of_truth: The probability that was given to the truth; likewise.
        text: The text, maybe shortened; None for pictures, or where the data are not at hand.
        picture: The picture as a data URI; None for texts, or where it cannot be had.
    """

    truth: str
    said: str
    confidence: float | None
    of_truth: float | None
    text: str | None
    picture: str | None


def worst_mistakes(task: str, outcome: Outcome, names: Sequence[str]) -> tuple[tuple[Mistake, ...], int]:
    """The examples that a model is most wrong about, and how many it got wrong.

    Args:
        task: As in `Dataset.task`. Of targets all count as wrong, the furthest off first.
        outcome: What was said of which examples.
        names: Of the classes.
    """
    losses, wrong = _losses(task, outcome)
    worst = np.flatnonzero(wrong)
    worst = worst[np.argsort(-losses[worst], kind="stable")][:_MOST]
    return tuple(_mistake(task, outcome, names, int(place)) for place in worst), int(wrong.sum())


def _losses(task: str, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """How wrong each example is, and whether it counts as wrong."""
    labels, outputs = outcome.labels, outcome.outputs
    if task == "regression":
        return np.abs(outputs[:, 0] - labels), np.ones(len(labels), bool)
    if task == "multi_label":
        likelihood = np.where(labels > 0.5, outputs, 1 - outputs)
        return -np.log(np.clip(likelihood, 1e-7, 1)).mean(axis=1), ((outputs >= 0.5) != (labels > 0.5)).any(axis=1)
    return 1 - outputs[np.arange(len(labels)), labels], outputs.argmax(axis=1) != labels


def _mistake(task: str, outcome: Outcome, names: Sequence[str], place: int) -> Mistake:
    label, output = outcome.labels[place], outcome.outputs[place]
    confidence = of_truth = None
    if task == "regression":
        truth, said = f"{label:.4g}", f"{output[0]:.4g}"
    elif task == "multi_label":
        truth, said = _joined(names, label > 0.5), _joined(names, output >= 0.5)
    else:
        truth, said = names[int(label)], names[int(output.argmax())]
        confidence, of_truth = float(output.max()), float(output[int(label)])
    text, picture = (None, None) if outcome.examples is None else _shown(outcome.examples[place])
    return Mistake(truth=truth, said=said, confidence=confidence, of_truth=of_truth, text=text, picture=picture)


def _joined(names: Sequence[str], chosen: np.ndarray) -> str:
    return ", ".join(names[i] for i in np.flatnonzero(chosen).tolist()) or "none"


def _shown(example: Any) -> tuple[str | None, str | None]:
    if isinstance(example, str):
        return (example if len(example) <= _LONGEST else f"{example[:_LONGEST]} ..."), None
    return None, data_uri(example)
