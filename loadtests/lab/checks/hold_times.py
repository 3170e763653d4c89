"""Holds must last as long as they were asked for: nobody else gets what is held before then, nor is its buyer refused.

A hold cannot have begun before it was asked for, so what had ended it, by an answer that had returned earlier than so
many seconds after its invocation, cut it short. That is told by one clock: of operations on one host.
"""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.observers import versions_of
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.checks.seats.answers import deadlines, kept_until
from loadtests.lab.history.arrays import NEVER, Ints, lookup, one_of, pick, same_rows
from loadtests.lab.history.audit import EXPIRED
from loadtests.lab.history.history import BUY, CONFIRM, HOLD, OK, REFUSED, RELEASE, SOLD_OUT


def check(case: Case, placement: Placement) -> Findings:
    """Compare what was answered while holds must have lasted with them."""
    m = case.mutations
    due = deadlines(case)
    findings = Findings(applies=bool((due > 0).any()))
    if not findings.applies:
        return findings
    early = _expired_in_the_ledger(case, placement, due, findings)
    holds = np.flatnonzero((m.op == HOLD) & m.acknowledged & (m.hold >= 0) & (due > 0))
    holds = holds[~np.isin(holds, early)]
    cut = np.union1d(_refused_to_its_buyer(case, holds, due, findings), _sold_anew(case, holds, due, findings))
    if not len(early) and not len(cut):
        _places_sold_to_others(case, findings)
    return findings


def _expired_in_the_ledger(case: Case, placement: Placement, due: Ints, findings: Findings) -> Ints:
    """Holds that had expired by the version of an answer that returned before they were due.

    An expiry is compared with the earliest return of all answers at its version or behind it, host by host.
    """
    h, m, ledger = case.history, case.mutations, placement.ledger
    if ledger is None:
        return due[:0]
    expired = np.flatnonzero(ledger.kind == EXPIRED)
    hold = pick(ledger.group, ledger.holds.opening_of(ledger.hold[expired]), -1)
    known = (hold >= 0) & (pick(due, hold, 0) > 0)
    expired, hold = expired[known], hold[known]
    at = ledger.position(versions_of(case, placement))
    witness: dict[int, tuple[int, int]] = {}
    for host in np.unique(h.host[m.start[hold]]):
        rows = np.flatnonzero((at >= 0) & (h.host == host) & (h.return_ns != NEVER))
        rows = rows[np.argsort(at[rows], kind="stable")]
        here = np.flatnonzero(h.host[m.start[hold]] == host)
        behind = np.searchsorted(at[rows], expired[here] + 1)
        returned = np.concatenate((h.return_ns[rows], [NEVER]))
        earliest = np.minimum.accumulate(returned[::-1])[::-1]
        for i in np.flatnonzero(earliest[behind] < due[hold[here]]).tolist():
            shown = int(np.flatnonzero(returned[behind[i] :] == earliest[behind[i]])[0]) + int(behind[i])
            witness[int(hold[here[i]])] = (int(rows[shown]), int(expired[here[i]]))
    cut_short = np.array(sorted(witness), np.int64)
    findings.add(
        "hold cut short",
        cut_short,
        lambda g: case.evidence(
            f"it was held for {_seconds(case, g)}, and had expired at version {ledger.version[witness[g][1]]}: the "
            f"other was answered after that, {_early(case, due, g, witness[g][0])} before that time was over",
            *dict.fromkeys((int(m.answer[g] if m.answer[g] >= 0 else m.row[g]), witness[g][0])),
            records=[witness[g][1] + 1] if ledger.audit is not None else [],
            seats=_seats(case, g),
        ),
    )
    return cut_short


def _refused_to_its_buyer(case: Case, holds: Ints, due: Ints, findings: Findings) -> Ints:
    """Holds whose confirmation was refused in time, though nobody can have confirmed or released them before."""
    h, m = case.history, case.mutations
    rows = np.flatnonzero((h.op == CONFIRM) & one_of(h.outcome, REFUSED, SOLD_OUT))
    hold: Ints = lookup(m.hold[holds], holds, h.hold[rows], -1)
    ended = np.flatnonzero(one_of(m.op, CONFIRM, RELEASE) & m.possible & (m.hold >= 0))
    asked = pick(h.invoke_ns, m.start[ended], 0)
    by_time = np.argsort(asked, kind="stable")
    maybe_ended = lookup(m.hold[ended[by_time]], asked[by_time], h.hold[rows], NEVER)
    early = (hold >= 0) & (h.return_ns[rows] < due[hold]) & (maybe_ended > h.return_ns[rows])
    early &= (h.host[m.start[hold]] == h.host[rows]) & (h.invoke_ns[rows] > pick(h.return_ns, m.answer[hold], NEVER))
    _confirmations_cut_short(case, rows[early], hold[early], due, findings, what="was refused")
    return hold[early]


def _sold_anew(case: Case, holds: Ints, due: Ints, findings: Findings) -> Ints:
    """Holds whose confirmation in time gave other ticket numbers: it was decided as a new sale, after an expiry."""
    h, m = case.history, case.mutations
    rows = np.flatnonzero((h.op == CONFIRM) & (h.outcome == OK) & (h.tickets.lengths > 0))
    hold: Ints = lookup(m.hold[holds], holds, h.hold[rows], -1)
    known = (hold >= 0) & (m.numbered[hold] >= 0)
    rows, hold = rows[known], hold[known]
    other = ~same_rows(h.tickets.take(rows), h.tickets.take(m.numbered[hold]))
    early = other & (h.return_ns[rows] < due[hold]) & (h.host[m.start[hold]] == h.host[rows])
    _confirmations_cut_short(case, rows[early], hold[early], due, findings, what="was sold anew, with other numbers,")
    sold_anew: Ints = hold[early]
    return sold_anew


def _confirmations_cut_short(case: Case, rows: Ints, holds: Ints, due: Ints, findings: Findings, *, what: str) -> None:
    """Tell of confirmations, each with its hold, that came before the holds' time was over."""
    hold = dict(zip(rows.tolist(), holds.tolist(), strict=True))
    findings.add(
        "hold cut short",
        rows,
        lambda row: case.evidence(
            f"it was held for {_seconds(case, hold[row])}, and its confirmation {what} "
            f"{_early(case, due, hold[row], row)} before that time was over",
            int(case.mutations.answer[hold[row]]),
            row,
            seats=_seats(case, hold[row]),
        ),
    )


def _places_sold_to_others(case: Case, findings: Findings) -> None:
    """At no moment may what is surely held and what is surely sold be more than there is.

    What was acknowledged is counted from its answer until it may have ended.
    """
    h, m, capacity = case.history, case.mutations, case.most
    if capacity is None or not case.one_clock:
        return
    until = kept_until(case)
    counted = np.flatnonzero(one_of(m.op, BUY, HOLD, CONFIRM) & m.acknowledged & (m.quantity > 0))
    began, ended = h.return_ns[m.answer[counted]], until[counted]
    lasts = began < ended
    counted, began, ended = counted[lasts], began[lasts], ended[lasts]
    held = m.op[counted] == HOLD
    if not held.any():
        return
    moments = np.concatenate((began, ended))
    change = np.concatenate((m.quantity[counted], -m.quantity[counted]))
    # What ends at a moment is gone before that counts which begins there.
    in_order = np.lexsort((np.repeat([1, 0], len(counted)), moments))
    total = np.cumsum(change[in_order])
    of_holds = np.cumsum(np.where(np.concatenate((held, held)), change, 0)[in_order])
    too_many = np.flatnonzero((total > capacity) & (of_holds > 0) & (total - of_holds <= capacity))[:1]

    def rows_at(at: int) -> list[int]:
        moment, last = moments[in_order[at]], counted[in_order[at] % len(counted)]
        open_holds = counted[held & (began <= moment) & (ended > moment) & (counted != last)]
        rows: list[int] = m.answer[[*open_holds[:1], last]].tolist()
        return rows

    findings.add(
        "hold cut short",
        too_many,
        lambda at: case.evidence(
            f"with it {total[at]} places were surely sold or held at once, of {capacity}; {of_holds[at]} of them were "
            "held, and the time of none of these holds was over",
            *rows_at(at),
        ),
    )


def _seconds(case: Case, hold: int) -> str:
    return f"{case.history.seconds[case.mutations.row[hold]]:g} s"


def _early(case: Case, due: Ints, hold: int, row: int) -> str:
    """How long before the hold's time was over an answer returned."""
    left_s = (due[hold] - case.history.return_ns[row]) / 1e9
    return f"{left_s:,.1f} s" if left_s >= 1 else f"{left_s * 1e3:,.3g} ms"


def _seats(case: Case, hold: int) -> list[int]:
    return [] if case.seats is None else case.seats.of_mutation.row(hold)
