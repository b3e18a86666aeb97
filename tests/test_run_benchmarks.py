"""The script that runs benchmarks, as `make bench` calls it, and what README says they gave."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "RESULTS.md"
NUMBER = r"\d[\d,]*(?:\.\d+)?"


def _sections(text: str) -> dict[str, str]:
    """What RESULTS.md has, by the name of the benchmark."""
    return dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script of a project that has these benchmarks: one that works, one that fails, one that is skipped."""
    for name in ("scripts", "benchmarks"):
        (folder / name).mkdir(exist_ok=True)
    script = shutil.copy(ROOT / "scripts" / "run_benchmarks.py", folder / "scripts")
    (folder / "benchmarks" / "a_good.py").write_text("import sys; print('command: a'); print('twice', sys.argv[1:])")
    (folder / "benchmarks" / "b_bad.py").write_text("print('half'); raise SystemExit(3)")
    (folder / "benchmarks" / "c_skipped.py").write_text("print('skipped: pass --shared FOLDER')")
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)


def test_what_benchmarks_print_is_kept(tmp_path: Path) -> None:
    """A section for each that worked, with its command; the others stay as they were, and a failure is named."""
    file = tmp_path / "benchmarks" / "RESULTS.md"
    file.parent.mkdir()
    file.write_text("# Results\n\n## b_bad.py\n\nof yesterday\n")
    run = _run(tmp_path, "--shared", str(tmp_path / "real"), "--", "--seeds", "3")
    assert run.returncode == 1
    assert "failed: b_bad.py" in run.stderr
    sections = _sections(file.read_text())
    assert list(sections) == ["a_good.py", "b_bad.py"]
    command = "$ python benchmarks/a_good.py --shared FOLDER --seeds 3"
    assert f"{command}\ntwice ['--shared', 'FOLDER', '--seeds', '3']" in sections["a_good.py"]
    assert sections["b_bad.py"].strip() == "of yesterday"
    assert str(tmp_path) not in file.read_text()
    before = file.read_text()
    assert _run(tmp_path, "a_good", "--", "--quick").returncode == 0
    assert file.read_text() == before


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    """The message lists the benchmarks."""
    run = _run(tmp_path, "d_none")
    assert "There is no benchmark d_none: pass some of a_good, b_bad, c_skipped" in run.stderr
    assert run.returncode == 1


def test_results_are_of_benchmarks() -> None:
    """Each section belongs to a benchmark, and each benchmark stands in the table of the folder's README."""
    names = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py"))
    assert names
    sections = _sections(RESULTS.read_text(encoding="utf-8"))
    assert sections
    assert set(sections) <= set(names)
    for name in names:
        assert f"| `{name}` |" in (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")


def _claims() -> list[tuple[str, str, str]]:
    """Rows of README's tables that end with a benchmark: what was measured, figures, the benchmark's name."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in readme.split("\n") if line[:1] == "|"]
    return [(row[0], row[-2], row[-1].strip("`")) for row in rows if re.fullmatch(r"`\w+\.py`", row[-1])]


def test_the_readme_claims_something() -> None:
    """The pattern finds the rows: else nothing of them would be compared."""
    assert len(_claims()) > 8


@pytest.mark.parametrize(("what", "figures", "name"), _claims(), ids=lambda each: each[:60])
def test_figures_of_the_readme_are_those_that_were_measured(what: str, figures: str, name: str) -> None:
    """Every number of the row's figures stands in the section of its benchmark."""
    measured = set(re.findall(NUMBER, _sections(RESULTS.read_text(encoding="utf-8"))[name]))
    named = re.findall(NUMBER, figures)
    assert named
    assert [number for number in named if number not in measured] == []
