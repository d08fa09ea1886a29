"""Bars over days or hours, as numbers for an SVG. PURE; money is never made a float."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

WIDTH, HEIGHT = 1000, 160
_GAP_OF_A_BAR = 4


@dataclass(frozen=True, slots=True)
class Bar:
    """One day or hour; `x`, `y`, `width` and `height` in the picture's units."""

    day: date
    value: str
    x: int
    width: int
    height: int
    href: str

    @property
    def y(self) -> int:
        """Where its top is; pictures count from above."""
        return HEIGHT - self.height


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars under a title; `most` is what the highest stands for."""

    title: str
    most: str
    bars: Sequence[Bar]

    @property
    def last(self) -> date:
        """The day or hour at its end."""
        return self.bars[-1].day


@dataclass(frozen=True, slots=True)
class Point:
    """A day's or hour's value, as it is read, and where it leads to, if anywhere."""

    day: date
    value: Decimal | int
    told: str
    href: str


def chart(title: str, points: Sequence[Point]) -> Chart:
    """The bars of these days. What is negative has none, though its words say so."""
    most = max(points, key=lambda point: point.value)
    step = WIDTH / max(len(points), 1)
    width = max(int(step - step / _GAP_OF_A_BAR), 1)
    bars = [
        Bar(point.day, point.told, int(at * step), width, _height(point, most), point.href)
        for at, point in enumerate(points)
    ]
    return Chart(title, most.told, bars)


def _height(point: Point, most: Point) -> int:
    if point.value <= 0 or most.value <= 0:
        return 0
    return max(int(point.value * HEIGHT / most.value), 1)
