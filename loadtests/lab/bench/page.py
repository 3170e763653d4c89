"""The report of a benchmark, with plots in static SVG: a page that opens without a network, and Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from loadtests.lab.bench.growth import Grown
from loadtests.lab.bench.paired import MeasuredCell
from loadtests.lab.bench.results import BenchResults
from loadtests.lab.bench.scaling import Scaling
from loadtests.lab.bench.tables import grids, in_order, machine_in_words, notes, program_of, shape_of
from loadtests.lab.report import markdown, svg
from loadtests.lab.report.pages import template
from loadtests.lab.report.svg.chart import RIGHT, TOP, WIDTH, Curve, Frame, below, outline, picture, tick, upwards
from loadtests.lab.report.svg.chart import curves as draw_curves

BEGIN, END = "<!-- results: written by `lastseat bench --write` -->", "<!-- end of results -->"

PLAIN_BEGIN = "<!-- results: written by `lastseat bench --plain --write` -->"
PLAIN_END = "<!-- end of the results beside plain programs -->"

_ROW_H, _NAMES_W = 22.0, 330.0
_CURVE_POINTS = 60
_MOST_RATIO = 1.6
_MOST_LIMIT = 3.0
"""The limit is drawn up to this many times the highest throughput; beyond, it would flatten all else."""

Drawing = tuple[str, str, str]
"""Its id, its title, its SVG."""


def drawings(results: BenchResults) -> list[Drawing]:
    """The plots of whatever was measured."""
    measured = in_order(results)
    found = []
    for clients in dict.fromkeys(each.clients for each in measured):
        name = f"bench-{clients}-clients"
        plot = ratios_plot([each for each in measured if each.clients == clients], name)
        found.append((name, f"{clients:,} client{'s' * (clients != 1)}", plot))
    if len(results.growth) > 1:
        found.append(("bench-growth", "After many orders", growth_plot(results.growth, "bench-growth")))
    for number, each in enumerate(results.scaling):
        name = "bench-workers" + (f"-{number}" if number else "")
        found.append((name, f"{each.store} + {each.guard} by number of workers", scaling_plot(each, name)))
    return found


def write_page(path: Path, results: BenchResults, *, when: str, command: str) -> None:
    """Write the report of what was measured."""
    page = template("bench.html").render(
        drawings=drawings(results),
        grids=grids(results),
        notes=notes(results),
        machine=machine_in_words(results),
        when=when,
        command=command,
    )
    path.write_text(page, encoding="utf-8")


def write_section(path: Path, results: BenchResults, *, when: str, command: str) -> None:
    """Replace what stands between the two markers of a Markdown page: the targets, the plots, the other tables, and how
    it was measured. The plots go into ``pictures`` beside it, under its name: another page's stay what they are."""
    pictures = path.parent / "pictures"
    pictures.mkdir(exist_ok=True)
    tables = [grid.markdown() for grid in grids(results)]
    first = 1 if results.targets else 0
    parts = tables[:first]
    for name, title, drawing in drawings(results):
        picture = f"{path.stem}-{name.removeprefix('bench-')}.svg"
        (pictures / picture).write_text(drawing, encoding="utf-8")
        parts.append(f"![{title}](pictures/{picture})")
    parts += tables[first:]
    parts += [note.removeprefix("! ") for note in notes(results)]
    parts.append(f"`{command}`, {when}. {machine_in_words(results)}")
    section = "\n\n".join(part.strip() for part in parts)
    markdown.replace_section(path, BEGIN, END, section)


def write_plain_section(path: Path, results: BenchResults, *, when: str, command: str) -> None:
    """As ``write_section``, for the measurement beside plain programs: the marks come first, and there are no plots."""
    tables = [grid.markdown() for grid in grids(results)]
    said = [note.removeprefix("! ") for note in notes(results)]
    measured = f"`{command}`, {when}. {machine_in_words(results)}"
    section = "\n\n".join(part.strip() for part in [*tables[:1], *said, *tables[1:], measured])
    markdown.replace_section(path, PLAIN_BEGIN, PLAIN_END, section)


# -- the plots ---------------------------------------------------------------------------------------------------------


def ratios_plot(measured: Sequence[MeasuredCell], name: str) -> str:
    """A dot for each median and a bar for its interval, against the ceiling at 1."""
    most = min(_MOST_RATIO, max([1.1, *(each.ratio.high for each in measured)]))
    at = Frame(1, lambda value: min(value, most) / most, _NAMES_W, RIGHT + 40, TOP, len(measured) * _ROW_H)
    body = [outline(at)]
    for tenth in range(0, int(most * 10) + 1, 2):
        body += tick(at, tenth / 10, f"{tenth / 10:g}")
    body.append(svg.line(at.x(1), at.top, at.x(1), at.bottom, "capacity"))
    before = ""
    for number, each in enumerate(measured):
        y = TOP + (number + 0.5) * _ROW_H
        shape = shape_of(each)
        if shape != before and number:
            body.append(svg.line(8, y - _ROW_H / 2, at.right, y - _ROW_H / 2, "axis"))
        if shape != before:
            body.append(svg.text(shape, 8, y + 4, "strong"))
        before = shape
        colour = "right" if each.durable else "five"
        body.append(svg.text(program_of(each), at.left - 8, y + 4, "soft", "end"))
        body.append(svg.curve([(at.x(each.ratio.low), y), (at.x(each.ratio.high), y)], colour))
        body.append(svg.dot(at.x(each.ratio.median), y, colour))
        body.append(svg.text(str(each.ratio), at.right + 8, y + 4, "soft"))
    about = "Median and 95 % bootstrap interval of the paired ratios; the dashed line is the ceiling."
    title = "Sold a second, as a share of the ceiling"
    return svg.document(body, WIDTH, at.bottom + 34, title=title, about=about, name=name)


def growth_plot(rows: Sequence[Grown], name: str) -> str:
    """Sold a second by the number of orders that the event has, beside a fresh event on the same server."""
    largest = max(row.orders for row in rows)
    at = Frame(
        max([1.0, *(max(row.sold_per_s, row.fresh_per_s) for row in rows)]) * 1.12,
        lambda orders: math.log10(orders / 10 + 1) / math.log10(largest / 10 + 1) if largest else 0.0,
    )
    body = [*upwards(at, "sold a second")]
    for orders in sorted({row.orders for row in rows}):
        body += tick(at, orders, f"{orders:,}")
    body.append(below(at, "orders that the event has"))
    curves = []
    names = dict.fromkeys((row.store, row.worker) for row in rows)
    for (store, worker), colour in zip(names, svg.COLOURS, strict=False):
        mine = [row for row in rows if (row.store, row.worker) == (store, worker)]
        curves.append((f"{store}, {worker}", colour, [(float(row.orders), row.sold_per_s) for row in mine], "dots"))
        curves.append((f"{store}, a fresh event", "five", [(float(row.orders), row.fresh_per_s) for row in mine], ""))
    body += draw_curves(at, curves)
    about = "One line for each store, and beside it a fresh event on the same server, measured in pairs."
    return picture(body, title="What a purchase costs after many", about=about, name=name)


def scaling_plot(scaling: Scaling, name: str) -> str:
    """Sold a second by the number of workers; the fitted law; what one critical section after the other allows."""
    last = max(row.workers for row in scaling.rows)
    sold = [(float(row.workers), row.sold_per_s) for row in scaling.rows]
    limits = [(float(row.workers), row.limit_per_s) for row in scaling.rows if row.limit_per_s]
    at = Frame(
        min(max(value for _, value in [*sold, *limits]), _MOST_LIMIT * max(value for _, value in sold)) * 1.12,
        lambda workers: math.log2(max(workers, 1)) / max(math.log2(last), 1.0),
    )
    body = [*upwards(at, "sold a second")]
    for row in scaling.rows:
        body += tick(at, row.workers, str(row.workers))
    body.append(below(at, "workers"))
    curves: list[Curve] = [("measured", "one", sold, "dots")]
    if limits:
        curves.append(("1 / hold", "two", limits, ""))
    if scaling.law is not None:
        counts = [2 ** (math.log2(last) * step / _CURVE_POINTS) for step in range(_CURVE_POINTS + 1)]
        curves.append(("the fitted law", "four", [(n, scaling.law.per_s(n)) for n in counts], ""))
    body += draw_curves(at, curves)
    about = "Measured throughput, the universal scalability law fitted to it, and the limit 1 / hold."
    return picture(body, title="Throughput by number of workers", about=about, name=name)
