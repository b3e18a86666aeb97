"""The store: whole entries or none, shared between processes, no larger than allowed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from stored import KEYS, LENGTHS, compute

from tfembed.features.arrays import FolderError
from tfembed.features.entry import DamagedError
from tfembed.features.store import FeatureStore, default_folder, default_max_bytes

ABOUT = {"encoder": "tiny", "cut": 2, "num_examples": 3}
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
from stored import KEYS, compute_and_tell
from tfembed.features.store import FeatureStore
place = Path(sys.argv[1])
print("started", flush=True)
features = FeatureStore(place / "store").find_or_add(
    KEYS[0], lambda workplace: compute_and_tell(workplace, place, hang=sys.argv[2] == "hang"), {{}}
)
print(features.batch(np.array([2]))["a/tokens:0"].tolist(), flush=True)
"""


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def never(workplace):
    raise AssertionError("computed again")


def keys(store):
    return [entry.key for entry in store.entries()]


def in_process(place, *, hang=False):
    program = PROGRAM.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", program, str(place), "hang" if hang else ""]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    return process


def result(process):
    """What a process printed since it started, when it is done."""
    with process:
        return process.stdout.read()


def wait_for(condition):
    """Look again and again, a minute at most; what is waited for happens in another process."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        os.sched_yield()


def test_what_is_stored_is_found_by_another(store):
    """Features that one object stored, another reads from disk: same columns, same lengths, nothing computed."""
    made = store.find_or_add(KEYS[0], compute, ABOUT)
    found = FeatureStore(store.folder).find_or_add(KEYS[0], never, ABOUT)
    assert found.lengths.tolist() == LENGTHS.tolist()
    for features in (made, found):
        batch = features.batch(np.array([2, 1]))
        assert batch["a/tokens:0"].tolist() == [[7, 8, 9], [4, 0, 0]]
        assert batch["rows"].tolist() == [[1.0] * 4] * 2
    (entry,) = store.entries()
    assert entry.about.items() >= ABOUT.items()


def test_entries_are_plain_numpy_files(store):
    """NumPy reads the files of an entry without pickling; the description is JSON."""
    store.find_or_add(KEYS[0], compute, ABOUT)
    folder = store.folder / KEYS[0]
    description = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    file = description["columns"]["a/tokens:0"]["file"]
    assert np.load(folder / file, allow_pickle=False).tolist() == [1, 2, 4, 7, 8, 9]
    assert np.load(folder / "offsets.npy", allow_pickle=False).tolist() == [0, 2, 3, 6]


def test_nothing_remains_beside_the_entries(store):
    """After an entry was written, only entries and locks are there, and no lock of what was finished before."""
    for key in KEYS[:3]:
        store.find_or_add(key, compute, ABOUT)
    assert {path.name for path in store.folder.iterdir()} == {*KEYS[:3], "locks"}
    assert [path.stem for path in (store.folder / "locks").iterdir()] == [KEYS[2]]


def alter_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def tear(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("file", ["1.npy", "2.npy", "offsets.npy", "meta.json"])
@pytest.mark.parametrize("damage", [alter_a_byte, tear, os.unlink])
def test_a_damaged_entry_is_computed_again(store, file, damage):
    """A byte that was altered, a file that was torn or lost: a warning, and the features are computed again, once."""
    store.find_or_add(KEYS[0], lambda workplace: compute(workplace, 5.0), ABOUT)
    damage(store.folder / KEYS[0] / file)
    other = FeatureStore(store.folder)
    assert list(other.verify()) == [KEYS[0]]
    with pytest.warns(UserWarning, match="Stored features are damaged .* computed again"):
        found = other.find_or_add(KEYS[0], compute, ABOUT)
    assert found.batch(np.arange(3))["rows"].max() == 1.0
    again = FeatureStore(store.folder).find_or_add(KEYS[0], never, ABOUT)
    assert again.batch(np.arange(3))["rows"].max() == 1.0
    assert other.verify() == {}


def test_a_description_with_other_values_is_damaged(store):
    """A description that was edited by hand, and is JSON still, is found out."""
    store.find_or_add(KEYS[0], compute, ABOUT)
    path = store.folder / KEYS[0] / "meta.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"float32"', '"int32"'), encoding="utf-8")
    with pytest.raises(DamagedError, match=r"meta.json was altered"):
        FeatureStore(store.folder).find(KEYS[0])


def test_an_entry_is_checked_once_by_each_object(store):
    """What was checked is not read again at each opening: an object trusts what it wrote or checked."""
    store.find_or_add(KEYS[0], compute, ABOUT)
    alter_a_byte(store.folder / KEYS[0] / "1.npy")
    assert store.find(KEYS[0]) is not None
    assert list(store.verify()) == [KEYS[0]]


def test_what_was_used_longest_ago_is_removed_first(tmp_path):
    """Beyond the limit, entries go in the order of their last use, which opening them counts as."""
    size = FeatureStore(tmp_path / "one")
    size.find_or_add(KEYS[0], compute, ABOUT)
    num_bytes = size.entries()[0].num_bytes
    store = FeatureStore(tmp_path / "store", max_bytes=3 * num_bytes + 50)
    for i, key in enumerate(KEYS[:3]):
        store.find_or_add(key, compute, ABOUT)
        os.utime(store.folder / key / "meta.json", (100 + i, 100 + i))
    store.find(KEYS[0])
    store.find_or_add(KEYS[3], compute, ABOUT)
    assert keys(store) == [KEYS[2], KEYS[0], KEYS[3]]
    store.find_or_add(KEYS[4], compute, ABOUT)
    assert keys(store) == [KEYS[0], KEYS[3], KEYS[4]]


def test_what_is_larger_than_the_limit_is_used_but_not_kept(tmp_path, caplog):
    """Features beyond the limit are readable, and leave what is stored alone; a message says that they are not kept."""
    FeatureStore(tmp_path).find_or_add(KEYS[0], compute, ABOUT)
    store = FeatureStore(tmp_path, max_bytes=5000)
    features = store.find_or_add(KEYS[1], lambda workplace: compute(workplace, width=9000), ABOUT)
    assert features.batch(np.array([1]))["rows"].sum() == 9000
    assert keys(store) == [KEYS[0]]
    assert "are not kept: the limit is 5000 bytes" in caplog.text


def test_who_reads_an_entry_goes_on_when_it_is_removed(store):
    """Features that are open can be read after their entry was evicted or cleared."""
    features = store.find_or_add(KEYS[0], compute, ABOUT)
    found = FeatureStore(store.folder).find(KEYS[0])
    assert store.clear() == 1
    assert store.find(KEYS[0]) is None
    for each in (features, found):
        assert each.batch(np.array([0]))["a/tokens:0"].tolist() == [[1, 2]]


def test_clearing_leaves_what_is_not_ours(store):
    """Files and folders that are no entries stay."""
    store.find_or_add(KEYS[0], compute, ABOUT)
    (store.folder / "notes.txt").write_text("mine", encoding="utf-8")
    (store.folder / "abc").mkdir()
    store.clear()
    assert {path.name for path in store.folder.iterdir()} == {"notes.txt", "abc", "locks"}


def test_a_failed_computation_leaves_nothing(store):
    """An error or an interruption while computing is passed on, and removes what was written."""

    def fail(workplace):
        compute(workplace)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.find_or_add(KEYS[0], fail, ABOUT)
    assert {path.name for path in store.folder.iterdir()} == {"locks"}
    assert store.find_or_add(KEYS[0], compute, ABOUT).lengths.tolist() == LENGTHS.tolist()


def test_two_processes_compute_once(tmp_path):
    """Processes that need the same features at the same time: one computes, and all read it."""
    processes = [in_process(tmp_path) for _ in range(3)]
    assert [result(process) for process in processes] == ["[[7, 8, 9]]\n"] * 3
    assert len(list(tmp_path.glob("computing-*"))) == 1


def test_who_waits_for_a_killed_process_computes_itself(tmp_path):
    """After kill -9 of the one that computes, the one that waits goes on, and nothing half-written is left."""
    first = in_process(tmp_path, hang=True)
    wait_for(lambda: list(tmp_path.glob("computing-*")))
    second = in_process(tmp_path)
    assert len(list(tmp_path.glob("store/.aside-*"))) == 1
    first.send_signal(signal.SIGKILL)
    assert result(second) == "[[7, 8, 9]]\n"
    assert len(list(tmp_path.glob("computing-*"))) == 2
    assert {path.name for path in (tmp_path / "store").iterdir()} == {KEYS[0], "locks"}
    assert result(first) == ""


def test_what_killed_processes_left_is_removed(store, tmp_path):
    """What a killed process left beside is removed with the next entry; what a living one is writing stays."""
    killed = in_process(tmp_path, hang=True)
    wait_for(lambda: list(tmp_path.glob("computing-*")))
    (aside,) = store.folder.glob(".aside-*")
    store.find_or_add(KEYS[1], compute, ABOUT)
    assert aside.is_dir()
    killed.kill()
    assert result(killed) == ""
    (store.folder / ".trash-1").mkdir()
    (store.folder / ".spool-1").touch()
    store.find_or_add(KEYS[2], compute, ABOUT)
    assert {path.name for path in store.folder.iterdir()} == {KEYS[1], KEYS[2], "locks"}


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from stored import KEYS, compute
from tfembed.features.arrays import FolderError
from tfembed.features.store import FeatureStore
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    FeatureStore(Path(sys.argv[1])).find_or_add(KEYS[0], lambda workplace: compute(workplace, width=900), {{}})
except FolderError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 100, 4000, 10_950])
def test_a_full_disk_leaves_nothing(limit, tmp_path):
    """Where there is no room for an array, or for its description, the error is one line, and nothing is left."""
    program = FULL.format(tests=str(Path(__file__).parent))
    command = [sys.executable, "-c", program, str(tmp_path / "store"), str(limit)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = run.stdout.splitlines() or [""]
    if limit < 10_000:
        assert "File too large" in line
        assert {path.name for path in (tmp_path / "store").iterdir()} == {"locks"}
    else:
        assert line == ""  # there is room enough
        assert FeatureStore(tmp_path / "store").find(KEYS[0]) is not None


def test_a_folder_that_cannot_be_made_is_an_error_of_the_folder(tmp_path):
    """Where a file is in the way, FolderError names it."""
    (tmp_path / "file").touch()
    with pytest.raises(FolderError, match="file"):
        FeatureStore(tmp_path / "file").find_or_add(KEYS[0], compute, ABOUT)


def test_folder_and_limit_come_from_the_environment(monkeypatch, tmp_path):
    """TFEMBED_CACHE and TFEMBED_CACHE_GB say where and how much; else it is the user's cache folder, and 10 GB."""
    monkeypatch.setenv("TFEMBED_CACHE", str(tmp_path))
    monkeypatch.setenv("TFEMBED_CACHE_GB", "0.5")
    assert default_folder() == tmp_path / "features"
    assert FeatureStore(tmp_path).max_bytes == 500_000_000
    monkeypatch.delenv("TFEMBED_CACHE")
    monkeypatch.delenv("TFEMBED_CACHE_GB")
    assert default_folder().parts[-2:] == ("tfembed", "features")
    assert default_max_bytes() == 10_000_000_000


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_is_refused(text, monkeypatch):
    """TFEMBED_CACHE_GB must be a positive number; the message names the variable."""
    monkeypatch.setenv("TFEMBED_CACHE_GB", text)
    with pytest.raises(ValueError, match="TFEMBED_CACHE_GB"):
        default_max_bytes()
