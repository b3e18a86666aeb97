"""Run notebooks from top to bottom, one on each core: python scripts/run_notebooks.py [--save] [NOTEBOOK ...].

Without a name every notebook is run; to find none is an error too. One that fails does not stop the others, and the
exit code says so. With --save the outputs are kept in the files, so that they read well without being run; do so after
changing one.
"""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
SECONDS_A_CELL = 300


def run(path: Path, *, save: bool) -> float:
    """Run a notebook in a process of its own; returns how many seconds it took."""
    started = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=SECONDS_A_CELL, resources={"metadata": {"path": str(FOLDER)}})
    client.execute()
    for cell in notebook.cells:
        # What TensorFlow logs while it is imported says nothing about the notebook.
        cell.get("outputs", [])[:] = [each for each in cell.get("outputs", []) if each.get("name") != "stderr"]
    if save:
        nbformat.write(notebook, path)
    return time.perf_counter() - started


def find(names: list[str]) -> list[Path]:
    """The notebooks of these names, with or without folder and suffix; all of them without a name."""
    notebooks = sorted(FOLDER.glob("*.ipynb"))
    if not notebooks:
        sys.exit(f"There are no notebooks in {FOLDER}: expected at least one.")
    wanted = [Path(name).stem for name in names]
    if unknown := sorted(set(wanted) - {path.stem for path in notebooks}):
        sys.exit(
            f"There is no notebook {', '.join(unknown)}: pass some of {', '.join(path.stem for path in notebooks)}."
        )
    return [path for path in notebooks if not wanted or path.stem in wanted]


def main() -> None:
    names = [argument for argument in sys.argv[1:] if argument != "--save"]
    failed = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # which wait: the work is done by the processes of the notebooks
        running = {pool.submit(run, path, save="--save" in sys.argv[1:]): path for path in find(names)}
        for done in as_completed(running):
            name = running[done].name
            try:
                print(f"{name}: {done.result():.0f} s", flush=True)
            except Exception as error:
                failed.append(name)
                print(f"{name} failed: {error}", flush=True)
    if failed:
        sys.exit(f"{len(failed)} of {len(running)} notebooks failed: {', '.join(sorted(failed))}")


if __name__ == "__main__":
    main()
