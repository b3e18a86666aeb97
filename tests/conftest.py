"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real modules and data beside the repository, or a skip that says so."""
    folder = Path(os.environ.get("TFEMBED_SHARED", Path(__file__).parents[1].parent / "shared"))
    if not (folder / "hub").is_dir():
        pytest.skip(f"no folder of real modules at {folder}; set TFEMBED_SHARED to one")
    return folder
