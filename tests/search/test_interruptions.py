"""A search that is interrupted goes on where it was, and ends as if nothing had been."""

import errno
import multiprocessing
import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from killed import search_in
from tiny_studies import comparable, probes, space, study

import tfembed as te
from tfembed.search import files, workshop

_KILLS = 10


def test_killed_again_and_again_it_ends_with_the_same_leaderboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process killed at ten random points or more leaves nothing that the next one cannot go on from."""
    whole, cache = tmp_path / "whole", tmp_path / "cache"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # the forkserver of Python 3.11 looks nowhere else
    # Processes that imported TensorFlow, and did nothing with it yet, are forked: each begins at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["killed"])
    assert _run(context, whole, cache, None, 0.0) == 0
    expected = comparable(te.load_study(whole))
    rng, kills, rounds = random.Random(0), 0, 0
    while kills < _KILLS:
        rounds += 1
        folder = tmp_path / f"killed-{rounds}"
        while (code := _run(context, folder, cache, rng.randint(1, 4), rng.uniform(0, 0.3))) != 0:
            assert code == -signal.SIGKILL
            kills += 1
        assert comparable(te.load_study(folder)) == expected
        assert not list(folder.rglob(".aside-*"))


def _run(context: Any, folder: Path, cache: Path, num_files: int | None, seconds: float) -> int:
    """Search in a process of its own, killed some time after it wrote so many files; its exit code."""
    process = context.Process(target=search_in, args=(str(folder), str(cache), num_files, seconds))
    process.start()
    process.join()
    return int(process.exitcode)


@pytest.mark.parametrize("at", ["a trial", "a phase", "the study"])
def test_a_full_disk_ends_the_search_and_it_goes_on_later(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """Without room for a file the search says so and stops; nothing half-written is there; later it goes on."""
    expected = comparable(_probing(tmp_path / "whole"))
    wanted = {"a trial": "trials", "a phase": "phases", "the study": ""}[at]
    plain = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).parent.name == (wanted or "study"):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        plain(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space left on device"):
        _probing(tmp_path / "study")
    assert not list(tmp_path.rglob(".aside-*"))
    monkeypatch.setattr(files.os, "replace", plain)
    if wanted == "":  # it could not even be begun
        shutil.rmtree(tmp_path / "study")
    assert comparable(_probing(tmp_path / "study")) == expected


def test_ctrl_c_ends_the_search_and_it_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    """An interruption in the middle of a trial is none of its faults."""
    expected = comparable(_probing(tmp_path / "whole"))
    plain, calls = workshop.fit, []

    def interrupted(*args: Any, **options: Any) -> te.Result:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*args, **options)

    monkeypatch.setattr(workshop, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _probing(tmp_path / "study")
    assert comparable(_probing(tmp_path / "study")) == expected


@pytest.mark.parametrize("damage", [lambda content: content[:-3], lambda content: content[:-1] + b"?"])
def test_a_damaged_phase_is_run_again(damage: Any, tmp_path: Path, quick: None) -> None:
    """A torn or altered phase is told by its checksum, and the search ends the same."""
    first = _probing(tmp_path / "study")
    for path in (tmp_path / "study" / "phases").glob("*.safetensors"):
        path.write_bytes(damage(path.read_bytes()))
    for path in (tmp_path / "study" / "trials").iterdir():
        path.unlink()
    with pytest.warns(UserWarning, match="The result of a phase is damaged .its checksum does not fit.: the phase is"):
        again = _probing(tmp_path / "study")
    assert comparable(again) == comparable(first)


def test_a_torn_record_is_no_trial(tmp_path: Path, quick: None) -> None:
    """A record that a power failure tore is named, and never taken for a trial."""
    found = _probing(tmp_path / "study")
    path = tmp_path / "study" / "trials" / f"{found.trials[0].key}.json"
    path.write_text(path.read_text()[:50])
    with pytest.raises(ValueError, match=f"{path.name} holds no JSON"):
        _probing(tmp_path / "study")


def test_two_searches_in_one_folder_are_refused(tmp_path: Path, quick: None) -> None:
    """While one process searches, another one is told so."""
    import filelock

    _probing(tmp_path / "study")
    with (
        filelock.FileLock(tmp_path / "study" / ".lock"),
        pytest.raises(ValueError, match="Another process searches in"),
    ):
        _probing(tmp_path / "study")


def _probing(folder: Path) -> te.Study:
    return study(folder, max_trials=2, space=space(strategy=probes))
