"""The parts of a report, on numbers that can be checked by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tfembed as te
from tfembed.report.axes import linear_axis, log_axis
from tfembed.report.calibration import calibrate
from tfembed.report.confusion import confused_pairs, count_confusions, measure_classes
from tfembed.report.errors import worst_mistakes
from tfembed.report.outcome import Outcome
from tfembed.report.plots import best_by_depth, cost_chart, curves_chart, depth_of, in_the_running, unbeaten
from tfembed.report.training import phase_stories
from tfembed.search.candidate import Candidate
from tfembed.search.leaderboard import Row
from tfembed.search.plan import Plan
from tfembed.search.trial import Trial

PLAN = Plan(task="classification")


def row(rank: int, score: float, trained: int) -> Row:
    fixed: dict[str, Any] = {"baseline": False, "state": "completed", "reason": None, "spread": None, "pareto": False}
    return Row(
        rank=rank, name=str(rank), score=score, trained_parameters=trained, seconds=1, export_bytes=1, key="", **fixed
    )


def trial(strategy: te.Strategy, frozen: list[int], accuracy: float, **phase: Any) -> Trial:
    """A trial of an encoder of four blocks."""
    result = {"trained_parameters": 10, "seconds": 1.0, "history": {}, "not_cut": None, "kept": True} | phase
    return Trial(
        key=strategy.name,
        name=strategy.name,
        state="completed",
        candidate=Candidate(encoder="four", strategy=strategy, head=te.linear_head()).to_dict(),
        metrics={"accuracy": accuracy},
        executions=({"seed": 0, "fold": 0, "metrics": {}, "phases": [result | {"num_frozen": k} for k in frozen]},),
    )


@pytest.mark.parametrize("values", [[0.5, 0.93], [1e-5, 3e-5], [-3, 1200], [7.0], [0.1 + 0.2, 0.3]])
def test_a_linear_axis_holds_its_values(values: list[float]) -> None:
    """Every value lies between two ticks, of which there are few and which differ."""
    axis = linear_axis("", values)
    assert all(-1e-9 < axis.place(value) < 1 + 1e-9 for value in values)
    assert 2 <= len(axis.ticks) <= 7
    assert len({text for _, text in axis.ticks}) == len(axis.ticks)


def test_a_log_axis_holds_its_values() -> None:
    """Each decade takes the same room."""
    axis = log_axis("", [30, 40_000])
    assert [axis.place(each) for each in (10, 1000, 100_000)] == pytest.approx([0, 0.5, 1])


def test_calibration_by_hand() -> None:
    """Two decisions at 0.95, one of them wrong, and two at 0.55, both right: (0.45 + 0.45) / 2."""
    outputs = np.array([[0.95, 0.05], [0.05, 0.95], [0.55, 0.45], [0.45, 0.55]])
    found = calibrate("classification", np.array([0, 0, 0, 1]), outputs)
    assert [(b.low, b.count, b.accuracy) for b in found.bins] == [(0.5, 2, 1.0), (0.9, 2, 0.5)]
    assert found.error == pytest.approx(0.45)
    assert (found.confidence, found.accuracy) == (pytest.approx(0.75), 0.75)


def test_who_is_always_sure_and_right_is_calibrated() -> None:
    """Confidence 1 is in the last bin."""
    found = calibrate("classification", np.array([1, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert (found.error, found.bins[0].high) == (0.0, 1.0)


def test_several_labels_are_decisions_each() -> None:
    """A label that is rightly left out counts as right."""
    found = calibrate("multi_label", np.array([[1.0, 0.0]]), np.array([[0.8, 0.3]]))
    assert sum(b.count for b in found.bins) == 2
    assert found.accuracy == 1.0


def test_confusions_by_hand() -> None:
    """Rows are true classes; pairs come by how often; a class that is never said has precision 0."""
    labels, said = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 1])
    counts = count_confusions(labels, np.eye(3)[said])
    assert counts == [[1, 2, 0], [1, 1, 0], [0, 1, 0]]
    pairs = [(pair.truth, pair.said, pair.count, round(pair.share, 2)) for pair in confused_pairs(counts, "abc")]
    assert pairs == [("a", "b", 2, 0.67), ("c", "b", 1, 1.0), ("b", "a", 1, 0.5)]
    worst = measure_classes("classification", labels, np.eye(3)[said], "abc")[0]
    assert (worst.name, worst.count, worst.precision, worst.recall) == ("c", 1, 0.0, 0.0)


def test_the_worst_error_is_the_surest_one() -> None:
    """Errors come by how little the truth was given; what is right is none."""
    outputs = np.array([[0.4, 0.6], [0.05, 0.95], [0.9, 0.1]])
    texts = np.array(["unsure", "sure", "right"], object)
    outcome = Outcome(part="validation", labels=np.array([0, 0, 0]), outputs=outputs, examples=texts)
    mistakes, count = worst_mistakes("classification", outcome, ["a", "b"])
    assert count == 2
    assert [(each.text, each.truth, each.said, each.of_truth) for each in mistakes] == [
        ("sure", "a", "b", 0.05),
        ("unsure", "a", "b", 0.4),
    ]


def test_a_long_text_is_shortened() -> None:
    """A text of a thousand characters does not fill the page."""
    outcome = Outcome(
        part="test", labels=np.array([0]), outputs=np.array([[0.1, 0.9]]), examples=np.array(["x" * 1000], object)
    )
    (mistake,), _ = worst_mistakes("classification", outcome, ["a", "b"])
    assert mistake.text == "x" * 400 + " ..."


def test_a_picture_that_is_gone(tmp_path: Any) -> None:
    """A file that cannot be read any more leaves no picture, and fails nothing."""
    files = np.array([tmp_path / "gone.png"], object)
    outcome = Outcome(part="test", labels=np.array([0]), outputs=np.array([[0.1, 0.9]]), examples=files)
    (mistake,), _ = worst_mistakes("classification", outcome, ["a", "b"])
    assert (mistake.text, mistake.picture) == (None, None)


def test_the_furthest_target_is_the_worst() -> None:
    """Targets come by how far off they are."""
    outcome = Outcome(part="test", labels=np.array([1.0, 2.0]), outputs=np.array([[1.5], [5.0]]))
    mistakes, _ = worst_mistakes("regression", outcome, [])
    assert [(each.truth, each.said, each.confidence) for each in mistakes] == [("2", "5", None), ("1", "1.5", None)]


def test_the_front_has_what_nothing_as_cheap_beats() -> None:
    """The best row is on it, then each one that is cheaper than all better ones; of equals the cheapest."""
    rows = [row(1, 0.9, 100), row(2, 0.9, 50), row(3, 0.8, 70), row(4, 0.8, 20), row(5, 0.5, 30)]
    assert [each.rank for each in unbeaten(rows, lambda each: each.trained_parameters)] == [2, 4]


def test_scores_that_are_far_off_do_not_press_the_others_together() -> None:
    """A diverged trial is no reason for an axis from 0; where all are spread, all are on it."""
    assert in_the_running(PLAN, [0.02, 0.90, 0.91, 0.92]) == [0.90, 0.91, 0.92]
    assert in_the_running(PLAN, [0.5, 0.6, 0.7, 0.9]) == [0.5, 0.6, 0.7, 0.9]


def test_depth_is_how_far_down_it_trained() -> None:
    """The lowest block of any phase counts; what trains biases alone counts for no line; the best of a depth does."""
    trials = [
        trial(te.linear_probe(), [4], 0.5),
        trial(te.lp_ft(2), [4, 2, 4], 0.7),
        trial(te.top_blocks(2), [2, 4], 0.6),
        trial(te.biases(), [4, 0, 4], 0.9),
    ]
    assert [depth_of(each, 4) for each in trials] == [0, 2, 2, 4]
    assert best_by_depth(trials, PLAN, {"four": 4}) == {0: 0.5, 2: 0.7}


def test_no_staircase_goes_through_what_was_stopped() -> None:
    """A trial that was stopped has the score of some folds alone: it is drawn, but never the best of its cost."""
    rows = [row(1, 0.9, 100), row(2, 0.7, 50), replace(row(3, 0.8, 20), state="stopped")]
    chart = cost_chart(rows, PLAN, lambda each: each.trained_parameters, "values trained")
    assert chart is not None
    assert [point.series for point in chart.points] == [0, 0, None]
    assert cost_chart(rows[2:], PLAN, lambda each: each.trained_parameters, "values trained") is None


def test_what_was_stopped_is_the_best_of_no_depth() -> None:
    """The best of a depth is one of those that ran to their end."""
    trials = [trial(te.lp_ft(2), [4, 2, 4], 0.7), replace(trial(te.top_blocks(2), [2, 4], 0.8), state="stopped")]
    assert best_by_depth(trials, PLAN, {"four": 4}) == {2: 0.7}


@pytest.mark.parametrize(
    ("strategy", "frozen", "expected"),
    [
        (te.linear_probe(), [4], ["the head; solved to its optimum; the embeddings"]),
        (te.linear_probe(depths=(2,)), [4], ["the head; solved to its optimum; the embeddings, joined with depths 2"]),
        (te.full(), [0], ["all blocks and the head; 2 of at most 20 epochs, rate 3e-05; nothing of the encoder"]),
        (te.top_blocks(3), [1], ["two to four and the head; 2 of at most 20 epochs, rate 0.0001; one"]),
        (te.only_block(1), [4, 1], ["two and the head; 2 of at most 20 epochs, rate 0.0001; one"]),
        (
            te.norms(),
            [4, 0],
            ["norms of all blocks and the head; 2 of at most 20 epochs, rate 0.001; nothing of the encoder"],
        ),
        (te.contrastive(1), [3], ["four; 40 steps on batches drawn by class, rate 0.0001; one to three"]),
    ],
    ids=lambda value: value.name if isinstance(value, te.Strategy) else "",
)  # fmt: skip
def test_phases_in_words(strategy: te.Strategy, frozen: list[int], expected: list[str]) -> None:
    """The last phase that ran says what trained, for how long, and what was computed once."""
    history = {} if strategy.name.startswith("linear") else {"loss": [1.0, 0.5]}
    blocks = [{"name": name, "parameters": 1} for name in ("one", "two", "three", "four")]
    story = phase_stories(trial(strategy, frozen, 0.5, history=history), {"four": {"blocks": blocks}})[-1]
    assert [f"{story.trained}; {story.how}; {story.once}"] == expected
    assert story.remark == ""


@pytest.mark.parametrize(
    ("task", "title"),
    [("classification", "validation loss"), ("regression", "validation loss, targets standardized")],
)
def test_curves_say_what_they_measure(task: str, title: str) -> None:
    """The losses of a regression are not in the unit of its targets, and the axis says so."""
    found = trial(te.full(), [0], 0.5, history={"val_loss": [1.0, 0.5]})
    chart = curves_chart(Plan(task=task), [replace(row(1, 0.5, 10), key=found.key)], {found.key: found})
    assert chart is not None
    assert chart.y.title == title


def test_what_was_undone_is_said() -> None:
    """A phase that did worse and was taken back says so, with both losses, and why an encoder was not cut."""
    losses = {"loss": 0.62, "earlier_loss": 0.29, "judged_on": "validation", "judged_by": "earlier weights"}
    found = trial(te.linear_probe(), [4], 0.5, kept=False, not_cut="it is one block", name="probe", **losses)
    (story,) = phase_stories(found, {"four": {"blocks": []}})
    assert story.remark == "undone: validation loss 0.62, before 0.29; not cut: it is one block"
    assert found.undone == "probe undone"
