"""The heat map: stores and guards down, worker models and delays across; right or wrong and how fast, as static SVG.

Colour never says it alone: a cell that went wrong has a cross, one that was right by luck a star.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from loadtests.lab.compare.matrix import DELAYS, THINKS, Cell
from loadtests.lab.compare.results import Found, Missing, Results
from loadtests.lab.experiment.expectation import Met
from loadtests.lab.report import svg
from service.catalogue import OFF

_NAMES_W, _CELL_W, _CELL_H, _TOP, _GAP = 176.0, 62.0, 26.0, 68.0, 8.0
_LEAST_W = 760.0
_PALEST, _STRONGEST = 0.07, 0.52
_SIGNS = "darker is faster · * right by luck · ! not what its guard promises · – not measured"
Column = tuple[str, str, int]
"""A delay, a worker model, its processes."""


def heat_map(results: Results) -> str:
    """The cells that were asked for; ``–`` where one was not measured, nothing where there can be none.

    Pairs and columns of which nothing was tried are left out.
    """
    tried = [*(each.cell for each in results.found), *(each.cell for each in results.missing if each.failed)]
    cells = _beside(tried, [*tried, *(each.cell for each in results.missing)])
    columns, rows = _columns(cells), _rows(cells)
    found = {each.cell: each for each in results.found}
    missing = {each.cell: each for each in results.missing}
    rates = [each.sold_per_s.median for each in results.found if each.sold_per_s.median > 0]
    low, high = min(rates, default=1.0), max(rates, default=1.0)
    lefts, width = _places(columns)
    body = [*_heads(columns, lefts)]
    y, before = _TOP, ""
    for store, guard in rows:
        if before and store != before:
            body.append(svg.line(8, y + _GAP / 2, width - 8, y + _GAP / 2, "axis"))
            y += _GAP
        if store != before:
            body.append(svg.text(store, 8, y + _CELL_H / 2 + 4, "strong"))
        before = store
        body.append(svg.text(guard, _NAMES_W - 10, y + _CELL_H / 2 + 4, "soft", "end"))
        for column in columns:
            cell = Cell(store, guard, column[1], column[2], column[0])
            body += _cell(found.get(cell), missing.get(cell), lefts[column], y, (low, high))
        y += _CELL_H
    about = (
        "Tickets sold a second in each cell, darker is faster. A cross: the sale went wrong. A star: right by luck. "
        "The table below has all of it."
    )
    title = "Right or wrong, and tickets sold a second"
    width = max(width, svg.width_of(_SIGNS, 12) + 16)
    return svg.document([*body, *_legend(y + 26)], width, y + 66, title=title, about=about, name="heat-map")


def _beside(tried: Sequence[Cell], cells: Sequence[Cell]) -> list[Cell]:
    """The cells whose pair and whose column were tried somewhere."""
    pairs = {cell.pair for cell in tried}
    columns = {(cell.think, cell.worker, cell.processes) for cell in tried}
    return [cell for cell in cells if cell.pair in pairs and (cell.think, cell.worker, cell.processes) in columns]


def _columns(cells: Sequence[Cell]) -> list[Column]:
    there = dict.fromkeys((cell.think, cell.worker, cell.processes) for cell in cells)
    workers = list(dict.fromkeys(worker for _, worker, _ in there))
    return sorted(there, key=lambda each: (THINKS.index(each[0]), workers.index(each[1]), each[2]))


def _rows(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """The pairs, store by store; of each the control first, then the guards in the catalogue's order."""
    there = dict.fromkeys((cell.store, cell.guard) for cell in cells)
    stores = list(dict.fromkeys(store for store, _ in there))
    return sorted(there, key=lambda each: (stores.index(each[0]), each[1] != OFF))


def _places(columns: Sequence[Column]) -> tuple[dict[Column, float], float]:
    lefts, x, before = {}, _NAMES_W, ""
    for column in columns:
        x += _GAP if before and column[0] != before else 0
        lefts[column], before = x, column[0]
        x += _CELL_W
    return lefts, max(_LEAST_W, x + 8)


def _heads(columns: Sequence[Column], lefts: dict[Column, float]) -> Iterator[str]:
    before: tuple[str, str] = ("", "")
    for column in columns:
        think, worker, processes = column
        x = lefts[column]
        if think != before[0]:
            yield svg.text(DELAYS[think], x + 3, 20, "strong")
        if (think, worker) != before:
            yield svg.text(worker, x + 3, 40)
        before = (think, worker)
        yield svg.text(f"× {processes}", x + 3, 58, "soft")


def _cell(found: Found | None, missing: Missing | None, x: float, y: float, span: tuple[float, float]) -> Iterator[str]:
    width, height = _CELL_W - 2, _CELL_H - 2
    if found is None:
        if missing is not None:
            said = "failed" if missing.failed else "–"
            yield svg.text(said, x + width / 2, y + _CELL_H / 2 + 4, "alarm" if missing.failed else "soft", "middle")
        return
    wrong = found.verdict == "invalid"
    colour = "wrong" if wrong else "right" if found.verdict == "valid" else "soft"
    shade = _PALEST + (_STRONGEST - _PALEST) * _share(found.sold_per_s.median, span)
    yield f"<g><title>{_said(found)}</title>"
    yield svg.shaded((x, y, width, height), colour, shade, 3)
    mark = "✗ " if wrong else "? " if found.verdict == "unknown" else "* " if found.by_luck else ""
    broken = "!" if found.met != Met.YES.value else ""
    figure = f"{mark}{found.sold_per_s.median:,.0f}{broken}"
    yield svg.text(figure, x + width / 2, y + _CELL_H / 2 + 3, "alarm" if wrong else "", "middle") + "</g>"


def _said(found: Found) -> str:
    """The text that a pointer over the cell shows, and that is read aloud."""
    rate = found.sold_per_s
    return (
        f"{found.cell.spelled}: {found.verdict}, {found.wrong} of {found.sales} sales wrong, {found.oversold:,} "
        f"oversold, {found.lost or 0:,} lost; {rate.median:,.0f} sold/s, from {rate.low:,.0f} to {rate.high:,.0f}"
    )


def _share(rate: float, span: tuple[float, float]) -> float:
    low, high = span
    if rate <= 0 or high <= low:
        return 0.5
    return min(1.0, max(0.0, math.log(rate / low) / math.log(high / low)))


def _legend(y: float) -> Iterator[str]:
    x = 8.0
    for colour, words in (("right", "no violation found"), ("wrong", "✗ went wrong")):
        for shade in (_PALEST, (_PALEST + _STRONGEST) / 2, _STRONGEST):
            yield svg.shaded((x, y - 10, 14, 12), colour, shade)
            x += 16
        yield svg.text(words, x + 4, y, "soft")
        x += svg.width_of(words, 12) + 26
    yield svg.text(_SIGNS, 8, y + 22, "soft")
