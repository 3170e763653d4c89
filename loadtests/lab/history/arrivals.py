"""What became of a schedule of arrivals, and what has to be said about it beside a verdict."""

from __future__ import annotations

import msgspec

LATE_MS = 10.0
"""Arrivals that start so late at the 99th percentile mean that the load generator did not keep up."""


class ArrivalStats(msgspec.Struct, frozen=True):
    """How a schedule of arrivals was kept. Lags are of arrivals that did not wait at the bound."""

    rate: float
    due: int
    started: int
    waited_at_bound: int
    most_in_flight: int
    bound: int
    lag_p99_ms: float
    lag_max_ms: float


def arrival_messages(arrived: list[ArrivalStats]) -> list[str]:
    """What to say beside a verdict about schedules that were not kept."""
    said = []
    waited, due = sum(each.waited_at_bound for each in arrived), sum(each.due for each in arrived)
    if waited:
        said.append(
            f"{waited:,} of {due:,} arrivals met the bound of {arrived[0].bound:,} requests in flight and waited in "
            "line; their waiting is in the times. The service was slower than the arrivals."
        )
    slowest = max(arrived, key=lambda each: each.lag_p99_ms, default=None)
    if slowest is not None and slowest.lag_p99_ms > LATE_MS:
        said.append(
            f"the load generator was a bottleneck: 1 in 100 arrivals started {slowest.lag_p99_ms:,.0f} ms late or "
            f"more (the latest {slowest.lag_max_ms:,.0f} ms), which is in the times. A lower --rate keeps the schedule."
        )
    unsent = due - sum(each.started for each in arrived)
    if unsent:
        said.append(f"{unsent:,} arrivals were due and never sent: the run ended while they waited in line.")
    return said
