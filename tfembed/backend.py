"""The backend that Keras runs on, told before Keras is imported: tfembed needs TensorFlow's."""

import json
import os
import sys
from pathlib import Path
from typing import Any

NEEDED = "tensorflow"


def check_backend() -> None:
    """Refuse to go on with another backend of Keras than TensorFlow.

    Raises:
        ValueError: If Keras runs, or would run, on another one.
    """
    if (advice := backend_advice()) is not None:
        raise ValueError(f"tfembed needs the TensorFlow backend: {advice}")


def backend_advice() -> str | None:
    """What to do about another backend of Keras, in a sentence; None if it is TensorFlow."""
    keras: Any = sys.modules.get("keras")
    running = keras.config.backend() if hasattr(keras, "config") else None
    from_environment = os.environ.get("KERAS_BACKEND")
    name = running or from_environment or _from_file() or NEEDED
    if name == NEEDED:
        return None
    if name == from_environment:
        todo = "unset KERAS_BACKEND"
    elif name == _from_file():
        todo = f'set KERAS_BACKEND=tensorflow, or "backend": "tensorflow" in {_file()}'
    else:
        todo = "set KERAS_BACKEND=tensorflow"
    return f"{todo}{', and restart Python' if running else ''}. Keras's backend is {name!r}."


def _from_file() -> str | None:
    """The backend that Keras's own settings name; None where Keras would find none."""
    try:
        return json.loads(_file().read_text(encoding="utf-8"))["backend"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _file() -> Path:
    """Keras's settings, where Keras looks for them."""
    if (folder := os.environ.get("KERAS_HOME")) is not None:
        return Path(os.path.expanduser(folder)) / "keras.json"
    home = os.path.expanduser("~")
    return Path(home if os.access(home, os.W_OK) else "/tmp") / ".keras" / "keras.json"
