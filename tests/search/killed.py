"""A search that is killed, and killed again: what the processes of test_interruptions.py run."""

import os
from pathlib import Path

from tiny_studies import space, strategy, study


def search_in(folder: str, cache: str) -> None:
    """Run the search of the test; what it prints is of no use."""
    os.environ["TFEMBED_CACHE"] = cache
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        study(Path(folder), max_trials=3, space=space(strategy=strategy))
