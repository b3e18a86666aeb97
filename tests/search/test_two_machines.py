"""A search whose trials are spread over two machines: processes of their own, each with its own folder."""

import os
import subprocess
import sys
from pathlib import Path

from tiny_studies import comparable
from two_machines import two_machines

import tfembed as te

TESTS = Path(__file__).parents[1]

SEARCH = """
import sys
folder, *sys.path[:0] = sys.argv[1:]
import tensorflow as tf
distribution = tf.distribute.MultiWorkerMirroredStrategy()
from pathlib import Path
from tfembed.search import runner
from tiny_studies import probes, space, study
runner.thorough = lambda *_: {}
given = dict(space=space(strategy=probes), max_trials=2, max_minutes=60)
study(Path(folder), distribution=distribution, **given)
"""


def _search_on_both(folders: list[Path]) -> list[te.Study]:
    paths = [str(TESTS), str(TESTS / "search")]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SEARCH, str(folder), *paths],
            text=True,
            stderr=subprocess.PIPE,
            env=os.environ | {"TF_CONFIG": config},
        )
        for folder, config in zip(folders, two_machines(), strict=True)
    ]
    try:
        for process in running:
            said = process.communicate(timeout=240)[1]
            assert process.returncode == 0, said[-3000:]
    finally:  # one waits for the other for ever
        for process in running:
            process.kill()
    return [te.load_study(folder) for folder in folders]


def test_two_machines_decide_alike_also_where_they_know_different_things(tmp_path: Path) -> None:
    """Each has the whole study in the end. Where each lost something else, they run again what not both have."""
    folders = [tmp_path / "one", tmp_path / "other"]
    first, same = map(comparable, _search_on_both(folders))
    assert first == same
    for i, folder in enumerate(folders):
        assert len(list((folder / "trials").glob("*.json"))) == 4
        for kept in ("trials", "phases"):
            sorted((folder / kept).glob("*.json"))[i].unlink()
    (folders[0] / "result.json").unlink()
    assert [comparable(study) for study in _search_on_both(folders)] == [first, first]
