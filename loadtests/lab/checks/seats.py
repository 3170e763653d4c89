"""Seats that buyers choose, each by itself: sold to two, or refused although nobody can have had it.

Seats have no order in which they are sold, so they say nothing about places in the order. A refusal is of its seat and
not of the event; the other checks do not see it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from loadtests.lab.checks.case import operation_of
from loadtests.lab.checks.findings import Evidence, Findings
from loadtests.lab.history.arrays import NEVER, Ints, one_of
from loadtests.lab.history.audit import Audit
from loadtests.lab.history.history import BUY, CANCEL, HOLD, OK, SOLD_OUT, UNKNOWN, History


def check(history: History, audits: Mapping[str, Audit]) -> Findings:
    """Compare what buyers were answered about each seat of each event."""
    h = history
    findings = Findings(applies=bool((h.seat >= 0).any()))
    if not findings.applies:
        return findings
    first, second = sold_twice(h)
    findings.add(
        "double-booked",
        np.arange(len(first)),
        lambda at: Evidence(
            f"seat {h.seats.string(int(h.seat[first[at]]))} was acknowledged to both",
            [operation_of(h, int(first[at])), operation_of(h, int(second[at]))],
            [],
        ),
    )
    if len(np.unique(h.host)) <= 1:
        refused = refused_though_free(h)
        findings.add(
            "false sold-out",
            refused,
            lambda row: Evidence(
                f"seat {h.seats.string(int(h.seat[row]))} was refused, and nobody had asked for it before",
                [operation_of(h, row)],
                [],
            ),
        )
    return findings


def sold_twice(h: History) -> tuple[Ints, Ints]:
    """Pairs of purchases of one seat under two keys, of which neither was given back, nor may have been."""
    given_back = h.order[(h.op == CANCEL) & one_of(h.outcome, OK, UNKNOWN)]
    rows = np.flatnonzero((h.op == BUY) & (h.outcome == OK) & (h.seat >= 0))
    rows = rows[~((h.order[rows] >= 0) & np.isin(h.order[rows], given_back))]
    key = np.where(h.key[rows] >= 0, h.key[rows], -2 - rows)
    rows = rows[np.lexsort((h.return_ns[rows], key, h.seat[rows], h.event[rows]))]
    a, b = rows[:-1], rows[1:]
    same_seat = (h.seat[a] == h.seat[b]) & (h.event[a] == h.event[b])
    other = same_seat & ((h.key[a] != h.key[b]) | (h.key[a] < 0))
    return a[other], b[other]


def refused_though_free(h: History) -> Ints:
    """Refusals that had returned before anybody asked for their seat who may have had it for a moment.

    That may also be a purchase that failed, or one that was given back: so they count as long as they stand there.
    """
    wanted = one_of(h.op, BUY, HOLD) & (h.seat >= 0)
    takers, refusals = (
        np.flatnonzero(wanted & (h.outcome != SOLD_OUT)),
        np.flatnonzero(wanted & (h.outcome == SOLD_OUT)),
    )
    places, place = np.unique(np.stack((h.event, h.seat)), axis=1, return_inverse=True)
    place = place.reshape(-1)
    earliest = np.full(places.shape[1], NEVER)
    np.minimum.at(earliest, place[takers], h.invoke_ns[takers])
    return refusals[earliest[place[refusals]] > h.return_ns[refusals]]
