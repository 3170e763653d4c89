"""Charts: a frame with scales, its axes, limits, and curves that have their names at their right ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from loadtests.lab.report import svg

WIDTH, HEIGHT, LEFT, RIGHT, TOP = 1080.0, 230.0, 84.0, 880.0, 26.0

Points = list[tuple[float, float]]
Curve = tuple[str, str, Points, str]
"""Name, colour, points, and which points are marked: ``dots`` for all, ``end`` for the last, or empty for none."""


def linear(longest: float) -> Callable[[float], float]:
    """The scale from 0 to ``longest``."""
    return lambda value: value / longest


@dataclass(frozen=True)
class Frame:
    """The area of a chart: values from 0 to ``most`` upwards, and ``share`` of a value, 0 to 1, from left to right."""

    most: float
    share: Callable[[float], float]
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    height: float = HEIGHT

    def x(self, value: float) -> float:
        return self.left + self.share(value) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - min(value, self.most) / self.most)

    @property
    def bottom(self) -> float:
        return self.top + self.height

    def steps(self, about: int = 5, least: float = 0) -> list[float]:
        """Round values from 0 to ``most``, at most ``about`` besides 0, at least ``least`` from each other."""
        step = max(round_step(self.most / about), least)
        return [number * step for number in range(int(self.most / step) + 1)]


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, … (and 0.5, 0.2, …) that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(max(least, 1e-9)))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))


def outline(at: Frame) -> str:
    return svg.box(at.left, at.top, at.right - at.left, at.height, "axis")


def level(at: Frame, value: float, label: str) -> Iterator[str]:
    """One value of the axis on the left."""
    yield svg.line(at.left, at.y(value), at.right, at.y(value), "grid")
    yield svg.text(label, at.left - 8, at.y(value) + 4, "soft", "end")


def upwards(at: Frame, label: str, least_step: float = 0) -> Iterator[str]:
    """The axis on the left, from 0, and the border."""
    yield svg.text(label, at.left, at.top - 8, "strong")
    for value in at.steps(least=least_step):
        yield from level(at, value, f"{value:,.10g}")
    yield outline(at)


def tick(at: Frame, value: float, label: str) -> Iterator[str]:
    """One value of the axis at the bottom."""
    yield svg.line(at.x(value), at.top, at.x(value), at.bottom, "grid")
    yield svg.text(label, at.x(value), at.bottom + 18, "soft", "middle")


def below(at: Frame, label: str) -> str:
    return svg.text(label, at.right, at.bottom + 34, "soft", "end")


def limit(at: Frame, value: float, label: str) -> Iterator[str]:
    """A dashed line at a value that should not be passed."""
    yield svg.line(at.left, at.y(value), at.right, at.y(value), "capacity")
    yield svg.text(label, at.right - 6, at.y(value) - 6, "soft", "end")


def seats(at: Frame, capacity: int) -> Iterator[str]:
    """The capacity of an event as a limit, and the area above it, where the event is oversold."""
    yield svg.box(at.left, at.top, at.right - at.left, at.y(capacity) - at.top, "over")
    yield from limit(at, capacity, f"{capacity:,} seats")


def curves(at: Frame, some: Sequence[Curve]) -> Iterator[str]:
    """Curves with their names at their right ends; a name that would cover another one is moved down."""
    above = -math.inf
    for name, colour, points, marked in sorted(some, key=lambda curve: at.y(curve[2][-1][1])):
        places = [(at.x(x), at.y(y)) for x, y in points]
        yield svg.curve(places, colour)
        yield from (svg.dot(x, y, colour) for x, y in {"dots": places, "end": places[-1:]}.get(marked, ()))
        above = max(places[-1][1] + 4, above + 16)
        place = f'x="{svg.number(at.right + 10)}" y="{svg.number(above)}"'
        yield f'<text {place} style="fill:var(--{colour})">{svg.escaped(name)}</text>'


def picture(body: list[str], *, title: str, about: str, name: str) -> str:
    """The complete drawing of one chart of the default size."""
    return svg.document(body, WIDTH, TOP + HEIGHT + 44, title=title, about=about, name=name)
