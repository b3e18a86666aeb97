"""One label as people write it: checked, and brought into a form to compare by. Errors are without the place."""

import math
from typing import Any

import numpy as np

from tfembed.data.class_names import normalize_name

Key = str | int
"""A text in Unicode's form NFC without the spaces around it, or a whole number."""

LISTS = (list, tuple, set, frozenset, np.ndarray)
"""What may hold several labels."""

_LARGEST = float(np.finfo(np.float32).max)


def is_missing(value: Any) -> bool:
    """Check whether a value is None, NaN, or the NA or NaT of pandas.

    Example:
        >>> is_missing(np.float32("nan")), is_missing("")
        (True, False)
    """
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and math.isnan(value)


def check_present(label: Any) -> None:
    """Refuse missing values and blank text."""
    is_blank = isinstance(label, str) and not label.strip()
    if is_missing(label) or is_blank:
        raise ValueError("the label is missing. Fill it in, or remove the row.")


def as_key(label: Any) -> Key:
    """The key of a single label.

    Example:
        >>> as_key(" spam "), as_key(3.0)
        ('spam', 3)
    """
    check_present(label)
    if isinstance(label, bytes):
        label = label.decode(errors="backslashreplace")
    if isinstance(label, str):
        return normalize_name(str(label))
    if isinstance(label, bool):
        return label
    if isinstance(label, int | np.integer) or (isinstance(label, float) and label.is_integer()):
        return int(label)
    raise ValueError(
        f"{label!r} is no class: expected a text or a whole number. For numbers to predict, pass task='regression'."
    )


def as_keys(label: Any) -> list[Key]:
    """The keys of a list of labels, or of a single label."""
    keys = [as_key(value) for value in (label if isinstance(label, LISTS) else [label])]
    if len(set(keys)) < len(keys):
        raise ValueError(f"a label is given twice in {keys}. Name each label once.")
    return keys


def hot_columns(row: Any, width: int) -> list[Key]:
    """The columns that are 1 in a row of 0 and 1."""
    if not isinstance(row, LISTS) or len(row) != width or any(value not in (0, 1) for value in row):
        raise ValueError(f"{row!r} is no row of {width} values that are 0 or 1. Correct it.")
    return [column for column, value in enumerate(row) if value]


def as_number(label: Any) -> float:
    """A target of a regression, which texts may spell."""
    check_present(label)
    try:
        number = math.nan if isinstance(label, str) and "_" in label else float(label)  # Python's 1_000
    except (TypeError, ValueError):
        number = math.nan
    if math.isfinite(number) and abs(number) > _LARGEST:
        raise ValueError(f"the target {label!r} is beyond {_LARGEST:.1e}, the largest of float32. Take a larger unit.")
    if math.isfinite(number):
        return number
    raise ValueError(f"the target {label!r} is not a finite number, as a regression needs. Correct it.")
