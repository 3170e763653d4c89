"""The checks of a history, and how they compose. ``judging`` asks them, ``files`` judges the files of a run.

Every event is judged by itself, with its own audit and its own capacity: a history is linearizable exactly if the
part of each event is. Each event is *prepared* (``case``: attempts become mutations), its operations are *placed*
in the order of mutations by the strongest means that it allows (``tiers``), and then every check of ``CHECKS`` looks
at it. A new check is one file with a function ``check(case, placement) -> Findings``, and one line here. The checks of
``ACROSS`` look at what only all events together can show: ``check(history, audits, order_lists) -> Findings``.

The worst verdict wins: invalid over unknown over valid. A check that crashes is unknown, and says so. *Valid*
means that no violation was found in this history, never that the service was proved correct.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from loadtests.lab.checks import (
    answers,
    attempts,
    audit_laws,
    bounds,
    carts,
    hold_times,
    observers,
    orders,
    overlap,
    replay,
)
from loadtests.lab.checks.case import Case
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering import counters, real_time, tiers
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.checks.seats import answers as seat_answers
from loadtests.lab.checks.seats import best, records, refusals, unplaced
from loadtests.lab.history.audit import Audit
from loadtests.lab.history.history import History

Check = Callable[[Case, Placement], Findings]

CHECKS: dict[str, Check] = {
    "answers": answers.check,
    "attempts": attempts.check,
    "audit": audit_laws.check,
    "placement": tiers.check,
    "replay": replay.check,
    "observers": observers.check,
    "real time": real_time.check,
    "counters": counters.check,
    "bounds": bounds.check,
    "seats": seat_answers.check,
    "seats in records": records.check,
    "seats refused": refusals.check,
    "seats free": best.check,
    "seats in time": unplaced.check,
    "hold times": hold_times.check,
    "overlap": overlap.check,
}

CheckAcross = Callable[[History, Mapping[str, Audit], Mapping[str, orders.OrderList]], Findings]

ACROSS: dict[str, CheckAcross] = {
    "carts": carts.check,
    "orders": orders.check,
}
"""Checks that look at all events together."""
