"""Rates, percentiles and the course of a sale, from its history."""

from __future__ import annotations

import json
from pathlib import Path

from loadtests.lab.experiment.measurement import Measures, measure


def measured(tmp_path: Path, *lines: dict[str, object]) -> Measures:
    base = {"process": 1, "op": "buy", "event": "show", "outcome": "ok", "quantity": 1}
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(base | line) + "\n" for line in lines))
    return measure(path)


def second(moment: float) -> int:
    return int(moment * 1e9)


def test_a_replayed_answer_sells_nothing_new(tmp_path: Path) -> None:
    sale = {"key": "1-1", "quantity": 2, "order": "o1", "invoke_ns": 0, "return_ns": second(1)}
    again = sale | {"attempt": 2, "replayed": True, "invoke_ns": second(1), "return_ns": second(2)}
    assert measured(tmp_path, sale, again).courses[0].tickets[-1] == 2


def test_the_course_falls_when_an_order_is_given_back(tmp_path: Path) -> None:
    course = measured(
        tmp_path,
        {"key": "1-1", "quantity": 3, "order": "o1", "invoke_ns": 0, "return_ns": second(1)},
        {"key": "1-2", "op": "cancel", "order": "o1", "invoke_ns": second(1), "return_ns": second(2)},
    ).courses[0]
    assert (course.seconds, course.tickets) == ([0.0, 1.0, 2.0, 2.0], [0, 3, 0, 0])


def test_rates_are_over_the_time_in_which_it_happened(tmp_path: Path) -> None:
    measures = measured(
        tmp_path,
        {"key": "1-1", "quantity": 4, "order": "o1", "invoke_ns": 0, "return_ns": second(2)},
        {"key": "1-2", "outcome": "sold_out", "invoke_ns": second(2), "return_ns": second(2.5)},
        {"key": "1-3", "outcome": "sold_out", "invoke_ns": second(2.5), "return_ns": second(3)},
    )
    assert (measures.sold_per_s, measures.refused_per_s) == (2.0, 2.0)


def test_percentiles_are_of_acknowledged_purchases(tmp_path: Path) -> None:
    sales: list[dict[str, object]] = [
        {"key": f"1-{i}", "order": f"o{i}", "invoke_ns": 0, "return_ns": second(i / 1000)} for i in range(1, 101)
    ]
    slow_refusal = {"key": "2-1", "outcome": "sold_out", "invoke_ns": 0, "return_ns": second(9)}
    measures = measured(tmp_path, *sales, slow_refusal)
    assert (measures.p50_ms, measures.p99_ms) == (50.0, 99.0)


def test_an_unknown_operation_counts_nowhere_but_as_what_it_was_answered(tmp_path: Path) -> None:
    measures = measured(
        tmp_path, {"key": "1-1", "outcome": "unknown", "invoke_ns": 0, "return_ns": None, "status": 503}
    )
    assert (measures.p50_ms, measures.sold_per_s, measures.unavailable) == (None, 0.0, 1)


def test_a_long_course_is_thinned_and_still_ends_at_the_end(tmp_path: Path) -> None:
    sales: list[dict[str, object]] = [
        {"key": f"1-{i}", "order": f"o{i}", "invoke_ns": 0, "return_ns": second(i)} for i in range(1, 2001)
    ]
    course = measured(tmp_path, *sales).courses[0]
    assert len(course.tickets) < 600
    assert (course.seconds[-1], course.tickets[-1]) == (2000.0, 2000)
