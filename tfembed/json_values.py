"""JSON as its standard has it: what is no finite number becomes null, so that every reader can read it."""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(values: Any, **options: Any) -> str:
    """Write JSON values; NaN and infinities become null.

    Args:
        values: Dictionaries, lists, texts, numbers, booleans and None.
        **options: Options of `json.dumps`.

    Example:
        >>> to_json({"r2": float("nan"), "loss": [0.5, float("inf")]})
        '{"r2": null, "loss": [0.5, null]}'
    """
    return json.dumps(finite(values), allow_nan=False, **options)


def finite(values: Any) -> Any:
    """The same JSON values with None in the place of NaN and infinities."""
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    if isinstance(values, Mapping):
        return {name: finite(value) for name, value in values.items()}
    return [finite(value) for value in values] if isinstance(values, list | tuple) else values


def with_nan(numbers: Any) -> Any:
    """The same numbers, in dictionaries and lists, with NaN in the place of null, which `to_json` wrote for it.

    Example:
        >>> with_nan({"loss": [0.5, None]})
        {'loss': [0.5, nan]}
    """
    if isinstance(numbers, Mapping):
        return {name: with_nan(value) for name, value in numbers.items()}
    if isinstance(numbers, list | tuple):
        return [with_nan(value) for value in numbers]
    return math.nan if numbers is None else numbers
