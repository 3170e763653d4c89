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

from loadtests.lab.columns import ABSENT, Bools, Ints, pick
from loadtests.lab.history import BUY, CANCEL, CONFIRM, HOLD, OK, READ, RELEASE, UNKNOWN, Codes, History


@dataclass(frozen=True)
class Mutations:
    """Mutations in columns; index g is one key (or one operation without a key), rows are rows of the history.

    ``row`` is an attempt, for what all share. ``start`` is the row whose invocation the mutation cannot precede,
    -1 where none is known; ``answer`` the row of the earliest acknowledgement, -1 without one; ``ends`` the rows
    of the earliest acknowledgement on each host. ``fresh`` counts the acknowledgements that say they are no
    replay. ``can_commit``: some attempt can have committed it. ``possible``: some attempt was acknowledged or is
    unknown. ``order``, ``hold``, ``version`` and ``quantity`` are as asked and answered, -1 or ABSENT if nobody said.
    """

    op: Codes
    row: Ints
    start: Ints
    answer: Ints
    ends: Ints
    fresh: Ints
    can_commit: Bools
    possible: Bools
    order: Ints
    hold: Ints
    version: Ints
    quantity: Ints

    def __len__(self) -> int:
        return len(self.op)

    @property
    def acknowledged(self) -> Bools:
        """Which have an answer that says they happened."""
        return self.answer >= 0

    @property
    def unknown(self) -> Bools:
        """Which may have happened, though no answer says so."""
        return self.possible & ~self.acknowledged


def group_by_key(h: History) -> tuple[Ints, int]:
    """Each row's mutation, -1 for reads, and how many there are."""
    group = np.full(len(h), -1)
    keyed = np.flatnonzero((h.op != READ) & (h.key >= 0))
    ids, group[keyed] = np.unique(h.key[keyed], return_inverse=True)
    keyless = np.flatnonzero((h.op != READ) & (h.key < 0))
    group[keyless] = len(ids) + np.arange(len(keyless))
    return group, len(ids) + len(keyless)


def mutations_of(h: History, group: Ints, count: int) -> Mutations:
    """The mutations of one event's history, whose rows are grouped by key."""
    attempts = np.flatnonzero(group >= 0)
    ok = (group >= 0) & (h.outcome == OK)
    maybe = (group >= 0) & (h.outcome == UNKNOWN)
    replay = ok & ((h.replayed == 1) if h.marks_replays else np.ones(len(h), np.bool_))
    fresh = np.bincount(group[ok & ~replay], minlength=count)
    resent = replay & (np.isin(h.op, (CANCEL, RELEASE)) | (not h.marks_replays))
    committing = np.flatnonzero(np.where(pick(fresh, group, 0) > 0, ok & ~replay, maybe | resent))
    oks = np.flatnonzero(ok)
    row = _earliest(h.invoke_ns, attempts, group[attempts], count)
    answer = _earliest(h.return_ns, oks, group[oks], count)
    start = _earliest(h.invoke_ns, committing, group[committing], count)
    ends = answer[answer >= 0]
    if len(h) and (h.host != h.host[0]).any():
        start[_on_several_hosts(h.host[committing], group[committing], count)] = -1
        ends = _earliest_on_each_host(h, oks, group)
    op = h.op[row]
    order = np.where(op == CANCEL, h.order[row], _answered(h.order, -1, oks, group[oks], answer))
    by_hold = (op == CONFIRM) | (op == RELEASE)
    hold = np.where(by_hold, h.hold[row], _answered(h.hold, -1, oks, group[oks], answer))
    return Mutations(
        op=op,
        row=row,
        start=start,
        answer=answer,
        ends=ends,
        fresh=fresh,
        can_commit=np.bincount(group[committing], minlength=count) > 0,
        possible=np.bincount(group[ok | maybe], minlength=count) > 0,
        order=order,
        hold=hold,
        version=_answered(h.version, ABSENT, oks, group[oks], answer),
        quantity=_quantities(h, row, answer, order, hold),
    )


def lookup(ids: Ints, values: Ints, wanted: Ints, missing: int) -> Ints:
    """For each wanted id, the value at its first place in ``ids``, or ``missing``; negative ids match nothing."""
    known = np.flatnonzero(ids >= 0)
    ordered = known[np.argsort(ids[known], kind="stable")]
    out = np.full(len(wanted), missing)
    if len(ordered):
        at = np.minimum(np.searchsorted(ids[ordered], wanted), len(ordered) - 1)
        found = (ids[ordered[at]] == wanted) & (wanted >= 0)
        out[found] = values[ordered[at[found]]]
    return out


def _earliest(time: Ints, rows: Ints, group: Ints, count: int) -> Ints:
    """For each group, the row with the earliest time among ``rows``, -1 where a group has none."""
    out = np.full(count, -1)
    latest_first = np.argsort(-time[rows], kind="stable")
    out[group[latest_first]] = rows[latest_first]  # the last assignment to an index stays
    return out


def _answered(values: Ints, absent: int, oks: Ints, group: Ints, answer: Ints) -> Ints:
    """What the earliest acknowledgement says, or, if it is silent, any other."""
    out = np.full(len(answer), absent)
    telling = values[oks] != absent
    out[group[telling]] = values[oks][telling]
    first = np.flatnonzero(answer >= 0)
    first = first[values[answer[first]] != absent]
    out[first] = values[answer[first]]
    return out


def _on_several_hosts(host: Ints, group: Ints, count: int) -> Bools:
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -2)
    np.minimum.at(low, group, host)
    np.maximum.at(high, group, host)
    several: Bools = low < high
    return several


def _earliest_on_each_host(h: History, oks: Ints, group: Ints) -> Ints:
    ordered = oks[np.lexsort((h.return_ns[oks], h.host[oks], group[oks]))]
    if not len(ordered):
        return ordered
    new = (np.diff(group[ordered]) != 0) | (np.diff(h.host[ordered]) != 0)
    return ordered[np.concatenate(([True], new))]


def _quantities(h: History, row: Ints, answer: Ints, order: Ints, hold: Ints) -> Ints:
    """Tickets that each mutation is about: as asked, as answered, or those of the hold or order that it names."""
    op = h.op[row]
    quantity = np.where((op == BUY) | (op == HOLD), h.quantity[row], ABSENT)
    answered = pick(h.quantity, answer, ABSENT)
    given = pick(h.tickets.lengths, answer, 0)
    confirm = op == CONFIRM
    quantity[confirm] = np.where(answered >= 0, answered, np.where(given > 0, given, ABSENT))[confirm]
    holds = np.flatnonzero(op == HOLD)
    orders = np.flatnonzero((op == BUY) | confirm)
    of_hold = lookup(hold[holds], quantity[holds], hold, ABSENT)
    quantity = np.where((confirm & (quantity < 0)) | (op == RELEASE), of_hold, quantity)
    of_order = lookup(order[orders], quantity[orders], order, ABSENT)
    return np.where(op == CANCEL, of_order, quantity)
