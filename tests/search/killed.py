"""A search that is killed, and killed again: what the processes of test_interruptions.py run."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tiny_studies import space, strategy, study


def search_in(folder: str, cache: str, num_files: int | None, seconds: float) -> None:
    """Run the search of the test; what it prints is of no use.

    Args:
        folder: Of the study.
        cache: Of the features.
        num_files: After so many files of the study were written the end is near; None for an end in peace.
        seconds: How near.
    """
    os.environ["TFEMBED_CACHE"] = cache
    written = []

    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def count(event: str, arguments: Any) -> None:
        if event == "os.rename" and str(arguments[1]).startswith(folder):
            written.append(arguments[1])
            if len(written) == num_files:
                threading.Timer(seconds, kill).start()

    sys.addaudithook(count)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        study(Path(folder), max_trials=3, space=space(strategy=strategy))
