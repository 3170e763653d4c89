"""The report of a compare: ``report.html``, which opens without a network, the same as Markdown, and as JSON."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.compare.findings import Answers, answers
from loadtests.lab.compare.heat_map import heat_map
from loadtests.lab.compare.results import Found, Results
from loadtests.lab.compare.tables import MEANING, cells_grid
from loadtests.lab.paths import as_text
from loadtests.lab.report import markdown as sections
from loadtests.lab.report.pages import template

REPORT, MARKDOWN, PICTURE, JSON = "report.html", "report.md", "heat-map.svg", "compare.json"
BEGIN, END = "<!-- matrix: written by `lastseat compare --write` -->", "<!-- end of matrix -->"
IN_PAGE = "pictures/compare.svg"
QUESTIONS = {
    "wrong": "Which combinations lose orders",
    "fastest": "The fastest right one of each worker class",
    "worth": "What a worker class is worth",
}


def command_line() -> str:
    """As it was typed."""
    return shlex.join(["lastseat", *map(as_text, sys.argv[1:])])


def write_report(folder: Path, results: Results, *, when: str, command: str) -> Path:
    """Write all forms of the report; returns the page's path."""
    said = answers(results)
    page = template("compare.html").render(
        questions=_questions(said),
        notes=said.notes,
        picture=heat_map(results) if results.found else "",
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
    content = msgspec.json.encode(as_json(folder, results, when=when, command=command))
    (folder / JSON).write_bytes(msgspec.json.format(content) + b"\n")
    return folder / REPORT


def write_section(path: Path, results: Results, *, when: str, command: str) -> None:
    """Replace what stands between the two markers of a Markdown page; the heat map goes into ``pictures`` beside it."""
    picture = path.parent / IN_PAGE
    picture.parent.mkdir(exist_ok=True)
    if results.found:
        picture.write_text(heat_map(results), encoding="utf-8")
    sections.replace_section(path, BEGIN, END, markdown(results, when=when, command=command, picture=IN_PAGE))


def markdown(results: Results, *, when: str, command: str, picture: str = PICTURE) -> str:
    """The answers, the heat map as a link, the table."""
    said = answers(results)
    parts = [f"`{command}`, {when}. {results.machine.in_words}"]
    for question, sentences in _questions(said):
        parts.append(f"**{question}**\n\n" + "\n".join(f"- {sentence}" for sentence in sentences))
    if results.found:
        parts.append(f"![Right or wrong, and tickets sold a second]({picture})")
    parts += [cells_grid(results).markdown().strip(), MEANING]
    parts += [note.removeprefix("! ") for note in said.notes]
    return "\n\n".join(parts) + "\n"


def as_json(folder: Path, results: Results, *, when: str, command: str) -> dict[str, Any]:
    """What ``--json`` prints: a line of figures for each cell, the answers, what is missing."""
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


def _questions(said: Answers) -> list[tuple[str, list[str]]]:
    """The questions that something was found out about."""
    return [(question, getattr(said, name)) for name, question in QUESTIONS.items() if getattr(said, name)]


def _linked(found: Found) -> dict[str, Any]:
    """Beside a row of the table: where each of its sales has its own report, and whether it went wrong."""
    return {
        "wrong": found.verdict == "invalid",
        "valid": found.verdict == "valid",
        "reports": [f"cells/{place}/report.html" for place in found.folders],
    }
