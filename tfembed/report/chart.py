"""Chart: what the page draws as SVG, in the colours of its scheme. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass

from tfembed.report.axes import Axis

COLOURS = 8  # classes c0 to c7 of the style sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point, with what is said of it where it is pointed at.

    Attributes:
        x: Its value on the horizontal axis.
        y: Its value on the vertical one.
        title: What it is.
        series: Its series, from 0; None for what is only compared with.
        label: What stands beside it.
        hollow: Whether it is drawn as a ring.
    """

    x: float
    y: float
    title: str
    series: int | None = 0
    label: str = ""
    hollow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through some places.

    Attributes:
        places: `(x, y)` as values.
        title: What it is.
        series: See `Point`.
        style: `"solid"`, `"dashed"` or `"bold"`.
    """

    places: tuple[tuple[float, float], ...]
    title: str = ""
    series: int | None = 0
    style: str = "solid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Points, lines and bars over two axes.

    Attributes:
        title: For those who do not see it.
        x: The horizontal axis.
        y: The vertical one.
        points: Drawn above the lines.
        lines: In their order.
        bars: `(left, right, height, opacity, title)`, the first three as values.
        legend: A name for each series that is shown; none for a single one.
    """

    title: str
    x: Axis
    y: Axis
    points: tuple[Point, ...] = ()
    lines: tuple[Line, ...] = ()
    bars: tuple[tuple[float, float, float, float, str], ...] = ()
    legend: tuple[tuple[int | None, str], ...] = ()


def colour(series: int | None) -> str:
    """The class of a series in the style sheet.

    Example:
        >>> colour(9), colour(None)
        ('c1', 'other')
    """
    return "other" if series is None else f"c{series % COLOURS}"


def front(places: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    """The corners of a staircase through places that nothing beats, from the cheapest to the best.

    Example:
        >>> front([(10, 0.9), (1, 0.8)])
        ((1, 0.8), (10, 0.8), (10, 0.9))
    """
    corners: list[tuple[float, float]] = []
    for x, y in sorted(places):
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return tuple(corners)
