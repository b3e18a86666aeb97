"""Spelling: the nearest of some names, for errors about a name that there is not."""

import difflib
from collections.abc import Iterable

_NEAR = 0.7  # of difflib's ratio; "best" is near to no strategy


def nearest_names(name: str, choices: Iterable[str]) -> list[str]:
    """List names that may have been meant, the nearest first; case, dashes and underscores do not count.

    Example:
        >>> nearest_names("lpft", ["lp_ft", "full"])
        ['lp_ft']
    """
    spelled: dict[str, str] = {}
    for choice in choices:
        spelled.setdefault(_letters(choice), choice)
    return [spelled[letters] for letters in difflib.get_close_matches(_letters(name), spelled, n=2, cutoff=_NEAR)]


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """A question with the nearest names, to put into an error behind a space; empty if none is near.

    Example:
        >>> did_you_mean("minlm", ["minilm", "glyphs"])
        " Did you mean 'minilm'?"
        >>> did_you_mean("nobody", ["minilm", "glyphs"])
        ''
    """
    names = nearest_names(name, choices)
    return f" Did you mean {' or '.join(map(repr, names))}?" if names else ""


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
