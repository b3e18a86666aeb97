"""The page to try models with: one file of HTML, without a network."""

import json
from functools import cache
from pathlib import Path

_FILE = Path(__file__).with_name("page.html")


def page(models: list[str]) -> str:
    """The HTML of the page for these models.

    Example:
        >>> "intents" in page(["intents"])
        True
    """
    # A name may hold what would end the script element.
    return _html().replace("/*MODELS*/[]", json.dumps(models).replace("<", "\\u003c"))


@cache
def _html() -> str:
    return _FILE.read_text(encoding="utf-8")
