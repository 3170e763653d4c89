"""Thresholds beside the verdict: what is measured, what is missed, and what is no threshold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loadtests.lab.experiment.thresholds import missed, read_threshold
from loadtests.lab.history.operations import Operations, read_operations


def buy(number: int, took_ms: int, outcome: str = "ok") -> dict[str, Any]:
    return_ns = None if outcome == "unknown" else took_ms * 10**6
    line = {"process": number, "op": "buy", "event": "e", "key": str(number), "quantity": 1, "invoke_ns": 0}
    return line | {"return_ns": return_ns, "outcome": outcome}


def run_of(*lines: dict[str, Any]) -> Operations:
    return read_operations("\n".join(map(json.dumps, lines)).encode())


RUN = run_of(*[buy(n, took_ms=10 * (n + 1)) for n in range(96)], *[buy(100 + n, 5, "unknown") for n in range(4)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p99 > 500ms", "p99 > 500ms: p99 was 960 ms"),
        ("p99 > 0.5s", "p99 > 0.5s: p99 was 960 ms"),
        ("p50>=480ms", "p50>=480ms: p50 was 480 ms"),
        ("p50 > 480ms", ""),
        ("p99.9 < 1s", "p99.9 < 1s: p99.9 was 960 ms"),
        ("errors > 1%", "errors > 1%: errors was 4%"),
        ("errors > 4%", ""),
        ("unknown >= 4%", "unknown >= 4%: unknown was 4%"),
        ("refused > 0%", ""),
        ("sold < 101/s", "sold < 101/s: sold was 100/s"),
        ("sold < 100/s", ""),
    ],
)
def test_a_threshold_is_missed_where_its_condition_holds_and_says_what_was_measured(text: str, said: str) -> None:
    assert missed([read_threshold(text)], RUN) == ([said] if said else [])


def test_a_percentile_of_no_purchase_is_not_missed() -> None:
    assert missed([read_threshold("p99 > 1ms")], run_of(buy(1, 5, "unknown"))) == []


@pytest.mark.parametrize(
    "text", ["", "p99", "p99 = 5ms", "p99 > 5", "p99 > 5%", "errors > 1ms", "p100 > 1ms", "cost > 1%", "sold < 5%"]
)  # fmt: skip
def test_what_is_no_threshold_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="errors, unknown, refused with %"):
        read_threshold(text)
