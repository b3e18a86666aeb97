"""Trials shared by processes."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tiny_studies import probes, space, study, tiny

import tfembed as te


def _dies_once(marker: Path) -> Any:
    """A strategy that kills the first process that trains it."""

    def strategy(hp: Any) -> te.Strategy:
        found = probes(hp)
        inside = os.environ.get("KERASTUNER_TUNER_ID", "").startswith("worker")
        if inside and hp.values.get("rate") == 1e-2 and hp.values.get("tried") and not marker.exists():
            marker.write_text(os.environ["KERASTUNER_TUNER_ID"])
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    def marked(hp: Any) -> te.Strategy:
        hp.Fixed("tried", True)
        return strategy(hp)

    return marked


def test_two_workers_run_each_trial_once(tmp_path: Path, quick: None) -> None:
    """Two workers run the trials that one process would have run, each once; a killed one's trial goes to another."""
    marker = tmp_path / "died"
    shared = study(
        tmp_path / "shared",
        encoder={"tiny": tiny},
        space=space(strategy=_dies_once(marker)),
        max_trials=4,
        workers=2,
        early_stopping=False,
    )
    assert marker.exists()
    alone = study(tmp_path / "alone", space=space(strategy=probes), max_trials=4, early_stopping=False)

    def scores(found: te.Study) -> dict[str, Any]:
        return {trial.key: (trial.state, trial.metrics) for trial in found.trials}

    assert scores(shared) == scores(alone)
    assert [trial.number for trial in shared.trials if trial.number is not None] == [0, 1, 2, 3]
    assert shared.result["test"] == alone.result["test"]


def test_workers_load_encoders_themselves(tmp_path: Path) -> None:
    """An encoder that only this process has cannot be shared."""
    with pytest.raises(ValueError, match="workers=2: each loads encoder 'tiny' itself"):
        study(tmp_path / "study", workers=2)
