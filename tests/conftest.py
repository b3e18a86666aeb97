"""Fixtures that every test may use."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@pytest.fixture(scope="session", autouse=True)
def feature_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that features are stored in during the tests, and in the processes that they start."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFEMBED_CACHE", str(folder))
        patch.delenv("TFEMBED_CACHE_GB", raising=False)
        yield folder / "features"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real modules and data beside the repository, or a skip that says so."""
    folder = Path(os.environ.get("TFEMBED_SHARED", Path(__file__).parents[1].parent / "shared"))
    if not (folder / "hub").is_dir():
        pytest.skip(f"no folder of real modules at {folder}; set TFEMBED_SHARED to one")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Any:
    """MiniLM, loaded once, frozen; a test that unfreezes it freezes it again."""
    from tfembed import load_encoder

    return load_encoder("minilm")


@pytest.fixture(scope="session")
def glyphs() -> Any:
    """The small image encoder of the package, frozen; a test that changes it loads its own."""
    from tfembed import load_encoder

    return load_encoder("glyphs")


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser with an empty profile, or a skip that says what is missing."""
    from selenium import webdriver

    browser, control = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if browser is None or control is None:
        pytest.skip("no chromium with chromedriver on the path (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*BROWSER_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(control))
    yield driver
    driver.quit()
