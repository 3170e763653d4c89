"""The counterexample of a seat: the operations, the sentence, and the row of the hall with the seat marked."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.checks.judging import judge
from loadtests.lab.history.history import Audit, History
from loadtests.lab.history.operations import read_operations
from loadtests.lab.report.counterexample.drawing import Drawing, draw_all
from tests.loadtests.checks.recorded import Run, audited, lines_of
from tests.loadtests.checks.recorded_seats import hall, seats, up

SVG = "{http://www.w3.org/2000/svg}"


def drawn(run: Run, tmp_path: Path, title: str) -> Drawing:
    """The drawing with this title of what is wrong in a run."""
    history = History.of(run.lines)
    audits = {event: Audit.of(lines) for event, lines in run.audits.items()}
    path = tmp_path / "history.jsonl"
    path.write_bytes(b"\n".join(map(msgspec.json.encode, run.lines)))
    verdict = judge(history, audits, capacity=run.capacity)
    return next(each for each in draw_all(verdict, read_operations(path), audits, "x") if each.title == title)


def rows_in(drawing: Drawing) -> list[ET.Element]:
    """The rows of seats in a drawing: groups that say which seats are in question."""
    groups = ET.fromstring(drawing.svg).iter(f"{SVG}g")
    return [group for group in groups if "In question" in group.get("aria-label", "")]


def texts(row: ET.Element) -> list[str]:
    return [text.text or "" for text in row.iter(f"{SVG}text")]


def test_a_seat_that_two_have_is_marked_in_its_row(tmp_path: Path) -> None:
    run = hall()
    run.line("n").update(seats=up(2, 3))
    drawing = drawn(run, tmp_path, "Seat sold twice")
    assert "Client 110 and client 114 were both sold seat balcony-A-2" in drawing.sentence
    (row,) = rows_in(drawing)
    assert row.get("role") == "img"
    assert row.get("aria-label") == "Row balcony-A, 3 seats. In question: balcony-A-2."
    assert [box.get("class") for box in row.iter(f"{SVG}rect")] == ["entry", "entry wrong", "entry"]
    assert texts(row) == ["Row balcony-A", "1", "2", "balcony-A-2", "3"]
    bars = [group.get("aria-label", "") for group in ET.fromstring(drawing.svg).iter(f"{SVG}g")]
    assert sum("sold seat" in bar for bar in bars) == 2


def test_a_violation_that_is_not_about_a_seat_draws_none(tmp_path: Path) -> None:
    run = audited()
    run.read(1)["remaining"] = 0
    assert rows_in(drawn(run, tmp_path, "Wrong read")) == []


def test_a_seat_of_no_known_hall_is_drawn_alone(tmp_path: Path) -> None:
    run = seats()
    run.line("b")["seat"] = "A1"
    (row,) = rows_in(drawn(run, tmp_path, "Seat sold twice"))
    assert texts(row) == ["The seats in question", "A1", "A1"]


def test_of_a_long_row_the_part_around_the_seat_is_drawn(tmp_path: Path) -> None:
    long_row: dict[str, Any] = {"sections": [{"name": "s", "rows": [{"name": "A", "seats": 300}]}]}
    sale = {"quantity": 1, "wanted": ["s-A-200"], "seats": ["s-A-200"]}
    run = Run(
        lines_of(
            (
                "buy",
                100,
                500,
                "ok",
                {"key": "a", "order": "o1", "tickets": [1], "remaining": 299, "version": 1, **sale},
            ),
            (
                "buy",
                200,
                600,
                "ok",
                {"key": "b", "order": "o2", "tickets": [2], "remaining": 298, "version": 2, **sale},
            ),
        ),
        {"show": [{"event": "show", "capacity": 300, "hall": long_row, "versions": 0}]},
    )
    (row,) = rows_in(drawn(run, tmp_path, "Seat sold twice"))
    assert "284 seats of it are left out" in (row.get("aria-label") or "")
    assert {"s-A-200", "192", "207", "…"} <= set(texts(row))
    assert len(list(row.iter(f"{SVG}rect"))) == 16


def test_names_of_seats_from_a_service_are_escaped(tmp_path: Path) -> None:
    run = seats()
    for key in ("a", "b"):
        run.line(key)["seat"] = '<script>&"\x07'
    drawing = drawn(run, tmp_path, "Seat sold twice")
    assert "<script>" not in drawing.svg
    assert len(rows_in(drawing)) == 1
