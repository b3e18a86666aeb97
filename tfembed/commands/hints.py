"""Hints about what to type next, which can be pasted as they stand."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

_MOST = 60  # characters of an example text
_LOOKED_AT = 50


def program() -> str:
    """The command that started this process, as it can be typed again.

    It is `tfembed` where that is what the shell finds by that name, and the path that was typed elsewhere.

    Example:
        >>> program()
        'tfembed'
    """
    typed = Path(sys.argv[0])
    if typed.name == "__main__.py" and typed.parent.name == "tfembed":
        python = shutil.which("python")
        is_on_path = python is not None and os.path.realpath(python) == os.path.realpath(sys.executable)
        return f"{'python' if is_on_path else shlex.quote(sys.executable)} -m tfembed"
    if typed.stem != "tfembed":
        return "tfembed"
    on_path = shutil.which("tfembed")
    return "tfembed" if on_path is not None and os.path.samefile(on_path, typed) else shlex.quote(str(typed))


def command(*words: object) -> str:
    """A command of tfembed with quoted arguments.

    Example:
        >>> command("predict", Path("my runs", "a"), "where is my card?")
        "tfembed predict 'my runs/a' 'where is my card?'"
    """
    return " ".join([program(), *(shlex.quote(str(word)) for word in words)])


def example_of(examples: Iterable[Any]) -> str:
    """One of some examples, to be typed: a short text, or the path of an image.

    Example:
        >>> example_of(["where is my card?"])
        'where is my card?'
    """
    first = list(islice(examples, _LOOKED_AT))
    if not all(isinstance(each, str) for each in first):
        return str(first[0]) if isinstance(first[0], Path) else "picture.png"
    texts = [" ".join(each.split()) for each in first]
    return next((text for text in texts if len(text) <= _MOST), texts[0][:_MOST])
