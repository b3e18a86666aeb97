"""The page to try models with: one file of HTML, without a network."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("page.html")


def page(thresholds: Mapping[str, Mapping[int, float | None]]) -> str:
    """Return the HTML of the page for some models.

    Args:
        thresholds: Score below which each version rejects an input, by the name of the model and the number of the
            version; None where it rejects nothing.

    Example:
        >>> "intents" in page({"intents": {1: 0.4}})
        True
    """
    # A name may hold what would end the script element.
    return _html().replace("/*THRESHOLDS*/{}", json.dumps(thresholds).replace("<", "\\u003c"))


@cache
def _html() -> str:
    return _FILE.read_text(encoding="utf-8")
