"""The lower part of the page: what the winner says of examples, and where it is wrong."""

from typing import Any

from tfembed.data import Dataset
from tfembed.report.calibration import calibrate
from tfembed.report.confusion import confused_pairs, count_confusions, measure_classes
from tfembed.report.errors import worst_mistakes
from tfembed.report.outcome import Outcome, on_test, on_validation
from tfembed.report.plots import reliability_chart, targets_chart
from tfembed.search.leaderboard import ties_in_words
from tfembed.search.study import Study
from tfembed.search.trial import Trial

_MOST_CLASSES = 40  # in a matrix
_MOST_PAIRS = 12
_SMALL = 40  # pixels a side, that are shown as squares


def verdict(study: Study, winner: Trial, data: Dataset | None, missing: str) -> dict[str, Any]:
    """The sections on the winner, by name: `result`, `calibration`, `errors`; None for those that say nothing.

    Args:
        study: The winner's.
        winner: See `winner_of`.
        data: What was searched on; None where it is not at hand.
        missing: Why it is not.
    """
    held_out = on_validation(study, winner, data)
    outcome = on_test(study) or held_out
    if outcome is None or held_out is None:
        return {"result": None, "calibration": None, "errors": None}
    return {
        "result": _result(study, outcome),
        "calibration": None if study.plan.task == "regression" else _calibration(study, outcome),
        "errors": _errors(study, held_out, missing if data is None else ""),
    }


def _result(study: Study, outcome: Outcome) -> dict[str, Any]:
    task, names = study.plan.task, study.description["data"]["classes"]
    if outcome.part == "test":
        title = "The winner on the test part"
        about = (
            f"{len(outcome.labels):,} examples that nothing was trained on or chosen by; the model is that of the "
            "first seed, trained on all others."
        )
    else:
        title = "The winner on the validation part"
        about = (
            f"{len(outcome.labels):,} examples that it was chosen by: there is no test part, or it is not reached yet."
        )
    if ties := ties_in_words(study.leaderboard):
        about += f" By a paired test on the validation examples it is {ties}."
    found: dict[str, Any] = {"title": title, "about": about, "targets": None, "counts": None, "pairs": None}
    found["of_classes"] = None
    if task == "regression":
        return found | {"targets": targets_chart(outcome)}
    found["of_classes"] = measure_classes(task, outcome.labels, outcome.outputs, names)[:_MOST_PAIRS]
    if task == "multi_label":
        return found
    counts = count_confusions(outcome.labels, outcome.outputs)
    if len(names) > _MOST_CLASSES:
        found["about"] += f" {len(names)} classes are too many for a matrix: these are the pairs that are confused."
    return found | {
        "counts": counts if len(names) <= _MOST_CLASSES else None,
        "pairs": confused_pairs(counts, names)[:_MOST_PAIRS],
    }


def _calibration(study: Study, outcome: Outcome) -> dict[str, Any]:
    found = calibrate(study.plan.task, outcome.labels, outcome.outputs)
    bias = found.confidence - found.accuracy
    leaning = (
        "too sure of itself" if bias > 0.02 else "not sure enough" if bias < -0.02 else "about as sure as it should be"
    )
    what = "each label of each example" if study.plan.task == "multi_label" else "the likeliest class"
    about = (
        f"On the {outcome.part} part, of {what}: it is right {found.accuracy:.1%} of the time and says "
        f"{found.confidence:.1%}, so it is {leaning}. Expected calibration error {found.error:.3f}, in 10 bins; bars "
        "that end on the dashed line are honest, pale ones hold few decisions."
    )
    return {"found": found, "about": about, "chart": reliability_chart(found)}


def _errors(study: Study, outcome: Outcome, missing: str) -> dict[str, Any] | None:
    task, names = study.plan.task, study.description["data"]["classes"]
    mistakes, count = worst_mistakes(task, outcome, names)
    examples = outcome.examples
    if task == "regression":
        about = f"The {len(mistakes)} furthest off, of {len(outcome.labels):,}"
    else:
        about = f"{count:,} of {len(outcome.labels):,} are wrong" + (
            f"; these {len(mistakes)} most" * (count > len(mistakes))
        )
    kind = study.description["about"]["data"]["kind"]
    return {
        "about": f"{about}. They are of the validation part, of the model that was trained without it: the test part "
        "stays unread, so that you may learn from these.",
        "missing": missing and f"The {kind}s are not shown: {missing}",
        "mistakes": mistakes,
        "pictures": kind == "image",
        "small": kind == "image" and examples is not None and examples.ndim > 1 and max(examples.shape[1:3]) <= _SMALL,
    }
