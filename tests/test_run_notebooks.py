"""The script that runs the notebooks, as `make notebooks` calls it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install 'tfembed[notebooks]'")
pytest.importorskip("nbclient", reason="nbclient is not installed: pip install 'tfembed[notebooks]'")

SCRIPT = Path(__file__).parents[1] / "scripts" / "run_notebooks.py"


def _run(folder: Path, notebooks: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a project that has these notebooks, of one cell each."""
    for name in ("scripts", "notebooks"):
        (folder / name).mkdir()
    script = shutil.copy(SCRIPT, folder / "scripts")
    for name, source in notebooks.items():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    """All are run and saved; the failure is shown, named in the end, and the exit code."""
    run = _run(tmp_path, {"01_bad": "1 / 0", "02_good": "print(6 * 7)"}, "--save")
    assert run.returncode == 1
    assert "ZeroDivisionError" in run.stdout
    assert "1 of 2 notebooks failed: 01_bad.ipynb" in run.stderr
    (cell,) = nbformat.read(tmp_path / "notebooks" / "02_good.ipynb", as_version=4).cells
    assert cell.outputs[0].text == "42\n"


@pytest.mark.parametrize(
    ("notebooks", "message"),
    [({"01_good": "1"}, "There is no notebook 02_none: pass some of 01_good"), ({}, "There are no notebooks in")],
)
def test_no_notebook_is_an_error(tmp_path: Path, notebooks: dict[str, str], message: str) -> None:
    """A name that is none, and a folder without notebooks, are told."""
    run = _run(tmp_path, notebooks, "02_none")
    assert (run.returncode, message in run.stderr) == (1, True), run.stderr
