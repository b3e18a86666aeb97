"""A score below which an input is none of the classes, and what it costs."""

from pathlib import Path

import keras
import numpy as np
import pytest
from tiny_models import write_text_module

import tfembed as te
from tfembed import rejection

NONE = np.zeros([0, 8, 8], "uint8")


def classifier() -> keras.Model:
    return te.build_image_classifier(te.load_encoder("glyphs"), ["a", "b"])


def patch_scores(patch: pytest.MonkeyPatch, scores: dict[int, np.ndarray]) -> None:
    """Let the likeliest class of each example have a given score; examples are known by their number."""

    def said(_: keras.Model, examples: np.ndarray) -> te.Predictions:
        best = scores[len(examples)]
        probabilities = np.stack([best, 1 - best], axis=1)
        return te.Predictions(labels=(), probabilities=probabilities, logits=probabilities)

    patch.setattr(rejection, "predict", said)


def images(count: int) -> np.ndarray:
    return np.zeros([count, 8, 8], "uint8")


@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_rejects_better(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Of all thresholds, none keeps and rejects a larger share in all; many scores are equal, within and across."""
    rng = np.random.default_rng(seed)
    scores = {30: np.round(rng.beta(5, 2, 30), 1), 12: np.round(rng.beta(2, 3, 12), 1)}
    scores = {n: np.maximum(each, 1 - each) for n, each in scores.items()}
    patch_scores(monkeypatch, scores)
    found = te.rejection_threshold(classifier(), images(30), images(12))
    every = np.concatenate([np.unique(np.concatenate(list(scores.values()))), [0.0, 1.0], np.linspace(0, 1, 201)])
    best = max(np.mean(scores[30] >= t) + np.mean(scores[12] < t) for t in every)
    assert np.mean(scores[30] >= found) + np.mean(scores[12] < found) == pytest.approx(best)


@pytest.mark.parametrize(("inside", "outside", "expected"), [(0.9, 0.6, 0.75), (0.6, 0.9, 0.0)])
def test_the_extreme_thresholds(
    monkeypatch: pytest.MonkeyPatch, inside: float, outside: float, expected: float
) -> None:
    """It lies between two scores, in the middle; where nothing is told apart, everything is kept."""
    patch_scores(monkeypatch, {2: np.full(2, inside), 3: np.full(3, outside)})
    assert te.rejection_threshold(classifier(), images(2), images(3)) == pytest.approx(expected)


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("num_outside", [0, 7])
def test_a_share_of_the_classes_is_kept(monkeypatch: pytest.MonkeyPatch, keep: float, num_outside: int) -> None:
    """At least the share that was asked for is kept, and with the next higher score it would not be."""
    rng = np.random.default_rng(0)
    inside = np.round(rng.uniform(0.5, 1, 40), 2)
    patch_scores(monkeypatch, {40: inside, 7: rng.uniform(0.5, 1, 7)})
    threshold = te.rejection_threshold(classifier(), images(40), images(num_outside), keep_in_scope=keep)
    assert np.mean(inside >= threshold) >= keep
    lowest_kept = inside[inside >= threshold].min()
    assert np.mean(inside > lowest_kept) < keep


def test_a_threshold_of_few_examples_rejects_what_is_lower(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all are to be kept, it lies just below the lowest score, and not at 0, where nothing is ever rejected."""
    patch_scores(monkeypatch, {12: np.linspace(0.9, 1.0, 12)})
    threshold = te.rejection_threshold(classifier(), images(12), keep_in_scope=0.95)
    assert threshold == pytest.approx(0.9, abs=1e-3)
    assert threshold < 0.9


def test_costs_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies below the threshold is rejected, what lies at it is not; shares are told with their intervals."""
    patch_scores(monkeypatch, {4: np.array([0.5, 0.6, 0.7, 0.8]), 3: np.array([0.6, 0.55, 0.9])})
    cost = te.measure_rejection(classifier(), 0.6, images(4), images(3))
    assert (cost.refused, cost.in_scope, cost.caught, cost.out_of_scope) == (1, 4, 1, 3)
    assert str(cost) == (
        "below a score of 0.6000: refuses 25.0 % of in-scope inputs (1 of 4; 5 to 70), "
        "catches 33.3 % of out-of-scope inputs (1 of 3; 6 to 79)"
    )
    alone = te.measure_rejection(classifier(), 0.6, images(4))
    assert str(alone) == "below a score of 0.6000: refuses 25.0 % of in-scope inputs (1 of 4; 5 to 70)"


def test_scores_are_those_of_the_model() -> None:
    """Where scores of both kinds of examples do not overlap, the threshold lies between them."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype("uint8")
    model = classifier()
    scores = te.predict(model, pixels).probabilities.max(axis=1)
    order = np.argsort(scores)
    threshold = te.rejection_threshold(model, pixels[order[30:]], pixels[order[:30]])
    assert scores[order[29]] < threshold < scores[order[30]]
    cost = te.measure_rejection(model, threshold, pixels[order[30:]], pixels[order[:30]])
    assert (cost.refused, cost.caught) == (0, 30)


@pytest.mark.parametrize(
    ("inside", "options", "message"),
    [
        (0, {}, "0 in-scope and 1 out-of-scope"),
        (1, {"keep_in_scope": 0.0}, r"keep_in_scope must be in \(0, 1\], but was 0.0"),
        (1, {"keep_in_scope": 95}, r"keep_in_scope must be in \(0, 1\], but was 95"),
    ],
)
def test_what_chooses_no_threshold_is_refused(inside: int, options: dict[str, float], message: str) -> None:
    """Without examples there is nothing to choose by, and a share is a share."""
    with pytest.raises(ValueError, match=message):
        te.rejection_threshold(classifier(), images(inside), images(1), **options)


def test_nothing_out_of_scope_needs_a_share() -> None:
    """In-scope examples alone say nothing without the share of them to keep; without any, nothing is measured."""
    with pytest.raises(ValueError, match=r"1 in-scope and 0 out-of-scope examples.*keep_in_scope"):
        te.rejection_threshold(classifier(), images(1))
    with pytest.raises(ValueError, match="no in-scope example"):
        te.measure_rejection(classifier(), 0.5, NONE)


def test_a_regressor_rejects_nothing(tmp_path: Path) -> None:
    """There is no class to reject."""
    regressor = te.build_text_regressor(te.load_encoder(write_text_module(tmp_path / "module")))
    with pytest.raises(ValueError, match="regression"):
        te.rejection_threshold(regressor, ["a"], ["b"])
