"""Speed and course of a run, from its history: how fast it sold, how long a purchase took, when it passed the limit.

Correctness is not decided here; see ``checks``. A history may hold several events: rates and percentiles are over all
of them, the course is one line an event.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import msgspec

MOST_POINTS = 400


class Course(msgspec.Struct):
    """How many tickets were acknowledged, over time: ``tickets[i]`` from ``seconds[i]`` on, cancellations taken off."""

    event: str
    seconds: list[float]
    tickets: list[int]


class Measures(msgspec.Struct):
    """What a run took. Percentiles are of acknowledged purchases, nearest rank; None where there was none."""

    sold_per_s: float
    refused_per_s: float
    unavailable: int
    p50_ms: float | None
    p99_ms: float | None
    courses: list[Course]


class _Line(msgspec.Struct):
    op: str
    event: str
    outcome: str
    invoke_ns: int
    return_ns: int | None
    key: str | None = None
    quantity: int = 1
    order: str | None = None
    status: int | None = None


_decoder = msgspec.json.Decoder(_Line)


def measure(history: Path) -> Measures:
    """Measure a ``history.jsonl``. Raises ``msgspec.ValidationError`` at a line that is none."""
    by_event: defaultdict[str, list[_Line]] = defaultdict(list)
    for line in _decoder.decode_lines(history.read_bytes()):
        by_event[line.event].append(line)
    runs = list(by_event.values())
    latencies = sorted(
        (line.return_ns - line.invoke_ns) / 1e6 for run in runs for line in _sales(run) if line.return_ns is not None
    )
    return Measures(
        sold_per_s=_rate(runs, "ok"),
        refused_per_s=_rate(runs, "sold_out"),
        unavailable=sum(line.status == 503 for run in runs for line in run),
        p50_ms=_percentile(latencies, 0.50),
        p99_ms=_percentile(latencies, 0.99),
        courses=[_course(run) for run in runs],
    )


def _sales(run: list[_Line]) -> list[_Line]:
    """The acknowledged purchases, each key once: a replayed answer sells nothing new."""
    return list({line.key: line for line in run if line.op == "buy" and line.outcome == "ok"}.values())


def _rate(runs: list[list[_Line]], outcome: str) -> float:
    """Tickets sold, or purchases refused, a second of the time in which that happened."""
    count, seconds = 0, 0.0
    for run in runs:
        lines = _sales(run) if outcome == "ok" else [line for line in run if line.outcome == outcome]
        ends = [line.return_ns for line in lines if line.return_ns is not None]
        if ends:
            count += sum(line.quantity if outcome == "ok" else 1 for line in lines)
            seconds += (max(ends) - min(line.invoke_ns for line in lines)) / 1e9
    return round(count / seconds, 1) if seconds else 0.0


def _percentile(ascending: list[float], share: float) -> float | None:
    return round(ascending[math.ceil(share * len(ascending)) - 1], 1) if ascending else None


def _course(run: list[_Line]) -> Course:
    sales = _sales(run)
    sold = {line.order: line.quantity for line in sales}
    steps = [(line.return_ns, line.quantity) for line in sales if line.return_ns is not None]
    steps += [
        (line.return_ns, -sold.get(line.order, 0))
        for line in run
        if line.op == "cancel" and line.outcome == "ok" and line.return_ns is not None
    ]
    began = min(line.invoke_ns for line in run)
    seconds, tickets, total = [0.0], [0], 0
    for moment, change in sorted(steps):
        total += change
        seconds.append(round((moment - began) / 1e9, 4))
        tickets.append(total)
    ended = max(line.return_ns or line.invoke_ns for line in run)
    kept = range(0, len(seconds), max(1, len(seconds) // MOST_POINTS))
    return Course(
        event=run[0].event,
        seconds=[*(seconds[i] for i in kept), round((ended - began) / 1e9, 4)],
        tickets=[*(tickets[i] for i in kept), total],
    )
