"""The benchmark's plots as static SVG: ratios with their intervals, growth, and throughput by number of workers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from loadtests.lab.bench.growth import Grown
from loadtests.lab.bench.pairs import Measured
from loadtests.lab.bench.scaling import Scaling
from loadtests.lab.bench.tables import program_of, ratio, shape_of
from loadtests.lab.report import svg
from loadtests.lab.report.timeline import round_step

_W, _H, _LEFT, _RIGHT, _TOP = 1080.0, 230.0, 84.0, 880.0, 26.0
_ROW_H, _NAMES_W = 22.0, 330.0
_CURVE_POINTS = 60
_MOST_RATIO = 1.6
_MOST_LIMIT = 3.0
"""How many times the highest throughput is still drawn of the limit; beyond, it would flatten all else."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class _Frame:
    """Values from 0 to ``most`` upwards; from left to right whatever ``share`` says, 0 to 1."""

    most: float
    share: Callable[[float], float]

    def x(self, value: float) -> float:
        return _LEFT + self.share(value) * (_RIGHT - _LEFT)

    def y(self, value: float) -> float:
        return _TOP + _H * (1 - min(value, self.most) / self.most)


def ratios_plot(measured: Sequence[Measured], name: str) -> str:
    """A dot for each median and a bar for its interval, against the ceiling at 1."""
    most = min(_MOST_RATIO, max([1.1, *(each.ratio.high for each in measured)]))
    left, right = _NAMES_W, _RIGHT + 40

    def x(value: float) -> float:
        return left + min(value, most) / most * (right - left)

    height = len(measured) * _ROW_H
    body = [svg.box(left, _TOP, right - left, height, "axis")]
    for tenth in range(0, int(most * 10) + 1, 2):
        body.append(svg.line(x(tenth / 10), _TOP, x(tenth / 10), _TOP + height, "grid"))
        body.append(svg.text(f"{tenth / 10:g}", x(tenth / 10), _TOP + height + 18, "soft", "middle"))
    body.append(svg.line(x(1), _TOP, x(1), _TOP + height, "capacity"))
    before = ""
    for number, each in enumerate(measured):
        y = _TOP + (number + 0.5) * _ROW_H
        shape = shape_of(each)
        if shape != before and number:
            body.append(svg.line(8, y - _ROW_H / 2, right, y - _ROW_H / 2, "axis"))
        if shape != before:
            body.append(svg.text(shape, 8, y + 4, "strong"))
        before = shape
        colour = "right" if each.durable else "five"
        body.append(svg.text(program_of(each), left - 8, y + 4, "soft", "end"))
        body.append(
            f'<path class="curve" style="stroke:var(--{colour})" '
            f'd="M{svg.number(x(each.ratio.low))} {svg.number(y)}H{svg.number(x(each.ratio.high))}"/>'
        )
        body.append(_dot(x(each.ratio.median), y, colour))
        body.append(svg.text(ratio(each.ratio), right + 8, y + 4, "soft"))
    about = "Median and 95 % bootstrap interval of the paired ratios; the dashed line is the ceiling."
    title = "Sold a second, as a share of the ceiling"
    return svg.document(body, _W, _TOP + height + 34, title=title, about=about, name=name)


def growth_plot(rows: Sequence[Grown], name: str) -> str:
    """Sold a second by the number of orders that the event has, beside a fresh event on the same server."""
    largest = max(row.orders for row in rows)
    at = _Frame(
        max([1.0, *(max(row.sold_per_s, row.fresh_per_s) for row in rows)]) * 1.12,
        lambda orders: math.log10(orders / 10 + 1) / math.log10(largest / 10 + 1) if largest else 0.0,
    )
    body = [*_upwards(at, "sold a second")]
    for orders in sorted({row.orders for row in rows}):
        body += _tick(at, orders, f"{orders:,}")
    body.append(svg.text("orders that the event has", _RIGHT, _TOP + _H + 34, "soft", "end"))
    curves = []
    for store, colour in zip(dict.fromkeys(row.store for row in rows), svg.COLOURS, strict=False):
        mine = [row for row in rows if row.store == store]
        curves.append((store, colour, [(float(row.orders), row.sold_per_s) for row in mine], "dots"))
        curves.append((f"{store}, a fresh event", "five", [(float(row.orders), row.fresh_per_s) for row in mine], ""))
    body += _curves(at, curves)
    about = "One line for each store, and beside it a fresh event on the same server, measured in pairs."
    return svg.document(body, _W, _TOP + _H + 44, title="What a purchase costs after many", about=about, name=name)


def scaling_plot(scaling: Scaling, name: str) -> str:
    """Sold a second by the number of workers; the fitted law; what one critical section after the other allows."""
    last = max(row.workers for row in scaling.rows)
    sold = [(float(row.workers), row.sold_per_s) for row in scaling.rows]
    limits = [(float(row.workers), row.limit_per_s) for row in scaling.rows if row.limit_per_s]
    at = _Frame(
        min(max(value for _, value in [*sold, *limits]), _MOST_LIMIT * max(value for _, value in sold)) * 1.12,
        lambda workers: math.log2(max(workers, 1)) / max(math.log2(last), 1.0),
    )
    body = [*_upwards(at, "sold a second")]
    for row in scaling.rows:
        body += _tick(at, row.workers, str(row.workers))
    body.append(svg.text("workers", _RIGHT, _TOP + _H + 34, "soft", "end"))
    curves: list[tuple[str, str, Points, str]] = [("measured", "one", sold, "dots")]
    if limits:
        curves.append(("1 / hold", "two", limits, ""))
    if scaling.law is not None:
        counts = [2 ** (math.log2(last) * step / _CURVE_POINTS) for step in range(_CURVE_POINTS + 1)]
        curves.append(("the fitted law", "four", [(n, scaling.law.per_s(n)) for n in counts], ""))
    body += _curves(at, curves)
    about = "Measured throughput, the universal scalability law fitted to it, and the limit 1 / hold."
    return svg.document(body, _W, _TOP + _H + 44, title="Throughput by number of workers", about=about, name=name)


def _upwards(at: _Frame, label: str) -> Iterator[str]:
    yield svg.text(label, _LEFT, _TOP - 9, "strong")
    step = round_step(at.most / 5)
    for number in range(int(at.most / step) + 1):
        y = at.y(number * step)
        yield svg.line(_LEFT, y, _RIGHT, y, "grid")
        yield svg.text(f"{number * step:,.6g}", _LEFT - 8, y + 4, "soft", "end")
    yield svg.box(_LEFT, _TOP, _RIGHT - _LEFT, _H, "axis")


def _tick(at: _Frame, value: float, label: str) -> Iterator[str]:
    yield svg.line(at.x(value), _TOP, at.x(value), _TOP + _H, "grid")
    yield svg.text(label, at.x(value), _TOP + _H + 18, "soft", "middle")


def _curves(at: _Frame, curves: Sequence[tuple[str, str, Points, str]]) -> Iterator[str]:
    """Each with its name at its right end, moved down where two would stand on each other."""
    above = -math.inf
    for name, colour, points, kind in sorted(curves, key=lambda curve: at.y(curve[2][-1][1])):
        path = "M" + "L".join(f"{svg.number(at.x(x))} {svg.number(at.y(y))}" for x, y in points)
        yield f'<path class="curve" style="stroke:var(--{colour})" d="{path}"/>'
        if kind == "dots":
            yield from (_dot(at.x(x), at.y(y), colour) for x, y in points)
        above = max(at.y(points[-1][1]) + 4, above + 16)
        yield (
            f'<text x="{svg.number(_RIGHT + 10)}" y="{svg.number(above)}" style="fill:var(--{colour})">{name}</text>'
        )


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{svg.number(x)}" cy="{svg.number(y)}" r="3.5" style="fill:var(--{colour})"/>'
