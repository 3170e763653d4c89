"""Small sales to draw halls of, and what a drawing has of seats of each kind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from loadtests.lab.checks.files import judge_folder
from loadtests.lab.report.hall.drawing import HallDrawing
from loadtests.lab.report.hall.recorded import RecordedSale

SVG = "{http://www.w3.org/2000/svg}"
RECORDED = Path(__file__).parents[1] / "histories"
HALL = {
    "sections": [
        {"name": "stalls", "rows": [{"name": "A", "seats": 4}, {"name": "B", "seats": 6}]},
        {"name": "balcony", "rows": [{"name": "A", "seats": 5}]},
    ]
}

Line = dict[str, Any]


def bought(number: int, tickets: Sequence[int] = (), **more: Any) -> Line:
    """A purchase that was answered, sent ``number`` tenths of a second after the first, and answered as long after."""
    began = number * 100_000_000
    return {
        "process": number,
        "op": "buy",
        "event": "show",
        "outcome": "ok",
        "invoke_ns": began,
        "return_ns": began + 100_000_000,
        "key": f"k{number}",
        "quantity": max(1, len(tickets)),
        "order": f"o{number}",
        "tickets": list(tickets),
    } | more


def seated(number: int, *seats: str, **more: Any) -> Line:
    """A purchase of named seats."""
    return bought(number, [100 + number], seats=list(seats), **more)


def cancelled(number: int, order: str, outcome: str = "ok") -> Line:
    line = bought(number, order=order) | {"op": "cancel", "outcome": outcome}
    return line | ({"return_ns": None} if outcome == "unknown" else {})


def held(number: int, tickets: Sequence[int], **more: Any) -> Line:
    return bought(number, tickets, hold=f"h{number}", order=None) | {"op": "hold"} | more


def record(line: Line) -> Line:
    """The audit's record of a purchase."""
    return {name: line[name] for name in ("key", "order", "quantity", "tickets")} | {"kind": "sold"}


def sale(
    folder: Path, lines: Iterable[Line], *, capacity: int = 10, audit: Iterable[Line] | None = None, hall: Any = None
) -> RecordedSale:
    """A results folder with a history and, where there are records or a hall, an audit."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "experiment.json").write_text(json.dumps({"workload": {"capacity": capacity}}))
    if audit is not None or hall is not None:
        records = [{"version": number, **each} for number, each in enumerate(audit or (), 1)]
        header = {"event": "show", "capacity": capacity, "versions": len(records)} | ({"hall": hall} if hall else {})
        (folder / "audit-show.jsonl").write_text("".join(json.dumps(each) + "\n" for each in (header, *records)))
    return RecordedSale(folder, judge_folder(folder))


def drawn(folder: Path, lines: Iterable[Line], **more: Any) -> HallDrawing:
    hall = sale(folder, lines, **more).drawing(0, "After the sale")
    assert hall is not None
    return hall


def elements(hall: HallDrawing, kind: str) -> list[ElementTree.Element]:
    return [each for each in ElementTree.fromstring(hall.svg("x")).iter() if kind in each.get("class", "").split()]


def titles(hall: HallDrawing, kind: str) -> list[str]:
    """The words of the seats of one kind; those of the legend have none."""
    return [title for each in elements(hall, kind) if (title := each.findtext(f"{SVG}title"))]


def names(said: Iterable[str]) -> list[str]:
    return [each.partition(" was sold to ")[0].removesuffix(", which does not exist,") for each in said]


def dots(hall: HallDrawing, kind: str) -> int:
    """How many marks of a kind are drawn in runs, without that of the legend."""
    pitch = 24.0
    runs = [path.get("d", "") for path in elements(hall, kind)]
    return sum(round(float(length) / pitch) + 1 for run in runs for length in re.findall(r"h([\d.]+)", run)) - 1
