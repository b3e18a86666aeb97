"""Hints about what to type next."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from tfembed.commands.hints import command, example_of, program


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A command `tfembed` in a folder whose name has a space."""
    file = tmp_path / "my bin" / "tfembed"
    file.parent.mkdir()
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def test_the_command_is_the_one_that_was_typed(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the path it is `tfembed`; elsewhere the quoted path that was typed; with -m the interpreter comes first."""
    monkeypatch.setattr(sys, "argv", [str(installed), "train"])
    monkeypatch.setenv("PATH", str(installed.parent))
    assert program() == "tfembed"
    monkeypatch.setenv("PATH", os.devnull)
    assert shlex.split(program()) == [str(installed)]
    monkeypatch.setattr(sys, "argv", ["/site-packages/tfembed/__main__.py", "train"])
    assert program() == f"{shlex.quote(sys.executable)} -m tfembed"
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert program() == "tfembed"


def test_arguments_are_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell reads the hint as the words that were meant."""
    monkeypatch.setattr(sys, "argv", ["pytest"])
    words = ["predict", Path("my runs", "it's"), "what's $this?"]
    assert shlex.split(command(*words)) == ["tfembed", *map(str, words)]


def test_an_example_is_short_enough_to_be_read() -> None:
    """The first short text is taken, the beginning of a long one where there is none, the path of an image."""
    assert example_of(["long " * 30, "two\nlines"]) == "two lines"
    assert len(example_of(["long " * 30])) == 60
    assert example_of([Path("a b.png")]) == "a b.png"
    assert example_of([b"\x89PNG"]) == "picture.png"
