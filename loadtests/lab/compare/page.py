"""The report of a compare: ``report.html``, which opens without a network, Markdown, and JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.bench.tables import Column, grid_of, number
from loadtests.lab.compare.findings import AnswerSentences, answers, rate_of
from loadtests.lab.compare.heat_map import heat_map
from loadtests.lab.compare.matrix import Cell
from loadtests.lab.compare.results import Found, Results
from loadtests.lab.experiment.expectation import Met
from loadtests.lab.paths import as_text, write_json
from loadtests.lab.report import markdown as sections
from loadtests.lab.report.hall.drawing import HallDrawing
from loadtests.lab.report.hall.pair import HallSource, draw_pair, first_wrong
from loadtests.lab.report.pages import template
from loadtests.lab.report.tables import Grid
from service.catalogue import OFF

REPORT, MARKDOWN, PICTURE, JSON = "report.html", "report.md", "heat-map.svg", "compare.json"
BEGIN, END = "<!-- matrix: written by `lastseat compare --write` -->", "<!-- end of matrix -->"
IN_PAGE = "pictures/compare.svg"
QUESTIONS = {
    "wrong": "Which combinations lose orders",
    "fastest": "The fastest right one of each worker class",
    "worth": "What a worker class is worth",
}
MEANING = (
    "One ticket a purchase. Sums over a cell's sales, medians of their rates and times; 95 % bootstrap intervals. "
    "Wait: for the guard, by the service's account. CPU ms: of all the office's processes for an acknowledged "
    "purchase, with the reads and refusals of the same sale; engine's: of the database. Overtaken: the most that were "
    "sent later and decided earlier than one purchase. ≥: the load generator was the bottleneck."
)


def write_report(folder: Path, results: Results, *, when: str, command: str) -> Path:
    """Write all forms of the report; returns the page's path."""
    said = answers(results)
    page = template("compare.html").render(
        questions=_questions(said),
        notes=said.notes,
        picture=heat_map(results) if results.found else "",
        halls=_halls(folder, results),
        grid=cells_grid(results),
        found=[_linked(each) for each in results.by_think],
        meaning=MEANING,
        machine=results.machine.in_words,
        shape=results.shape,
        when=when,
        command=command,
    )
    (folder / REPORT).write_text(page, encoding="utf-8")
    (folder / MARKDOWN).write_text(markdown(results, when=when, command=command), encoding="utf-8")
    if results.found:
        (folder / PICTURE).write_text(heat_map(results), encoding="utf-8")
    write_json(folder / JSON, as_json(folder, results, when=when, command=command))
    return folder / REPORT


def write_section(path: Path, results: Results, *, when: str, command: str) -> None:
    """Replace what stands between the two markers of a Markdown page; the heat map goes into ``pictures`` beside it."""
    picture = path.parent / IN_PAGE
    picture.parent.mkdir(exist_ok=True)
    if results.found:
        picture.write_text(heat_map(results), encoding="utf-8")
    sections.replace_section(path, BEGIN, END, markdown(results, when=when, command=command, picture=IN_PAGE))


def markdown(results: Results, *, when: str, command: str, picture: str = PICTURE) -> str:
    """The answers, the heat map as a link, the table; last how it was measured."""
    said = answers(results)
    parts = []
    for question, sentences in _questions(said):
        parts.append(f"**{question}**\n\n" + "\n".join(f"- {sentence}" for sentence in sentences))
    if results.found:
        parts.append(f"![Right or wrong, and tickets sold a second]({picture})")
    parts += [cells_grid(results).markdown().strip(), MEANING]
    parts += [note.removeprefix("! ") for note in said.notes]
    parts.append(f"`{command}`, {when}. {results.machine.in_words}")
    return "\n\n".join(parts) + "\n"


def as_json(folder: Path, results: Results, *, when: str, command: str) -> dict[str, Any]:
    """The output of ``--json``: figures for each cell, the answers, the cells that are missing."""
    return {
        "cells": [_flat(each, folder) for each in results.found],
        "missing": [
            {**msgspec.to_builtins(each.cell), "why": each.why, "failed": each.failed} for each in results.missing
        ],
        "answers": msgspec.to_builtins(answers(results)),
        "shape": msgspec.to_builtins(results.shape),
        "machine": msgspec.to_builtins(results.machine),
        "when": when,
        "command": command,
        "report": as_text(folder / REPORT),
    }


def _flat(found: Found, folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = msgspec.to_builtins(found)
    places = [as_text(folder / "cells" / place) for place in content.pop("folders")]
    return {**content.pop("cell"), **content, "folders": places}


def _questions(said: AnswerSentences) -> list[tuple[str, list[str]]]:
    """The questions that have an answer."""
    return [(question, getattr(said, name)) for name, question in QUESTIONS.items() if getattr(said, name)]


def _halls(folder: Path, results: Results) -> list[HallDrawing]:
    """The hall of the first sale that went wrong without a lock, and of the same cell under a guard that was right."""
    wrong = next((each for each in results.found if each.cell.guard == OFF and each.wrong), None)
    if wrong is None:
        return []
    right = next((each for each in results.found if _but_for_guard(each) == _but_for_guard(wrong) and each.right), None)
    pair = draw_pair(_sale(folder, wrong), None if right is None else _sale(folder, right))
    return pair.halls if pair else []


def _but_for_guard(found: Found) -> Cell:
    return msgspec.structs.replace(found.cell, guard="")


def _sale(folder: Path, found: Found) -> HallSource:
    """The first sale of a cell that went wrong; the first of all where none did."""
    places = [folder / "cells" / place for place in found.folders]
    return HallSource(first_wrong(places), f"{found.shape}: {found.cell.pair}")


def _linked(found: Found) -> dict[str, Any]:
    """Beside a row of the table: where each of its sales has its own report, and whether it went wrong."""
    return {
        "wrong": found.verdict == "invalid",
        "valid": found.verdict == "valid",
        "reports": [f"cells/{place}/report.html" for place in found.folders],
    }


# -- the table ---------------------------------------------------------------------------------------------------------


def cells_grid(results: Results) -> Grid:
    """A row for each cell that was measured, those of one delay and worker model together."""
    return grid_of("Every cell", results.by_think, _COLUMNS, _WORDS, group=lambda each: each.shape)


def _verdict(each: Found) -> str:
    alarm = "! " if each.verdict == "invalid" else ""
    luck = ", by luck" if each.by_luck else ""
    return alarm + each.verdict + ("" if each.met == Met.YES.value else ", not as promised") + luck


def _short(field: str) -> Column:
    return number(field, exact=lambda value: value < 10 and value != int(value))


_WORDS = frozenset({"worker", "store", "guard", "think", "verdict"})
_COLUMNS: dict[str, Column] = {
    "worker": lambda each: each.shape,
    "store": lambda each: each.cell.store,
    "guard": lambda each: each.cell.guard,
    "think": lambda each: each.cell.think if each.cell.delays else "–",
    "verdict": _verdict,
    "wrong": lambda each: f"{each.wrong} of {each.sales}",
    "oversold": number("oversold"),
    "lost": number("lost"),
    "sold/s": lambda each: rate_of(each).replace("/s", ""),
    "refused/s": _short("refused_per_s"),
    "503s": number("unavailable"),
    "p50 ms": _short("p50_ms"),
    "p99 ms": _short("p99_ms"),
    "wait p50": _short("wait_p50_ms"),
    "wait p99": _short("wait_p99_ms"),
    "CPU ms": _short("cpu_ms"),
    "engine's": _short("engine_cpu_ms"),
    "overtaken": _short("overtaken_max"),
}
