"""Speed and course of a run, from its history: how fast it sold, how long a purchase took, when it passed the limit.

Correctness is not decided here; see ``checks``. A history may hold several events: rates and percentiles are over all
of them, and each event has a course of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from loadtests.lab.experiment.fairness import Fairness, overtaken
from loadtests.lab.experiment.recovery import Recovery, recoveries
from loadtests.lab.faults.happened import Happened
from loadtests.lab.history.arrays import Floats, Ints, lookup, one_of
from loadtests.lab.history.history import BUY, CANCEL, OK, TICKETS_REFUSED
from loadtests.lab.history.operations import Operations, read_operations

MOST_POINTS = 400


class Course(msgspec.Struct):
    """Acknowledged tickets over time: ``tickets[i]`` from ``seconds[i]`` on, without those given back."""

    event: str
    seconds: list[float]
    tickets: list[int]


class Measures(msgspec.Struct):
    """The figures of a run. Percentiles are of acknowledged purchases, nearest rank; None where there was none."""

    sold_per_s: float
    refused_per_s: float
    unavailable: int
    p50_ms: float | None
    p99_ms: float | None
    courses: list[Course]
    fairness: Fairness = msgspec.field(default_factory=Fairness)
    recovery: list[Recovery] = []


def measure(history: Path, happened: Sequence[Happened] = ()) -> Measures:
    """Measure a ``history.jsonl``, and the recovery from the faults in it.

    Raises ``HistoryError`` at a line that is no operation.
    """
    run = read_operations(history)
    bought = run.sales[run.op[run.sales] == BUY]
    latencies = run.latency_ms[bought]
    return Measures(
        sold_per_s=_rate(run, run.sales, run.tickets_sold),
        refused_per_s=_rate(run, np.flatnonzero(one_of(run.outcome, *TICKETS_REFUSED)), np.ones(len(run), np.int64)),
        unavailable=int((run.status == 503).sum()),
        p50_ms=_rounded(quantile(latencies, 0.50)),
        p99_ms=_rounded(quantile(latencies, 0.99)),
        courses=courses(run),
        fairness=_fairness(run, latencies),
        recovery=recoveries(run, happened),
    )


def quantile(values: Floats, share: float) -> float | None:
    """The smallest value that is not below ``share`` of all: nearest rank, never interpolated; None of none."""
    if not len(values):
        return None
    at = max(0, math.ceil(round(share * len(values), 9)) - 1)  # 0.999 · 1000 is 999, whatever binary says
    return float(np.partition(values, at)[at])


def _fairness(run: Operations, latencies: Floats) -> Fairness:
    counts = overtaken(run)
    middle, slowest = quantile(latencies, 0.5), quantile(latencies, 0.999)
    return Fairness(
        overtaken_p50=int(np.median(counts)) if len(counts) else None,
        overtaken_max=int(counts.max()) if len(counts) else None,
        p999_over_p50=round(slowest / middle, 1) if middle and slowest else None,
    )


def courses(run: Operations) -> list[Course]:
    return [_course(run, event, rows) for event, rows in run.events()]


def span_ns(run: Operations, rows: Ints) -> tuple[int, int]:
    """When the first of some operations was sent, and when the last was answered or sent."""
    return int(run.invoke_ns[rows].min()), int(max(run.return_ns[rows].max(), run.invoke_ns[rows].max()))


def _rate(run: Operations, rows: Ints, weights: Ints) -> float:
    """Tickets sold, or purchases refused, per second of the time in which that happened."""
    rows = rows[run.returned[rows]]
    count, seconds = 0, 0.0
    for event in np.unique(run.event[rows]):
        here = rows[run.event[rows] == event]
        began, ended = span_ns(run, here)
        count += int(weights[here].sum())
        seconds += (ended - began) / 1e9
    return round(count / seconds, 1) if seconds else 0.0


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _course(run: Operations, event: str, rows: Ints) -> Course:
    number = run.event[rows[0]]
    sold = run.sales[run.event[run.sales] == number]
    cancels = rows[(run.op[rows] == CANCEL) & (run.outcome[rows] == OK) & run.returned[rows]]
    _, once = np.unique(np.where(run.order[cancels] < 0, -1 - cancels, run.order[cancels]), return_index=True)
    cancels = cancels[np.sort(once)]
    given_back = lookup(run.order[sold], run.tickets_sold[sold], run.order[cancels], 0)
    moments = np.concatenate((run.return_ns[sold], run.return_ns[cancels]))
    changes = np.concatenate((run.tickets_sold[sold], -given_back))
    in_order = np.lexsort((changes, moments))
    began, ended = span_ns(run, rows)
    seconds = np.concatenate(([0.0], (moments[in_order] - began) / 1e9)).round(4)
    tickets = np.concatenate(([0], np.cumsum(changes[in_order])))
    kept = slice(0, None, max(1, len(seconds) // MOST_POINTS))
    return Course(
        event=event,
        seconds=[*seconds[kept].tolist(), round((ended - began) / 1e9, 4)],
        tickets=[*tickets[kept].tolist(), int(tickets[-1])],
    )
