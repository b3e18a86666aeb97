"""Notebooks as they are saved: they can be read without being run, and followed. `make notebooks` runs them."""

import ast
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import tfembed

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MARK = "# with internet"

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _cells(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if kind in (None, cell["cell_type"])]


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _outputs(path: Path) -> list[dict[str, Any]]:
    return [output for cell in _cells(path, "code") for output in cell["outputs"]]


def test_there_are_notebooks() -> None:
    """The pattern finds the first one: else nothing here would be tested."""
    assert FOLDER / "01_first_transfer.ipynb" in NOTEBOOKS


@each_notebook
def test_the_first_cell_says_what_for_and_the_last_what_next(path: Path) -> None:
    """A notebook begins with what is learnt and how long it takes, and ends with what to change for other data."""
    first, last = _cells(path)[0], _cells(path)[-1]
    assert (first["cell_type"], last["cell_type"]) == ("markdown", "markdown")
    assert "You learn" in _source(first)
    assert "minute" in _source(first)
    assert "your own data" in _source(last)


@each_notebook
def test_it_was_run_from_top_to_bottom(path: Path) -> None:
    """Saved outputs are those of one run, without errors and logs, with a picture, in less than two minutes."""
    cells = _cells(path, "code")
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = _outputs(path)
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert [output for output in outputs if output.get("name") == "stderr"] == [], "save with scripts/run_notebooks.py"
    assert any("image/png" in output.get("data", {}) for output in outputs)
    times = [cell["metadata"]["execution"] for cell in cells]
    begun, ended = times[0]["iopub.status.busy"], times[-1]["shell.execute_reply"]
    assert (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds() < 120


@each_notebook
def test_cells_can_be_read_at_a_glance(path: Path) -> None:
    """No cell has more than 25 lines."""
    assert [_source(cell) for cell in _cells(path) if len(_source(cell).splitlines()) > 25] == []


@each_notebook
def test_public_names_only(path: Path) -> None:
    """Of tfembed, a notebook uses what `import tfembed as te` offers, and nothing else."""
    nodes = [node for cell in _cells(path, "code") for node in ast.walk(ast.parse(_source(cell)))]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name for name in imported if name.split(".")[0] == "tfembed"} == {"tfembed"}
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "te"}
    assert used
    assert used <= set(tfembed.__all__)
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    assert {name for name in attributes if name.startswith("_")} <= {"__init__"}  # of a class of one's own


@each_notebook
def test_one_line_swaps_in_a_module_of_tf_hub(path: Path) -> None:
    """The handle is in one marked line, which shows the address to put there."""
    lines = [line for cell in _cells(path, "code") for line in _source(cell).splitlines() if MARK in line]
    assert len(lines) == 1
    assert "https://tfhub.dev/" in lines[0] or "https://www.kaggle.com/models/" in lines[0]


@each_notebook
def test_the_readme_lists_it(path: Path) -> None:
    """Readers find every notebook from the front door."""
    assert f"(notebooks/{path.name})" in (FOLDER.parent / "README.md").read_text(encoding="utf-8")


@each_notebook
def test_nothing_of_the_machine_is_kept(path: Path) -> None:
    """Outputs name no folder of the machine that the notebook was run on."""
    text = json.dumps([output.get("text", output.get("data", {}).get("text/plain")) for output in _outputs(path)])
    assert str(FOLDER.parent) not in text
    assert str(Path.home()) + "/" not in text
