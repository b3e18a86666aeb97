"""Confidence intervals of metrics."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from tfembed.data import Split
from tfembed.intervals import confidence_intervals, describe_metric, describe_metrics, wilson_interval
from tfembed.predict import measure

TASKS = ("classification", "multi_label", "regression")


def predictions(task, count, seed=0):
    """Labels, and outputs that are right more often than not."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        labels = rng.normal(5.0, 2.0, count).astype("float32")
        outputs = (labels + rng.normal(0, 1.0, count)).astype("float32")[:, None]
    elif task == "multi_label":
        labels = (rng.random((count, 3)) < 0.4).astype("float32")
        outputs = np.clip(labels * 0.4 + rng.random((count, 3)) * 0.6, 0.01, 0.99).astype("float32")
    else:
        labels = rng.integers(0, 3, count)
        scores = np.eye(3)[labels] * 1.5 + rng.normal(0, 1.0, (count, 3))
        outputs = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype("float32")
    return Split(examples=np.array([str(i) for i in range(count)], object), labels=labels), outputs


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_has_an_interval_around_it(task):
    """Each metric of `evaluate` has bounds with the measured value between them."""
    split, outputs = predictions(task, 60)
    metrics, intervals = measure(task, split, outputs), confidence_intervals(task, split, outputs)
    assert set(intervals) == set(metrics)
    for name, (low, high) in intervals.items():
        assert low < metrics[name] < high


@pytest.mark.parametrize("task", TASKS)
def test_bootstrap_intervals_are_those_of_scipy(task):
    """Each metric measured anew on drawn examples has the percentiles that SciPy finds, but for the draws."""
    split, outputs = predictions(task, 40, seed=1)
    intervals = confidence_intervals(task, split, outputs)
    for name in set(intervals) - {"accuracy"}:

        def statistic(rows, name=name):
            return measure(task, split.subset(rows), outputs[rows])[name]

        expected = bootstrap(
            (np.arange(40),), statistic, vectorized=False, method="percentile", n_resamples=300, rng=5
        ).confidence_interval
        spread = expected.high - expected.low
        np.testing.assert_allclose(intervals[name], expected, atol=0.2 * spread)


def test_accuracies_have_wilsons_interval():
    """Its bounds are the two shares from which the measured one is 1.96 standard errors away."""
    for count, total in ((0, 5), (3, 4), (23, 24), (24, 24)):
        low, high = wilson_interval(count, total)
        for bound in (low, high):
            if 0 < bound < 1 and (count, bound) not in ((0, low), (total, high)):
                distance = abs(count / total - bound) / np.sqrt(bound * (1 - bound) / total)
                assert distance == pytest.approx(1.959964, abs=1e-5)
    assert wilson_interval(24, 24)[0] == pytest.approx(0.862, abs=1e-3)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_predictions_have_the_same_interval(task, monkeypatch):
    """The draws have a seed of their own, and however many are held at a time, they are as many."""
    split, outputs = predictions(task, 50)
    first = confidence_intervals(task, split, outputs)
    np.random.seed(3)
    assert confidence_intervals(task, split, outputs) == first
    monkeypatch.setattr("tfembed.intervals._CELLS", 50 * 64)
    for name, bounds in confidence_intervals(task, split, outputs).items():
        np.testing.assert_allclose(bounds, first[name], rtol=1e-12)


def test_more_examples_have_a_narrower_interval():
    """A hundred times the examples bring the bounds about ten times as near."""
    widths = []
    for count in (50, 5000):
        intervals = confidence_intervals("classification", *predictions("classification", count))
        widths.append({name: high - low for name, (low, high) in intervals.items()})
    for name, width in widths[0].items():
        assert width / widths[1][name] == pytest.approx(10, rel=0.4)


@pytest.mark.parametrize("task", TASKS)
def test_one_example_is_enough(task):
    """Of a single example, what can be said is said, without a warning; the spread of one target is nothing."""
    intervals = confidence_intervals(task, *predictions(task, 1))
    assert set(intervals) == set(measure(task, *predictions(task, 1))) - {"r2"}


def test_equal_targets_have_no_r2():
    """R2 of targets without a spread has no interval."""
    split = Split(examples=np.array(list("abc"), object), labels=np.ones(3, "float32"))
    assert "r2" not in confidence_intervals("regression", split, np.zeros((3, 1), "float32"))


def test_metrics_are_described_with_their_examples():
    """Accuracies are percentages with counts, other metrics are numbers; without an interval none is told."""
    assert describe_metric("accuracy", 1.0, None, 1200) == "accuracy 100.0 % (1,200 of 1,200)"
    assert describe_metric("root_mean_squared_error", 123456.789, (1.0, 2e6), 9) == (
        "root_mean_squared_error 123457 (1.0000 to 2e+06)"
    )
    described = describe_metrics({"accuracy": 2 / 3, "macro_f1": 0.6}, {"macro_f1": (0.1, 1.0)}, 3)
    assert described == "accuracy 66.7 % (2 of 3)  macro_f1 0.6000 (0.1000 to 1.0000)"
