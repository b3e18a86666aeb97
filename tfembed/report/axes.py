"""Axes of a chart: from values to places between 0 and 1, with ticks at round numbers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis.

    Attributes:
        title: What it shows.
        lowest: The value at its beginning.
        highest: The value at its end.
        ticks: Values that are marked, and what is written there.
        log: Whether each decade takes the same room.
    """

    title: str
    lowest: float
    highest: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies: 0 at the beginning, 1 at the end.

        Example:
            >>> Axis(title="", lowest=1, highest=100, ticks=(), log=True).place(10)
            0.5
        """
        low, high, value = (_log(each) if self.log else each for each in (self.lowest, self.highest, value))
        return (value - low) / (high - low)


def linear_axis(title: str, values: Iterable[float], *, percent: bool = False) -> Axis:
    """An axis that holds some values, with about five ticks.

    Example:
        >>> [text for _, text in linear_axis("accuracy", [0.91, 0.98], percent=True).ticks]
        ['90 %', '92 %', '94 %', '96 %', '98 %']
    """
    low, high = _extent(values)
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marked = [i * step for i in range(first, last + 1)]
    ticks = tuple((value, f"{100 * value:.6g} %" if percent else f"{value:.6g}") for value in marked)
    return Axis(title=title, lowest=marked[0], highest=marked[-1], ticks=ticks)


def log_axis(title: str, values: Iterable[float]) -> Axis:
    """An axis that holds some values of several sizes; what is 0 stands at its beginning.

    Example:
        >>> [text for _, text in log_axis("values", [0, 20, 4e6]).ticks]
        ['10', '100', '1 k', '10 k', '100 k', '1 M', '10 M']
    """
    positive = [value for value in values if value > 0] or [1.0]
    first = math.floor(math.log10(min(positive)))
    last = max(math.ceil(math.log10(max(positive))), first + 1)
    ticks = tuple((10.0**i, short(10.0**i)) for i in range(first, last + 1))
    return Axis(title=title, lowest=10.0**first, highest=10.0**last, ticks=ticks, log=True)


def short(number: float) -> str:
    """A number in few characters.

    Example:
        >>> short(1779854), short(5390), short(0.25)
        ('1.8 M', '5.4 k', '0.25')
    """
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g} {sign}" if abs(number) >= 100 * size else f"{number / size:.2g} {sign}"
    return f"{number:.3g}"


def _log(value: float) -> float:
    return math.log10(max(value, 1e-12))


def _extent(values: Iterable[float]) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if math.isclose(low, high):
        margin = abs(low) / 10 or 0.5
        return low - margin, high + margin
    return low, high


def _round_step(step: float) -> float:
    """The next step up of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))
