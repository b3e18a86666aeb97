"""Names of classes: in one form, checked, and compared as a reader sees them."""

import re
import unicodedata
from collections.abc import Iterable

RESERVED = "__none__"
"""The label that an exported model gives to what is of none of its classes."""

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)


def normalize_name(name: str) -> str:
    """Bring the name of a class into Unicode's form NFC, without the white space around it, and check it.

    Raises:
        ValueError: If nothing of it is visible, it has a line break, or exported models give the name to other inputs.

    Example:
        >>> len("cafe\\u0301"), len(normalize_name("cafe\\u0301 "))
        (5, 4)
    """
    normal = unicodedata.normalize("NFC", name).strip()
    if not _visible(normal):
        raise ValueError("the label is missing. Fill it in, or remove the row.")
    if len(normal.splitlines()) > 1:
        raise ValueError(f"the label {normal!r} has a line break, which names of classes cannot have. Remove it.")
    if normal == RESERVED:
        raise ValueError(
            f"the label {RESERVED!r} is what exported models say of inputs of no class. Name the class differently."
        )
    return normal


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Group names that differ in nothing that a reader would notice: case, spaces, invisible characters, `1` and `1.0`.

    Names of a single character are compared as they are but for invisible characters, as those of letters are.

    Example:
        >>> look_alikes(["spam", "Spam", "1", "1.0", "a", "A"])
        [['spam', 'Spam'], ['1', '1.0']]
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_look(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _look(name: str) -> str:
    visible = _visible(name)
    if _NUMBER.fullmatch(visible):
        return repr(float(visible))
    if len(visible) == 1:
        return visible
    return " ".join(unicodedata.normalize("NFKC", visible).casefold().split())


def _visible(text: str) -> str:
    """Remove format characters, such as zero-width ones, and selectors of variants; and white space around the rest."""
    characters = (c for c in text if unicodedata.category(c) != "Cf" and ord(c) not in _VARIATION_SELECTORS)
    return "".join(characters).strip()
