"""Tier C: a bare stock counter. No versions, no ticket numbers, quantity 1, nothing is given back.

All that is known is how many were sold when somebody looked. For each count j let L(j) be the latest invocation
of an answer that saw fewer than j sold, and U(j) the earliest return of one that needs at least j: the j-th sale
takes effect after L(j) and before U(j), and neither decreases with j. So go through j = 1, 2, … and give each the
purchase that returns earliest among those invoked by U(j). If even that one returned before L(j), no order of the
sales explains the counts. (Earliest deadline first, optimal for unit jobs: a purchase that is passed over
returns later, and exchanging the two never hurts.) Bounding each read by itself, as counter checkers commonly
do, misses real violations.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering.placement import Placement, candidates
from loadtests.lab.checks.ordering.real_time import missed_deadlines
from loadtests.lab.history.arrays import ABSENT, NEVER, Bools, Ints, pick
from loadtests.lab.history.history import SOLD_OUT, UNKNOWN, History


@dataclass(frozen=True)
class _Counts:
    """Answers that tell how many were sold: the exact number, or, for a bare refusal, the least."""

    row: Ints
    sold: Ints
    exact: Bools


def check(case: Case, placement: Placement) -> Findings:
    """Find an order of the sales that explains every count, if this is a bare counter."""
    findings = Findings()
    if placement.tier != "C" or case.capacity is None:
        return Findings(applies=False)
    h = case.history
    exact = (h.outcome != UNKNOWN) & (h.remaining != ABSENT)
    row = np.flatnonzero(exact | (h.outcome == SOLD_OUT))
    sold = np.where(exact[row], case.capacity - h.remaining[row], case.capacity)
    counts = _Counts(row, sold, exact[row])
    _each_is_possible(case, case.capacity, counts, findings)
    for host in np.unique(h.host):
        here = h.host[row] == host
        _none_falls(case, _Counts(row[here], sold[here], counts.exact[here]), findings)
    if not case.one_clock:
        findings.undecided.append("the hosts' clocks cannot be compared, so sales cannot be matched with counts")
    elif not findings.count:
        _sales_explain(case, case.capacity, counts, findings)
    return findings


def _each_is_possible(case: Case, capacity: int, counts: _Counts, findings: Findings) -> None:
    h = case.history
    findings.add(
        "wrong read",
        counts.row[(counts.sold < 0) | (counts.sold > capacity)],
        lambda row: case.evidence(f"it shows {h.remaining[row]} remaining of {capacity}", row),
    )
    findings.add(
        "false sold-out",
        counts.row[(h.outcome[counts.row] == SOLD_OUT) & (counts.sold < capacity)],
        lambda row: case.evidence(f"one was refused, and the answer shows {h.remaining[row]} remaining", row),
    )


def _none_falls(case: Case, counts: _Counts, findings: Findings) -> None:
    """A client that asks after an answer must not see fewer sold than that answer said."""
    h, sold = case.history, counts.sold
    exact = np.flatnonzero(counts.exact)
    late, ahead = missed_deadlines(sold[exact], h.invoke_ns[counts.row[exact]], sold, h.return_ns[counts.row])
    ahead = exact[ahead]
    findings.add(
        "inversion",
        np.arange(len(late)),
        lambda i: case.evidence(
            f"{sold[late[i]]} were sold when the first answered; the other was asked later and saw {sold[ahead[i]]}",
            counts.row[late[i]],
            counts.row[ahead[i]],
        ),
        h.invoke_ns[counts.row[ahead]] - h.return_ns[counts.row[late]],
    )


def _sales_explain(case: Case, capacity: int, counts: _Counts, findings: Findings) -> None:
    """Match the counts 1, 2, … with purchases; those acknowledged beyond must fit behind every count."""
    h, m = case.history, case.mutations
    # More than one beyond the purchases there are cannot be explained anyway: a hall may be as large as it likes.
    highest = min(int(counts.sold.max(initial=0)), len(m) + 1)
    after = np.full(highest + 1, -1)
    within = counts.exact & (counts.sold <= highest)
    np.maximum.at(after, counts.sold[within], h.invoke_ns[counts.row[within]])
    after = np.maximum.accumulate(after)  # after[j]: the latest invocation of one that saw at most j
    before = np.full(highest + 1, NEVER)
    np.minimum.at(before, np.minimum(counts.sold, highest), h.return_ns[counts.row])
    before = np.minimum.accumulate(before[::-1])[::-1]  # before[j]: the earliest return of one that needs j
    buys = np.concatenate((np.flatnonzero(m.acknowledged), candidates(case)))
    buys = buys[m.start[buys] >= 0]
    buys = buys[np.argsort(h.invoke_ns[m.start[buys]], kind="stable")]
    returned = pick(h.return_ns, m.answer, NEVER)[buys]
    matched, left = _match(h.invoke_ns[m.start[buys]].tolist(), returned.tolist(), after.tolist(), before.tolist())

    def rows_at(count: int) -> list[int]:
        """The answers that bound a count: the last that saw fewer, the first that needs it."""
        fewer = np.flatnonzero(counts.exact & (counts.sold < count))
        more = np.flatnonzero(counts.sold >= count)
        latest = fewer[np.argmax(h.invoke_ns[counts.row[fewer]])] if len(fewer) else None
        earliest = more[np.argmin(h.return_ns[counts.row[more]])] if len(more) else None
        return [int(counts.row[at]) for at in (latest, earliest) if at is not None]

    if len(matched) < highest:
        count = len(matched) + 1
        text = (
            f"sale number {count} took effect {_between(after[count - 1], before[count], h)}, and no purchase that "
            "is left was under way then"
        )
        findings.add_one("uncounted sale", case.evidence(text, *rows_at(count)))
        return
    early = np.array([i for i in left if returned[i] < after[highest]], np.int64)
    findings.add(
        "uncounted sale",
        early,
        lambda i: case.evidence(
            f"it was acknowledged before a read was asked that did not count it: that saw at most {highest} sold, and "
            f"as many others must have come first",
            m.answer[buys[i]],
            *rows_at(highest + 1),
        ),
        after[highest] - returned[early],
    )
    needed = int((returned[matched] == NEVER).sum()) + int(m.acknowledged.sum())
    if needed > capacity:
        text = f"what was counted needs {needed} sales, of {capacity}"
        findings.add_one("uncounted sale", case.evidence(text))


def _between(after: int, before: int, h: History) -> str:
    """Between two instants, which may both be missing, counted from the beginning of the history."""
    began = int(h.invoke_ns.min())
    said = [f"after {(after - began) / 1e6:,.3f} ms"] if after >= 0 else []
    said += [f"before {(before - began) / 1e6:,.3f} ms"] if before != NEVER else []
    return " and ".join(said) or "at some time"


def _match(invoke: list[int], returned: list[int], after: list[int], before: list[int]) -> tuple[list[int], list[int]]:
    """Purchases for the counts 1, 2, … as far as they go, and the purchases left over; ``invoke`` is sorted."""
    waiting: list[tuple[int, int]] = []
    matched: list[int] = []
    pushed = 0
    for count in range(1, len(before)):
        while pushed < len(invoke) and invoke[pushed] <= before[count]:
            heapq.heappush(waiting, (returned[pushed], pushed))
            pushed += 1
        if not waiting or waiting[0][0] < after[count - 1]:
            break
        matched.append(heapq.heappop(waiting)[1])
    return matched, [index for _, index in waiting] + list(range(pushed, len(invoke)))
