"""Trials that fail or cannot win: they are marked, with the reason, and the search goes on."""

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tiny_studies import probes, space, study, tiny

import tfembed as te
from tfembed.search import runner, workshop
from tfembed.search.encoders import randomize
from tfembed.search.pruning import why_stop


def _wild(hp: Any) -> te.Strategy:
    """A rate that is too high, and one that is not."""
    rate = hp.Choice("rate", [3e38, 1e-2])
    return te.Strategy(name="tune", phases=(te.Phase(name="tune", unfreeze=1, epochs=3, learning_rate=rate),))


def test_a_trial_that_diverges_fails_and_the_search_goes_on(tmp_path: Path, quick: None) -> None:
    """A loss that is no number ends the trial, not the search; the winner is another one."""
    found = study(tmp_path / "study", space=space(strategy=_wild), max_trials=2, oracle="grid")
    states = {trial.values["rate"]: trial for trial in found.trials if trial.number is not None}
    assert states[3e38].state == "failed"
    assert states[3e38].reason.startswith("diverged: the ")
    assert states[1e-2].state == "completed"
    assert found.leaderboard[-1].rank is None
    assert found.result["trial"] != states[3e38].key


def test_a_trial_without_memory_fails_and_the_search_goes_on(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Running out of memory is told from other faults, and a trial that failed is not run again."""
    plain, calls = workshop.fit, []

    def scarce(*args: Any, **options: Any) -> te.Result:
        calls.append(1)
        if len(calls) == 2:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        return plain(*args, **options)

    monkeypatch.setattr(workshop, "fit", scarce)
    found = study(tmp_path / "study", space=space(strategy=probes), max_trials=2)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert [trial.reason for trial in failed] == ["out of memory: OOM when allocating tensor"]
    count = len(calls)
    study(tmp_path / "study", space=space(strategy=probes), max_trials=2)
    assert len(calls) == count


def test_a_machine_that_is_gone_is_no_fault_of_the_trial(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search ends, and nothing is noted that would be taken for what the trial came to."""

    def lost(*_: Any, **__: Any) -> te.Result:
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted: failed to connect to all addresses")

    monkeypatch.setattr(workshop, "fit", lost)
    with pytest.raises(tf.errors.UnavailableError):
        study(tmp_path / "study", max_trials=1)
    assert [path.stem for path in (tmp_path / "study" / "trials").glob("*.json")] == ["majority"]


def test_where_no_trial_ends_the_reason_is_told(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be crowned where everything failed."""

    def broken(*_: Any, **__: Any) -> te.Result:
        raise ValueError("no such block")

    monkeypatch.setattr(workshop, "fit", broken)
    with pytest.raises(ValueError, match=r"No trial ran to its end\. linear probe: no such block"):
        study(tmp_path / "study", max_trials=1)


def test_the_median_rule() -> None:
    """After two epochs, with three to compare with, a trial above their median is stopped; no other is."""
    others = [[3.0, 2.0, 1.0], [3.0, 2.5, 1.5], [3.0, 1.5, 1.4]]
    assert why_stop([9.0], others) is None
    assert why_stop([9.0, 8.0], others[:2]) is None
    assert why_stop([9.0, 2.0], others) is None
    assert "after 2 epochs" in (why_stop([9.0, 2.1], others) or "")
    assert why_stop([1.0, 9.0], others) is None  # what counts is the lowest so far


def test_trials_that_cannot_win_are_stopped_and_baselines_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every trial is one too many, each stops after its first epoch; what it should beat has all of them."""
    monkeypatch.setattr(runner, "why_stop", lambda curve, others: "it cannot win")
    found = study(tmp_path / "study", space=space(strategy=probes), max_trials=1)
    epochs = {trial.name: len(trial.curve) for trial in found.trials}
    states = {trial.number: (trial.state, trial.reason) for trial in found.trials}
    assert states == {0: ("stopped", "it cannot win"), None: ("completed", None)}
    assert epochs["full fine-tuning"] == epochs["from scratch, 2 epochs"] == 2
    assert next(len(trial.curve) for trial in found.trials if trial.number == 0) == 1


def test_from_scratch_every_weight_is_another() -> None:
    """Matrices are drawn anew by their seed, vectors are what they begin as; an unknown vector is refused."""
    encoder, same, other = tiny(), tiny(), tiny()
    before = [v.numpy() for block in encoder.blocks for v in block.variables]
    for each, seed in ((encoder, 5), (same, 5), (other, 6)):
        randomize(each, seed)
    drawn = [[v.numpy() for block in each.blocks for v in block.variables] for each in (encoder, same, other)]
    for old, first, again, another in zip(before, *drawn, strict=True):
        assert (first == again).all()
        if first.ndim > 1:
            assert (first != old).any()
            assert (first != another).any()
        else:
            assert (first == 0).all()
