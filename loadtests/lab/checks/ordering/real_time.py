"""Real time: an operation must not have answered before one that is ordered ahead of it was even asked.

The position of a mutation of version v is 2v, of an observer decided on version v it is 2v + 1. A linearization that
respects the positions exists exactly if no pair x, y has pos(x) < pos(y) and return(y) < invoke(x). One way
round, points inside the intervals would give invoke(x) ≤ p(x) ≤ p(y) ≤ return(y). The other way,
p(x) = max(invoke(x), the latest invocation of a smaller position) is at most return(x) and never decreases along
the positions; operations at equal positions are observers, which commute.

An observer of which only the lowest version is known has a deadline and is nobody's predecessor: it can always
be put later.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.findings import Evidence, Findings
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.history.arrays import ABSENT, NEVER, Ints, lookup


def check(case: Case, placement: Placement) -> Findings:
    """Sweep all placed operations, on each host by its own clock."""
    findings = Findings()
    h, m = case.history, case.mutations
    placed = placement.version != ABSENT
    started = np.flatnonzero(placed & (m.start >= 0))
    ended = m.ends[placed[case.group[m.ends]]]
    seen = np.flatnonzero(placement.seen != ABSENT)
    exact = seen[~placement.at_least[seen]]
    asked = np.concatenate((m.start[started], case.observers[exact]))
    asked_at = np.concatenate((2 * placement.version[started], 2 * placement.seen[exact] + 1))
    answered = np.concatenate((ended, case.observers[seen]))
    answered_at = np.concatenate((2 * placement.version[case.group[ended]], 2 * placement.seen[seen] + 1))
    hosts = np.unique(h.host)
    for host in hosts:
        x, y = (slice(None) if len(hosts) == 1 else h.host[rows] == host for rows in (asked, answered))
        late, ahead = missed_deadlines(asked_at[x], h.invoke_ns[asked[x]], answered_at[y], h.return_ns[answered[y]])
        late, ahead = answered[y][late], asked[x][ahead]
        early = h.invoke_ns[ahead] - h.return_ns[late]
        pair = dict(zip(late.tolist(), ahead.tolist(), strict=True))
        findings.add("inversion", late, partial(_explain, case, pair), early)
    if len(hosts) > 1:
        findings.notes.append(f"real time was compared within each of {len(hosts)} hosts only")
        _either_start_would_do(case, placement, answered, answered_at, findings)
    return findings


def _either_start_would_do(
    case: Case, placement: Placement, answered: Ints, answered_at: Ints, findings: Findings
) -> None:
    """A mutation that attempts from several hosts can have committed started on one of them, nobody knows which.

    If it may have started on all of them, nothing is lost; otherwise which one it was matters, and is undecided.
    """
    h = case.history
    starts = case.mutations.maybe_starts
    starts = starts[placement.version[case.group[starts]] != ABSENT]
    for host in np.unique(h.host[starts]):
        x, y = starts[h.host[starts] == host], np.flatnonzero(h.host[answered] == host)
        at = 2 * placement.version[case.group[x]]
        late, _ = missed_deadlines(at, h.invoke_ns[x], answered_at[y], h.return_ns[answered[y]])
        ends = case.mutations.ends[h.host[case.mutations.ends] == host]
        end = lookup(case.group[ends], h.return_ns[ends], case.group[x], NEVER)
        if len(late) or (h.invoke_ns[x] > end).any():
            findings.undecided.append("a key was retried from another host, and which attempt was committed matters")
            return


def missed_deadlines(asked_at: Ints, invoke: Ints, answered_at: Ints, returned: Ints) -> tuple[Ints, Ints]:
    """Indices y of answers that came before some x with a smaller position was invoked, each with the latest such x.

    O(n log n): sort the invocations by position, take the running maximum, look each answer's position up.
    """
    if not len(asked_at):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    by_position = np.argsort(asked_at, kind="stable")
    latest = np.maximum.accumulate(invoke[by_position])
    ahead = np.searchsorted(asked_at[by_position], answered_at) - 1
    late = np.flatnonzero((ahead >= 0) & (returned < latest[ahead]))
    last = np.searchsorted(latest, latest[ahead[late]])  # where the running maximum was reached
    return late, by_position[last]


def _explain(case: Case, pair: dict[int, int], late: int) -> Evidence:
    h = case.history
    ahead = pair[late]
    gap_ms = (h.invoke_ns[ahead] - h.return_ns[late]) / 1e6
    text = f"it had answered {gap_ms:,.3g} ms before the other, which is ordered ahead of it, was asked"
    return case.evidence(text, late, ahead)
