"""What README and guides show, works."""

import re
from pathlib import Path

import pytest

from tfembed.cli import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", README, re.MULTILINE | re.DOTALL)
PYTHON = [
    code
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for code in re.findall(r"^```python\n(.*?)^```\s*$", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
]
CODE = "\n".join([*(code for language, code in FENCED if language != "python"), *re.findall(r"`([^`\n]+)`", README)])
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def test_readme_shows_python() -> None:
    """The pattern finds blocks of Python in README and guides: else nothing of them would be tested."""
    assert len(PYTHON) > 5


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.strip().splitlines()[0])
def test_python_of_the_readme_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block runs by itself, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_make_targets_of_the_readme_exist() -> None:
    """Each `make x` in README and CONTRIBUTING names a target of the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for text in (CODE, CONTRIBUTING):
        named = set(re.findall(r"(?:^|[;&`])\s*make ([a-z][a-z-]*)", text, re.MULTILINE))
        assert named, "no target is named, or the pattern does not find it"
        assert named <= targets


def test_files_that_contributors_are_sent_to_exist() -> None:
    """Each path in CONTRIBUTING.md is there, patterns too."""
    named = re.findall(r"`((?:tfembed|tests|benchmarks|notebooks|scripts)/[\w/*.]*)`", CONTRIBUTING)
    assert len(named) > 8
    assert [path for path in named if not list(ROOT.glob(path.rstrip("/")))] == []


def test_commands_of_the_readme_exist() -> None:
    """Each `tfembed x` in the README is a command, and the options after it are options of that command."""
    lines = re.findall(r"^\s*\$?\s*(?:\S*/)?tfembed ([a-z][^\n#|>]*)", CODE, re.MULTILINE)
    assert lines, "the README names no command, or the pattern does not find it"
    for line in lines:
        name, *arguments = line.split()
        assert name in cli.commands, line
        known = {option for parameter in cli.commands[name].params for option in parameter.opts} | {"--help", "-h"}
        assert {word.split("=")[0] for word in arguments if word.startswith("--")} <= known, line


def test_messages_of_the_troubleshooting_guide_are_ours() -> None:
    """Messages that users look up are those of the source; the first four come from other libraries."""
    guide = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `([^`]+)`", guide, re.MULTILINE)[4:]
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tfembed").rglob("*.py"))
    joined = re.sub(r'"\s*f?"', "", source)  # strings that are written over several lines
    assert len(messages) > 5
    assert [message for message in messages if message not in joined] == []
