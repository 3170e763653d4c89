"""The attempts of one key must agree with each other.

A key takes effect once, so at most one answer is not a replay, every answer repeats the first one's words, and
what is replayed was committed by an attempt that can have done so, before anybody was told.
"""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.history.arrays import ABSENT, Ints, one_of, pick, same_rows
from loadtests.lab.history.history import BUY, CONFIRM, HOLD, OK


def check(case: Case, placement: Placement) -> Findings:
    """Compare the answers of each key with each other, and with what its attempts can have caused."""
    findings = Findings()
    _answers_agree(case, findings)
    _quantities_are_as_asked(case, findings)
    h, m = case.history, case.mutations
    _ids_are_given_once(case, findings, "order", m.order, (BUY, CONFIRM))
    _ids_are_given_once(case, findings, "hold", m.hold, (HOLD,))
    findings.add(
        "double apply",
        np.flatnonzero(m.fresh > 1),
        lambda g: case.evidence(
            f"its key was acknowledged {m.fresh[g]} times by answers that are not replays", *_acknowledgements(case, g)
        ),
    )
    findings.add(
        "replay without a commit",
        np.flatnonzero(m.acknowledged & ~m.can_commit),
        lambda g: case.evidence(
            "its answer says that it repeats an earlier one, but no earlier attempt can have been committed",
            m.answer[g],
        ),
    )
    start = m.start[case.group[m.ends]]
    same_clock = (start >= 0) & (pick(h.host, start, -2) == h.host[m.ends])
    findings.add(
        "inversion",
        m.ends[same_clock & (pick(h.invoke_ns, start, -1) > h.return_ns[m.ends])],
        lambda row: case.evidence(
            "its key was acknowledged before the first attempt that can have been committed was asked",
            row,
            m.start[case.group[row]],
        ),
    )
    return findings


def _answers_agree(case: Case, findings: Findings) -> None:
    """Report answers to one key that do not say the same."""
    h, m = case.history, case.mutations
    rows = np.flatnonzero((case.group >= 0) & (h.outcome == OK))
    mutation = case.group[rows]
    confirmed = np.where(h.op == CONFIRM, h.quantity, ABSENT)
    differs = np.zeros(len(rows), np.bool_)
    for told, agreed, absent in (
        (h.order, m.order, -1),
        (h.hold, m.hold, -1),
        (confirmed, m.quantity, ABSENT),
        (h.version, m.version, ABSENT),
        (h.remaining, m.remaining, ABSENT),
    ):
        differs |= (told[rows] != agreed[mutation]) & (told[rows] != absent)
    given = h.tickets.take(rows)
    agreed_numbers = h.tickets.take(np.maximum(m.numbered[mutation], 0))
    differs |= ~same_rows(given, agreed_numbers) & (given.lengths > 0)
    findings.add(
        "answer differs",
        rows[differs],
        lambda row: case.evidence(
            "one key was answered more than once, with different content", *_acknowledgements(case, case.group[row])
        ),
    )


def _quantities_are_as_asked(case: Case, findings: Findings) -> None:
    h = case.history
    rows = np.flatnonzero((h.outcome == OK) & one_of(h.op, BUY, HOLD, CONFIRM))
    given = h.tickets.lengths[rows]
    wrong = (given > 0) & (h.quantity[rows] != ABSENT) & (given != h.quantity[rows])
    findings.add(
        "answer differs",
        rows[wrong],
        lambda row: case.evidence(
            f"it asked for {h.quantity[row]} and was given the numbers {h.tickets.row(row)}", row
        ),
    )


def _ids_are_given_once(case: Case, findings: Findings, thing: str, ids: Ints, ops: tuple[int, ...]) -> None:
    """An order or a hold is answered to one key only."""
    m = case.mutations
    made = np.flatnonzero(one_of(m.op, *ops) & m.acknowledged & (ids >= 0))
    made = made[np.argsort(ids[made], kind="stable")]
    findings.add(
        "duplicate",
        np.flatnonzero(np.diff(ids[made]) == 0),
        lambda i: case.evidence(f"the same {thing} was answered to two keys", m.answer[made[i]], m.answer[made[i + 1]]),
    )


def _acknowledgements(case: Case, mutation: int) -> Ints:
    """The rows of the first few acknowledgements of a mutation."""
    h = case.history
    rows = np.flatnonzero((case.group == mutation) & (h.outcome == OK))
    return rows[np.argsort(h.return_ns[rows], kind="stable")][:3]
