"""`tfembed cache`, on a store of small features."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tfembed.cli import cli
from tfembed.features.arrays import Workplace
from tfembed.features.columns import Column, Features
from tfembed.features.store import FeatureStore

KEYS = [f"{i:040x}" for i in range(3)]


def compute(workplace: Workplace) -> Features:
    array = workplace.create((2, 3), np.dtype("float32"))
    array.put([0], [2], np.ones([1, 2, 3], "float32"))
    return Features(columns={"inputs": Column(values=array)}, lengths=np.ones(2, int))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """Three entries in the folder that the environment names, the second one damaged."""
    monkeypatch.setenv("TFEMBED_CACHE", str(tmp_path))
    store = FeatureStore(tmp_path / "features")
    for i, key in enumerate(KEYS):
        store.find_or_add(key, compute, {"encoder": f"tiny{i}", "cut": i, "num_examples": 1200})
    file = store.folder / KEYS[1] / "1.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return store


def _run(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["cache", *arguments])
    assert result.exit_code == exit_code, result.output
    return result.stdout


@pytest.mark.parametrize("command", [[], ["list"], ["size"], ["clear"], ["verify"]])
def test_help(command: list[str]) -> None:
    """The group and each of its commands say what they do."""
    assert _run(*command, "--help").startswith("Usage:")


def test_list(store: FeatureStore) -> None:
    """Entries are listed with encoder, cut, examples, size and key."""
    rows = json.loads(_run("list", "--json"))
    assert {row["key"]: (row["encoder"], row["cut"], row["num_examples"]) for row in rows} == {
        key: (f"tiny{i}", i, 1200) for i, key in enumerate(KEYS)
    }
    assert all(row["bytes"] > 100 and row["last_used"] > 0 for row in rows)
    printed = _run("list").splitlines()
    assert len(printed) == 3
    assert any("tiny2, cut 2, 1,200 examples" in line and KEYS[2][:12] in line for line in printed)


def test_a_torn_description_is_listed_as_damaged(store: FeatureStore) -> None:
    """An entry whose description cannot be read is in the list too."""
    (store.folder / KEYS[0] / "meta.json").write_text("{", encoding="utf-8")
    assert [line.endswith("damaged") for line in _run("list").splitlines()].count(True) == 1
    assert len(json.loads(_run("list", "--json"))) == 3


def test_size(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes on disk, the limit and the folder are shown."""
    monkeypatch.setenv("TFEMBED_CACHE_GB", "2")
    found = json.loads(_run("size", "--json"))
    on_disk = sum(path.stat().st_size for path in store.folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    assert found == {"folder": str(store.folder), "entries": 3, "bytes": on_disk, "max_bytes": 2_000_000_000}
    assert "of at most 2,000.0 MB in 3 entries" in _run("size")


def test_verify(store: FeatureStore) -> None:
    """What is damaged is named, with exit code 1; what is whole has exit code 0."""
    found = json.loads(_run("verify", "--json", exit_code=1))
    assert found == {"entries": 3, "damaged": {KEYS[1]: "1.npy was altered"}}
    printed = _run("verify", exit_code=1)
    assert f"{KEYS[1][:12]}  1.npy was altered" in printed
    assert "2 of 3 entries are whole" in printed
    store.remove(KEYS[1])
    assert "2 of 2 entries are whole" in _run("verify")


def test_clear(store: FeatureStore) -> None:
    """Everything is removed, and how much it was is said."""
    found = json.loads(_run("clear", "--json"))
    assert found["entries"] == 3
    assert found["bytes"] > 300
    assert store.entries() == []
    assert _run("clear").startswith("0 entries removed")


def test_another_folder(store: FeatureStore, tmp_path: Path) -> None:
    """A folder can be named; one that is not there, or no folder, is mistyped, and one that is empty is said to be."""
    (tmp_path / "file").touch()
    for wrong in ("none", "file"):
        assert _run("list", "--folder", str(tmp_path / wrong), exit_code=2) == ""
    assert not (tmp_path / "none").exists()
    (tmp_path / "empty").mkdir()
    assert _run("list", "--folder", str(tmp_path / "empty")) == f"nothing is stored in {tmp_path / 'empty'}\n"
    assert json.loads(_run("size", "--folder", str(store.folder), "--json"))["entries"] == 3


def test_an_impossible_limit_is_one_line(tmp_path: Path) -> None:
    """A limit that is no number is said in one line, with exit code 2, and without waiting for TensorFlow."""
    program = (
        "import os, sys, tfembed.cli\n"
        "sys.argv = ['tfembed', 'cache', 'list', '--json']\n"
        f"os.environ['TFEMBED_CACHE'] = {str(tmp_path)!r}\n"
        "try:\n"
        "    tfembed.cli.main()\n"
        "finally:\n"
        "    print({'tensorflow', 'keras'} & set(sys.modules))\n"
        "    os.environ['TFEMBED_CACHE_GB'] = 'much'\n"
        "    tfembed.cli.main()\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stdout == "[]\nset()\n"
    (line,) = run.stderr.splitlines()
    assert line.startswith("tfembed: TFEMBED_CACHE_GB='much'")
