"""The backend of Keras: another one than TensorFlow's is one line, before Keras is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tfembed
from tfembed.backend import backend_advice, check_backend


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of Keras's settings, empty, with Keras not imported yet and no backend in the environment."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setitem(sys.modules, "keras", None)
    return tmp_path


@pytest.mark.parametrize("settings", [None, '{"backend": "tensorflow"}', "{", "[]", '{"floatx": "float32"}'])
def test_tensorflow_is_taken(home: Path, settings: str | None) -> None:
    """By default, where Keras's settings name it, and where Keras would not heed them."""
    if settings is not None:
        (home / "keras.json").write_text(settings, encoding="utf-8")
    check_backend()


@pytest.mark.parametrize("name", ["torch", "jax", "TensorFlow"])
def test_the_environment_names_another(home: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """It goes before the settings, as it does for Keras, and is what has to be unset."""
    (home / "keras.json").write_text('{"backend": "tensorflow"}', encoding="utf-8")
    monkeypatch.setenv("KERAS_BACKEND", name)
    expected = rf"tfembed needs the TensorFlow backend: unset KERAS_BACKEND\. Keras's backend is '{name}'\.$"
    with pytest.raises(ValueError, match=expected):
        check_backend()


def test_the_settings_name_another(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is named; an empty variable does not count, and one that names TensorFlow does."""
    (home / "keras.json").write_text('{"backend": "jax"}', encoding="utf-8")
    monkeypatch.setenv("KERAS_BACKEND", "")
    with pytest.raises(ValueError, match=r'"backend": "tensorflow" in .*keras\.json'):
        check_backend()
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    check_backend()


def test_the_default_home_is_looked_into(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without KERAS_HOME, the settings are in .keras of the user's folder."""
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(home))
    (home / ".keras").mkdir()
    (home / ".keras" / "keras.json").write_text('{"backend": "jax"}', encoding="utf-8")
    assert "'jax'" in str(backend_advice())


def test_a_keras_that_runs_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once Keras is imported, a variable that is set later changes nothing; another backend needs a new process."""
    import keras

    monkeypatch.setenv("KERAS_BACKEND", "torch")
    check_backend()
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="unset KERAS_BACKEND, and restart Python"):
        check_backend()
    monkeypatch.delenv("KERAS_BACKEND")
    with pytest.raises(ValueError, match="set KERAS_BACKEND=tensorflow, and restart Python"):
        check_backend()


def test_public_names_are_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first name that is used of tfembed says it; a client of a server may be used beside another backend."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(ValueError, match="tfembed needs the TensorFlow backend"):
        tfembed.__getattr__("load_text")
    assert tfembed.__getattr__("Client").__name__ == "Client"


@pytest.mark.parametrize("command", ["inspect glyphs", "train intents", "search intents --out study", "demo"])
def test_commands_say_it_in_one_line(command: str, tmp_path: Path) -> None:
    """With exit code 2, and before TensorFlow is imported."""
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    line = [sys.executable, "-m", "tfembed", *command.split()]
    run = subprocess.run(line, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr == (
        "tfembed: tfembed needs the TensorFlow backend: unset KERAS_BACKEND. Keras's backend is 'torch'.\n"
    )
