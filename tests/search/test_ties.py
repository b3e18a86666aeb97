"""Ties: what a paired test on the same examples cannot tell apart."""

from itertools import product
from math import comb
from typing import Any

import numpy as np
import pytest

from tfembed.search.ties import _permutation, errors, is_tie


def _said(labels: Any, outputs: Any) -> dict[str, np.ndarray]:
    labels = np.asarray(labels)
    return {"rows": np.arange(len(labels)), "labels": labels, "outputs": np.asarray(outputs, "float32")}


def _answers(right: list[int]) -> dict[str, np.ndarray]:
    """Two classes, of which 1 is true; said of the examples that are right."""
    return _said(np.ones(len(right), int), [[1 - each, each] for each in right])


@pytest.mark.parametrize(
    ("better", "worse"), [(0, 0), (4, 0), (5, 0), (6, 0), (8, 1), (9, 2), (10, 2), (30, 14), (30, 15)]
)
def test_accuracies_tie_by_mcnemars_exact_test(better: int, worse: int) -> None:
    """Of examples that one alone gets right each is a coin's toss; others count for nothing, however many there are."""
    count = better + worse
    tail = sum(comb(count, i) for i in range(worse + 1)) / 2**count
    one = _answers([1] * better + [0] * worse + [1] * 40)
    other = _answers([0] * better + [1] * worse + [1] * 40)
    assert is_tie(one, other, "accuracy") == (2 * tail > 0.05)
    assert is_tie(other, one, "accuracy") == is_tie(one, other, "accuracy")


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_errors_tie_by_a_permutation_test(shift: float) -> None:
    """The same verdict as from all ways to exchange the two on some examples, counted one by one."""
    rng = np.random.default_rng(3)
    labels, off, more = np.zeros(10), np.abs(rng.normal(size=10)), np.abs(rng.normal(shift, 0.3, 10))
    one, other = _said(labels, off[:, None]), _said(labels, (off + more * np.sign(rng.normal(shift, 0.3, 10)))[:, None])
    gains = errors(other, "mean_absolute_error") - errors(one, "mean_absolute_error")
    sums = np.abs([np.dot(signs, gains) for signs in product((-1, 1), repeat=10)])
    exact = float((sums >= abs(gains.sum()) - 1e-9).mean())
    assert not 0.03 < exact < 0.08, "a case that chance may decide says nothing"
    assert is_tie(one, other, "mean_absolute_error") == (exact > 0.05)


def test_errors_other_than_of_accuracy_count_by_their_size() -> None:
    """One large error outweighs many small gains, which a test on signs alone would call a difference."""
    labels = np.zeros(20)
    one = _said(labels, np.full((20, 1), 0.02))
    other = _said(labels, np.append(np.full(19, 0.01), 5.0)[:, None])
    assert is_tie(one, other, "mean_absolute_error")
    assert not is_tie(one, _said(labels, np.full((20, 1), 0.01)), "mean_absolute_error")


@pytest.mark.parametrize(("count", "p_value"), [(1, 1.0), (100, 0.001)])
def test_the_p_value_counts_the_trials_as_they_are_among_the_exchanges(count: int, p_value: float) -> None:
    """Of 999 exchanges and the observed assignment, all are as far for one example, none for a hundred alike."""
    assert _permutation(np.ones(count)) == p_value


def test_equal_predictions_tie_by_every_objective() -> None:
    """Nothing tells a trial from itself."""
    rng = np.random.default_rng(0)
    classes = _said(rng.integers(0, 3, 20), rng.dirichlet(np.ones(3), 20))
    several = _said(rng.integers(0, 2, (20, 3)).astype("float32"), rng.random((20, 3)))
    targets = _said(rng.random(20), rng.random((20, 1)))
    for said, objectives in (
        (classes, ("accuracy", "macro_f1", "loss")),
        (several, ("micro_f1", "accuracy", "loss")),
        (targets, ("root_mean_squared_error", "mean_absolute_error", "r2")),
    ):
        assert all(is_tie(said, said, objective) for objective in objectives)


def test_errors_by_hand() -> None:
    """Each objective counts errors as it is moved by them."""
    classes = _said([0, 0, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    assert errors(classes, "accuracy").tolist() == [0, 1, 1]
    assert errors(classes, "macro_f1").tolist() == [0, 0.5, 1]
    assert errors(classes, "loss") == pytest.approx(-np.log([0.9, 0.2, 0.4]))
    several = _said([[1.0, 0.0], [1.0, 1.0]], [[0.8, 0.4], [0.1, 0.2]])
    assert errors(several, "micro_f1").tolist() == [0, 2]
    assert errors(several, "accuracy").tolist() == [0, 1]
    assert errors(several, "loss") == pytest.approx([-np.log([0.8, 0.6]).mean(), -np.log([0.1, 0.2]).mean()])
    targets = _said([1.0, 2.0], [[1.5], [5.0]])
    assert errors(targets, "mean_absolute_error").tolist() == [0.5, 3]
    assert errors(targets, "root_mean_squared_error").tolist() == errors(targets, "r2").tolist() == [0.25, 9]


def test_the_loss_of_a_certain_error_is_finite() -> None:
    """Probabilities of 0 are clipped at 1e-7, of one label of several as of one class."""
    several = _said([[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]])
    assert errors(several, "loss") == pytest.approx([-np.log(1e-7), 0])
    assert errors(_said([1, 0], [[1.0, 0.0], [1.0, 0.0]]), "loss") == pytest.approx([-np.log(1e-7), 0])


def test_what_was_not_predicted_for_the_same_examples_ties_with_nothing() -> None:
    """Without predictions, or with those of other examples, nothing can be said."""
    one = _answers([1, 1, 0])
    assert not is_tie(one, {}, "accuracy")
    assert not is_tie({}, one, "accuracy")
    assert not is_tie(one, one | {"rows": np.array([0, 2, 1])}, "accuracy")
