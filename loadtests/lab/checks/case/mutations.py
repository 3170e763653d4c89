"""What the attempts of one key amount to: one mutation, which commits at most once.

A mutation spans from the invocation of the attempt that committed it to its earliest acknowledgement. Which
attempt committed is known where an answer is no replay. Otherwise it is one of those that can have: an unknown
one, or, because the client's library resends a DELETE by itself, a cancel or release that got the replay.

With several hosts no clock is common. A mutation then has an end on each host that saw it acknowledged, and a
start only if all attempts that can have committed it were sent from one host.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loadtests.lab.history.arrays import ABSENT, Bools, Codes, Ints, lookup, one_of, pick
from loadtests.lab.history.history import BUY, CANCEL, CONFIRM, HOLD, OK, READ, RELEASE, UNKNOWN, History


@dataclass(frozen=True)
class Mutations:
    """Mutations in columns; index g is one key (or one operation without a key), rows are rows of the history.

    Rows, -1 where there is none: ``row`` is any attempt, for what all share; ``start`` the one whose invocation the
    mutation cannot precede; ``answer`` the earliest acknowledgement; ``numbered`` the earliest with ticket
    numbers. Of all mutations, ``ends`` are the rows of the earliest acknowledgement on each host, and ``maybe_starts``,
    where attempts from several hosts can have committed one, the earliest such attempt on each host.

    ``fresh`` counts the acknowledgements that say they are no replay. ``can_commit``: some attempt can have committed
    it. ``possible``: some attempt was acknowledged or is unknown. The others are as asked and answered, -1 (ids) or
    ABSENT (numbers) where nobody said.
    """

    op: Codes
    row: Ints
    start: Ints
    answer: Ints
    numbered: Ints
    ends: Ints
    maybe_starts: Ints
    fresh: Ints
    can_commit: Bools
    possible: Bools
    order: Ints
    hold: Ints
    version: Ints
    remaining: Ints
    quantity: Ints

    def __len__(self) -> int:
        return len(self.op)

    @property
    def acknowledged(self) -> Bools:
        return self.answer >= 0

    @property
    def unknown(self) -> Bools:
        """Which may have happened, though no answer says so."""
        return self.possible & ~self.acknowledged


def group_by_key(h: History) -> tuple[Ints, int]:
    """Each row's mutation, -1 for reads, and how many there are."""
    group = np.full(len(h), -1)
    keyed = np.flatnonzero((h.op != READ) & (h.key >= 0))
    in_order = keyed[np.argsort(h.key[keyed], kind="stable")]  # linear where ids rise, as they do without retries
    group[in_order] = np.cumsum(np.diff(h.key[in_order], prepend=-1) != 0) - 1
    keys = int(group.max(initial=-1)) + 1
    keyless = np.flatnonzero((h.op != READ) & (h.key < 0))
    group[keyless] = keys + np.arange(len(keyless))
    return group, keys + len(keyless)


def mutations_of(h: History, group: Ints, count: int) -> Mutations:
    """The mutations of one event's history, whose rows are grouped by key."""
    attempts = np.flatnonzero(group >= 0)
    ok = (group >= 0) & (h.outcome == OK)
    maybe = (group >= 0) & (h.outcome == UNKNOWN)
    replay = ok & ((h.replayed == 1) if h.marks_replays else np.ones(len(h), np.bool_))
    fresh = np.bincount(group[ok & ~replay], minlength=count)
    resent = replay & (one_of(h.op, CANCEL, RELEASE) | (not h.marks_replays))
    committing = np.flatnonzero(np.where(pick(fresh, group, 0) > 0, ok & ~replay, maybe | resent))
    oks = np.flatnonzero(ok)
    row = _earliest(h.invoke_ns, attempts, group[attempts], count)
    answer = _earliest(h.return_ns, oks, group[oks], count)
    numbers = oks[h.tickets.lengths[oks] > 0]
    numbered = _earliest(h.return_ns, numbers, group[numbers], count)
    start = _earliest(h.invoke_ns, committing, group[committing], count)
    ends, maybe_starts = answer[answer >= 0], np.zeros(0, np.int64)
    if len(h) and (h.host != h.host[0]).any():
        scattered = _on_several_hosts(h.host[committing], group[committing], count)
        start[scattered] = -1
        maybe_starts = _earliest_on_each_host(h, h.invoke_ns, committing[scattered[group[committing]]], group)
        ends = _earliest_on_each_host(h, h.return_ns, oks, group)
    op = h.op[row]
    order = np.where(op == CANCEL, h.order[row], _answered(h.order, -1, oks, group[oks], answer))
    by_hold = (op == CONFIRM) | (op == RELEASE)
    hold = np.where(by_hold, h.hold[row], _answered(h.hold, -1, oks, group[oks], answer))
    asked = np.where((op == BUY) | (op == HOLD), h.quantity[row], ABSENT)
    told = _answered(h.quantity, ABSENT, oks, group[oks], answer)
    told = np.where(told >= 0, told, pick(h.tickets.lengths, numbered, ABSENT))
    return Mutations(
        op=op,
        row=row,
        start=start,
        answer=answer,
        numbered=numbered,
        ends=ends,
        maybe_starts=maybe_starts,
        fresh=fresh,
        can_commit=np.bincount(group[committing], minlength=count) > 0,
        possible=np.bincount(group[ok | maybe], minlength=count) > 0,
        order=order,
        hold=hold,
        version=_answered(h.version, ABSENT, oks, group[oks], answer),
        remaining=_answered(h.remaining, ABSENT, oks, group[oks], answer),
        quantity=_quantities(op, np.where(op == CONFIRM, told, asked), order, hold),
    )


def _earliest(time: Ints, rows: Ints, group: Ints, count: int) -> Ints:
    """For each group, the row with the earliest time among ``rows``, -1 where a group has none."""
    out = np.full(count, -1)
    out[group] = rows
    several = np.flatnonzero(np.bincount(group, minlength=count)[group] > 1)
    latest_first = several[np.argsort(-time[rows[several]], kind="stable")]
    out[group[latest_first]] = rows[latest_first]  # the last assignment to an index stays
    return out


def _answered(values: Ints, absent: int, oks: Ints, group: Ints, answer: Ints) -> Ints:
    """What the earliest acknowledgement says; if it says nothing, what another one says."""
    out: Ints = pick(values, answer, absent)
    silent = np.flatnonzero((out[group] == absent) & (values[oks] != absent))
    out[group[silent]] = values[oks[silent]]
    return out


def _on_several_hosts(host: Ints, group: Ints, count: int) -> Bools:
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -2)
    np.minimum.at(low, group, host)
    np.maximum.at(high, group, host)
    several: Bools = low < high
    return several


def _earliest_on_each_host(h: History, time: Ints, rows: Ints, group: Ints) -> Ints:
    ordered = rows[np.lexsort((time[rows], h.host[rows], group[rows]))]
    if not len(ordered):
        return ordered
    new = (np.diff(group[ordered]) != 0) | (np.diff(h.host[ordered]) != 0)
    return ordered[np.concatenate(([True], new))]


def _quantities(op: Codes, stated: Ints, order: Ints, hold: Ints) -> Ints:
    """The tickets of each mutation: as stated, or those of the hold or the order that it names."""
    holds = np.flatnonzero(op == HOLD)
    of_hold = lookup(hold[holds], stated[holds], hold, ABSENT)
    quantity = np.where(one_of(op, CONFIRM, RELEASE) & (stated < 0), of_hold, stated)
    orders = np.flatnonzero((op == BUY) | (op == CONFIRM))
    return np.where(op == CANCEL, lookup(order[orders], quantity[orders], order, ABSENT), quantity)
