"""Take the pictures that README shows: python scripts/take_pictures.py. It takes minutes.

A search on the sample of intents, and its report in a browser; the winner, exported and served, and its page, asked
something. Needs chromium and chromedriver on the path.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import tfembed as te

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
QUESTION = "I land tomorrow, what about my second suitcase?"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = te.load_text(te.resource_path("intents"), label="intent")
        study = te.search("minilm", data, directory=folder / "searches" / "intents", max_trials=8, folds=1)
        te.export(study.best_model(), folder / "intents", examples=data.validation)
        with browser(folder) as driver, served(folder / "intents") as address:
            driver.get((folder / "searches" / "intents" / "report.html").as_uri())
            driver.save_screenshot(FOLDER / "report.png")
            driver.get(f"http://{address}/")
            button = driver.find_element(By.ID, "ask")
            WebDriverWait(driver, 20).until(lambda _: button.is_enabled())
            driver.find_element(By.ID, "text").send_keys(QUESTION)
            button.click()
            answer = driver.find_element(By.ID, "answer")
            WebDriverWait(driver, 20).until(lambda _: answer.is_displayed())
            driver.save_screenshot(FOLDER / "page.png")


@contextmanager
def browser(folder: Path) -> Iterator[Any]:
    """A browser with an empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in ("--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_window_size(1200, 1000)
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def served(base: Path) -> Iterator[str]:
    """`tfembed serve` in a process of its own; its address of REST."""
    command = [sys.executable, "-m", "tfembed", "serve", str(base), "--port", "0", "--rest_api_port", "8501"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield next(line.split()[1] for line in process.stderr or () if line.startswith("REST ")).removeprefix(
                "http://"
            )
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
