"""Trials shared by processes."""

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_studies import probes, space, study, tiny

import tfembed as te
from tfembed.search.plan import Plan
from tfembed.search.tuner import make_oracle, stop_when
from tfembed.search.workers import Team, _free_port, run_team, team_of

workers = importlib.import_module("tfembed.search.workers")  # `tfembed.search` is a function


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
    with pytest.raises(ValueError, match="load their encoders themselves: pass a handle in the place of 'tiny'"):
        study(tmp_path / "study", workers=2)


def _on_a_machine(role: str, port: int, folder: Path) -> subprocess.Popen[str]:
    """The same search on one of several machines, which share a folder."""
    program = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from tiny_studies import probes, space, study, tiny\n"
        "given = dict(encoder={'tiny': tiny}, space=space(strategy=probes), max_trials=3, workers=2)\n"
        "found = study(Path(sys.argv[1]), early_stopping=False, **given)\n"
        "print(found.result is not None)\n"
    )
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port), "KERASTUNER_TUNER_ID": role}
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    command = [sys.executable, "-c", program, str(folder), *paths]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=os.environ | address, **pipes)


def test_several_machines_share_a_search(tmp_path: Path) -> None:
    """Chief and workers that are started by hand run each trial once; the chief finishes the study."""
    port = _free_port()
    machines = [_on_a_machine(role, port, tmp_path / "shared") for role in ("chief", "worker-0", "worker-1")]
    said = [machine.communicate(timeout=240) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0, 0], said
    assert said[0][0].split()[-1] == "True"
    shared = te.load_study(tmp_path / "shared")
    alone = study(tmp_path / "alone", space=space(strategy=probes), max_trials=3, early_stopping=False)
    assert {trial.key: trial.metrics for trial in shared.trials} == {trial.key: trial.metrics for trial in alone.trials}


@pytest.mark.parametrize("wrong", [{"KERASTUNER_TUNER_ID": "chief"}, {"KERASTUNER_ORACLE_IP": "127.0.0.1"}])
def test_half_an_address_is_refused(wrong: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of keras-tuner's variables are needed, or none: the error says what each of them is."""
    for name, value in wrong.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"KERASTUNER_TUNER_ID=.* expected chief, or worker-0"):
        study(tmp_path / "study", encoder={"tiny": tiny})


def _waits(role: str, file: Path) -> Callable[[int], None]:
    """A job that some role does not end by itself: it waits, and then writes a file."""

    def job(deaths: int) -> None:  # not of this module, so that the processes need not import it
        if os.environ["KERASTUNER_TUNER_ID"] == role:
            time.sleep(60)
            file.write_text("waited to the end")

    return job


@pytest.mark.parametrize("role", ["chief", "worker-1"])
def test_what_is_left_is_not_waited_for(role: str, tmp_path: Path) -> None:
    """A late worker without a chief, and a chief without workers, are ended: they would wait for hours."""
    team = team_of(2)
    assert team is not None
    run_team(_waits(role, tmp_path / "waited"), team, 0, lambda: None)
    assert not (tmp_path / "waited").exists()


def test_a_worker_leaves_with_the_chief_of_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker ends when the chief, which was there, is there no more."""
    monkeypatch.setattr(workers, "_GONE_AFTER", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as chief:
        address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(chief.getsockname()[1])}
        ticks = iter([lambda: None, chief.close])
        team = Team(roles=("worker-0",), address=address)
        run_team(_waits("worker-0", tmp_path / "waited"), team, 0, lambda: next(ticks, lambda: None)())
    assert not (tmp_path / "waited").exists()


def test_a_chief_that_never_comes_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker says that it waits for the chief, and gives up in a line that names the address."""
    monkeypatch.setattr(workers, "_SAID_AFTER", 0.0)
    monkeypatch.setattr(workers, "_GIVEN_UP_AFTER", 1.5)
    address = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(_free_port())}
    where = ":".join(address.values())
    with pytest.raises(ConnectionError, match=f"No chief answers at {where}: the search is over, or was not begun"):
        run_team(_waits("worker-0", tmp_path / "waited"), Team(roles=("worker-0",), address=address), 0, lambda: None)
    assert caplog.messages == [f"waiting for the chief at {where}"]
    assert not (tmp_path / "waited").exists()


def test_the_chief_says_when_time_is_over(tmp_path: Path) -> None:
    """An oracle whose time is over tells workers to stop, so that it knows of each that it has left."""
    over = [False]
    oracle = stop_when(make_oracle(Plan(task="classification", max_trials=9), 1), lambda: over[0])
    oracle.hyperparameters.Choice("rate", [1e-3, 3e-3, 1e-2])
    oracle._set_project_dir(str(tmp_path), "tuner")
    assert oracle.create_trial("worker-0").status == "RUNNING"
    over[0] = True
    assert oracle.create_trial("worker-1").status == "STOPPED"
    assert oracle.tuner_ids == {"worker-0"}


def test_processes_import_nothing_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the working folder with the name of a module, such as types.py, is not what workers import."""
    (tmp_path / "types.py").write_text("raise ImportError('not the real one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(tmp_path))])
    file = tmp_path / "done"
    team = team_of(2)
    assert team is not None

    def job(deaths: int) -> None:
        if os.environ["KERASTUNER_TUNER_ID"] == "worker-0":
            file.write_text("done")

    run_team(job, team, 0, lambda: None)
    assert file.exists()
