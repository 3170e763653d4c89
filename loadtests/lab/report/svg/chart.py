"""Curves over a common axis, as static SVG: each with its name at its right end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from loadtests.lab.report import svg
from loadtests.lab.report.svg.timeline import round_step

WIDTH, HEIGHT, LEFT, RIGHT, TOP = 1080.0, 230.0, 84.0, 880.0, 26.0

Points = list[tuple[float, float]]
Curve = tuple[str, str, Points, str]
"""Its name, its colour, where it goes, and ``dots`` where the points are to be seen."""


@dataclass(frozen=True)
class Frame:
    """Values from 0 to ``most`` upwards; from left to right whatever ``share`` says, 0 to 1."""

    most: float
    share: Callable[[float], float]

    def x(self, value: float) -> float:
        return LEFT + self.share(value) * (RIGHT - LEFT)

    def y(self, value: float) -> float:
        return TOP + HEIGHT * (1 - min(value, self.most) / self.most)


def upwards(at: Frame, label: str) -> Iterator[str]:
    """The axis to the left, from 0."""
    yield svg.text(label, LEFT, TOP - 9, "strong")
    step = round_step(at.most / 5)
    for number in range(int(at.most / step) + 1):
        y = at.y(number * step)
        yield svg.line(LEFT, y, RIGHT, y, "grid")
        yield svg.text(f"{number * step:,.6g}", LEFT - 8, y + 4, "soft", "end")
    yield svg.box(LEFT, TOP, RIGHT - LEFT, HEIGHT, "axis")


def tick(at: Frame, value: float, label: str) -> Iterator[str]:
    """One value of the axis below."""
    yield svg.line(at.x(value), TOP, at.x(value), TOP + HEIGHT, "grid")
    yield svg.text(label, at.x(value), TOP + HEIGHT + 18, "soft", "middle")


def below(label: str) -> str:
    """What the axis below counts."""
    return svg.text(label, RIGHT, TOP + HEIGHT + 34, "soft", "end")


def curves(at: Frame, some: Sequence[Curve]) -> Iterator[str]:
    """Each with its name at its right end, moved down where two would stand on each other."""
    above = -math.inf
    for name, colour, points, kind in sorted(some, key=lambda curve: at.y(curve[2][-1][1])):
        path = "M" + "L".join(f"{svg.number(at.x(x))} {svg.number(at.y(y))}" for x, y in points)
        yield f'<path class="curve" style="stroke:var(--{colour})" d="{path}"/>'
        if kind == "dots":
            yield from (dot(at.x(x), at.y(y), colour) for x, y in points)
        above = max(at.y(points[-1][1]) + 4, above + 16)
        place = f'x="{svg.number(RIGHT + 10)}" y="{svg.number(above)}"'
        yield f'<text {place} style="fill:var(--{colour})">{svg.escaped(name)}</text>'


def dot(x: float, y: float, colour: str) -> str:
    """A measured point."""
    return f'<circle cx="{svg.number(x)}" cy="{svg.number(y)}" r="3.5" style="fill:var(--{colour})"/>'


def picture(body: list[str], *, title: str, about: str, name: str) -> str:
    """The whole drawing."""
    return svg.document(body, WIDTH, TOP + HEIGHT + 44, title=title, about=about, name=name)
