"""The table of stores and faults as a drawing, a page and Markdown. Colour never says it alone: each cell has words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.compare.fault_table import FaultCell, FaultOutcome, FaultResults, fault_grids, pairs, texts, tried
from loadtests.lab.compare.matrix import CellSettings
from loadtests.lab.paths import as_text, write_json
from loadtests.lab.report import svg
from loadtests.lab.report.markdown import replace_section
from loadtests.lab.report.pages import template
from loadtests.lab.servers.machine import Machine

REPORT, PICTURE, JSON = "report.html", "faults.svg", "matrix.json"
BEGIN, END = "<!-- faults: written by `lastseat faults --matrix --write` -->", "<!-- end of faults -->"
MEANING = (
    "held: valid, and nobody was refused who could have had a ticket. refused: valid; for a time buyers were told "
    "definitely that they have nothing, with the longest time without a sale from the fault to the first sale after "
    "it. ✗ lost: a seat was sold twice, or an order is lost. ! not what store and guard promise. – not measured yet. "
    "Empty: the fault does not fit, or this machine cannot do it."
)
_FILLS = {
    FaultOutcome.HELD: "right",
    FaultOutcome.REFUSED: "two",
    FaultOutcome.LOST: "wrong",
    FaultOutcome.UNDECIDED: "soft",
}
_NAMES_W, _CELL_W, _CELL_H, _HEAD_H = 124.0, 128.0, 26.0, 40.0


def write_fault_page(
    folder: Path, results: FaultResults, shape: CellSettings, machine: Machine, *, when: str, command: str
) -> Path:
    """Write the page, the drawing and the JSON; returns the page's path."""
    drawing = fault_drawing(results)
    (folder / PICTURE).write_text(drawing, encoding="utf-8")
    page = template("faults.html").render(
        picture=drawing,
        found=results.found,
        notes=notes(results),
        meaning=MEANING,
        when=when,
        command=command,
        shape=shape,
        machine=machine.in_words,
        load=load_in_words(results),
    )
    (folder / REPORT).write_text(page, encoding="utf-8")
    write_json(folder / JSON, as_json(folder, results))
    return folder / REPORT


def write_fault_section(path: Path, results: FaultResults, machine: Machine, *, when: str, command: str) -> None:
    """Replace what stands between the two markers of a Markdown page."""
    said = "\n".join(f"- {note}" for note in notes(results))
    measured = f"`{command}`, {when}. {machine.in_words} {load_in_words(results)}".strip()
    tables = [grid.markdown().strip() for grid in fault_grids(results)]
    replace_section(path, BEGIN, END, "\n\n".join(part for part in [*tables, MEANING, said, measured] if part))


def notes(results: FaultResults) -> list[str]:
    """What the table does not say: each cell that is not as expected, and why cells are missing."""
    said = [
        f"! {each.cell.spelled}: {each.words}, and store and guard promise: {each.expected}"
        for each in results.found
        if not each.as_expected
    ]
    said += [f"! {cell.spelled}: not measured: {why}" for cell, why in results.failed.items()]
    if results.left:
        said.append(f"{len(results.left)} cells are missing: {results.why_left}")
    by_reason: dict[tuple[str, str], None] = dict.fromkeys((cell.fault, why) for cell, why in results.unfit.items())
    return said + [f"{fault}: {why}" for fault, why in by_reason if fault not in tried(results)]


def load_in_words(results: FaultResults) -> str:
    """How busy the machine was, for whoever reads the times; empty where nothing was measured."""
    loads = sorted(each.load_average for each in results.found if each.load_average is not None)
    return f"Load average at the end of a sale: {loads[0]:.0f} to {loads[-1]:.0f}." if loads else ""


def as_json(folder: Path, results: FaultResults) -> dict[str, Any]:
    """The output of ``--json``."""
    return {
        "cells": [_flat(each) for each in results.found],
        "failed": [{**msgspec.to_builtins(cell), "why": why} for cell, why in results.failed.items()],
        "unfit": [{**msgspec.to_builtins(cell), "why": why} for cell, why in results.unfit.items()],
        "left": msgspec.to_builtins(results.left),
        "report": as_text(folder / REPORT),
    }


def _flat(each: FaultCell) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.to_builtins(each)
    return {**content.pop("cell"), **content}


def fault_drawing(results: FaultResults) -> str:
    """The tables of all worker models, a coloured box for each cell; one that lost links its counterexample."""
    columns = pairs(results)
    found = {(each.cell.worker, each.cell.fault, each.cell.pair): each for each in results.found}
    body, y = [], 0.0
    for worker, table in texts(results).items():
        body.append(svg.text(worker, 8, y + _HEAD_H - 12, "strong"))
        body += [
            svg.text(pair, _NAMES_W + at * _CELL_W + 6, y + _HEAD_H - 12, "soft") for at, pair in enumerate(columns)
        ]
        y += _HEAD_H
        for fault, cells in table.items():
            body.append(svg.text(fault, 8, y + 17))
            for at, pair in enumerate(columns):
                each = found.get((worker, fault, pair))
                body += _box(each, cells.get(pair, ""), _NAMES_W + at * _CELL_W, y)
            y += _CELL_H
    about = "For each worker model a row for each fault, a column for each store and guard; the table says the same."
    width = _NAMES_W + len(columns) * _CELL_W + 8
    return svg.document(body, width, y + 8, title="Stores and faults", about=about, name="faults")


def _box(found: FaultCell | None, words: str, x: float, y: float) -> Iterator[str]:
    if found is None:
        if words:
            yield svg.text(words, x + 6, y + 17, "alarm" if words.endswith("!") else "soft")
        return
    said = f"{found.cell.spelled}: {found.words}, expected: {found.expected}, {found.failed:,} refused"
    group, link = ("a", f' href="{svg.escaped(found.counterexample)}"') if found.counterexample else ("g", "")
    yield f"<{group}{link}><title>{svg.escaped(said)}</title>"
    yield svg.shaded((x, y, _CELL_W - 3, _CELL_H - 3), _FILLS[found.outcome], 0.28, 3)
    yield svg.text(words, x + 6, y + 17, "alarm" if found.outcome is FaultOutcome.LOST or not found.as_expected else "")
    yield f"</{group}>"
