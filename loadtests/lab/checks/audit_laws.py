"""The audit must be whole, and agree with the buyers' answers, key by key.

A torn audit does not end the check: the service contradicts itself, and everything else in the audit is still compared,
in the order of the file. A ledger derived from the answers is compared only with what they can contradict.
"""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.case.ledger import LATE, AuditLedger
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.checks.seats.lists import same_seats
from loadtests.lab.history.arrays import ABSENT, Ints, one_of, pick, same_rows
from loadtests.lab.history.audit import AMENDED, CANCELLED, CONFIRMED, HELD, KINDS, RELEASED, SOLD
from loadtests.lab.history.history import BUY, CANCEL, CONFIRM, HOLD, OK, RELEASE, SOLD_OUT

_KINDS_OF_OP = {
    BUY: (SOLD,),
    CANCEL: (CANCELLED,),
    HOLD: (HELD,),
    CONFIRM: (CONFIRMED, LATE),
    RELEASE: (RELEASED,),
}


def check(case: Case, placement: Placement) -> Findings:
    """Compare the audit with itself, and with what each key asked for and was answered."""
    findings = Findings()
    audit = case.audit
    if audit is None:
        _refused_after_commit(case, placement, placement.version, findings)
        if placement.tier == "C":
            _refused_and_sold(case, findings)
        return findings
    _whole(case, audit, findings)
    _keys_are_known_and_once(case, audit, findings)
    record = audit.record_of(len(case.mutations))
    _acknowledged_are_recorded(case, audit, record, findings)
    _records_say_what_was_asked(case, audit, findings)
    _answers_say_what_is_recorded(case, audit, record, findings)
    _refused_after_commit(case, placement, pick(audit.version, record, ABSENT), findings)
    _nothing_is_beyond(case, audit, record, findings)
    return findings


def _whole(case: Case, audit: AuditLedger, findings: Findings) -> None:
    if audit.capacity != case.capacity:
        text = f"the audit begins with a capacity of {audit.capacity}; the event was created with {case.capacity}"
        findings.add_one("torn audit", case.evidence(text))
    if audit.versions != len(audit):
        text = f"the audit's header says {audit.versions} records; there are {len(audit)}"
        findings.add_one("torn audit", case.evidence(text))
    expected = np.concatenate(([0], audit.version[:-1])) + 1
    findings.add(
        "torn audit",
        np.flatnonzero(audit.version != expected),
        lambda i: case.evidence(
            f"record {i + 1} is of version {audit.version[i]}, after {expected[i] - 1}", records=[i + 1]
        ),
    )


def _keys_are_known_and_once(case: Case, audit: AuditLedger, findings: Findings) -> None:
    m, file = case.mutations, audit.audit
    if file is None:
        raise ValueError("a derived ledger has no keys of its own")
    again = np.flatnonzero((file.key >= 0) & (file.key != np.arange(len(file))))  # an id is its first row
    findings.add(
        "double apply",
        again,
        lambda i: case.evidence(
            f"key {file.keys.string(int(file.key[i]))} stands at records {file.key[i] + 1} and {i + 1}",
            *_attempts(case, audit.group[i]),
            records=[file.key[i] + 1, i + 1],
        ),
    )
    keyless = bool(((case.history.key[m.row] < 0) & m.possible).any())  # one of them may be behind a strange key
    known = pick(m.possible, audit.group, 0)
    strange = (file.key >= 0) & ~known & ~((audit.group < 0) & keyless) & (file.kind != AMENDED)  # an admin's
    findings.add(
        "phantom",
        np.flatnonzero(strange),
        lambda i: case.evidence(
            f"record {i + 1} ({KINDS[file.kind[i]]} under key {file.keys.string(int(file.key[i]))}): "
            + ("every attempt of this key was refused" if audit.group[i] >= 0 else "no buyer sent this key"),
            *_attempts(case, audit.group[i]),
            records=[i + 1],
        ),
    )


def _acknowledged_are_recorded(case: Case, audit: AuditLedger, record: Ints, findings: Findings) -> None:
    m = case.mutations
    keyed = m.acknowledged & (case.history.key[m.row] >= 0)
    findings.add(
        "lost sale",
        np.flatnonzero(keyed & (record < 0)),
        lambda g: case.evidence("it was acknowledged, and the audit has no record of its key", m.answer[g]),
    )
    there = np.flatnonzero(keyed & (record >= 0) & (m.version != ABSENT))
    findings.add(
        "misplaced",
        there[audit.version[record[there]] != m.version[there]],
        lambda g: case.evidence(
            f"it was answered with version {m.version[g]} and stands at {audit.version[record[g]]}",
            m.answer[g],
            records=[record[g] + 1],
        ),
    )


def _records_say_what_was_asked(case: Case, audit: AuditLedger, findings: Findings) -> None:
    h, m = case.history, case.mutations
    known = np.flatnonzero(audit.group >= 0)
    known = known[m.possible[audit.group[known]]]
    group, kind = audit.group[known], audit.kind[known]
    op, asked = m.op[group], m.row[group]
    fits = np.zeros(len(known), np.bool_)
    for code, kinds in _KINDS_OF_OP.items():
        fits |= (op == code) & one_of(kind, *kinds)
    fits &= ~one_of(op, BUY, HOLD) | (audit.quantity[known] == h.quantity[asked])
    fits &= (op != CANCEL) | (audit.order[known] == h.order[asked])
    fits &= ~one_of(op, CONFIRM, RELEASE) | (audit.hold[known] == h.hold[asked])
    if case.seats is not None and audit.seats is not None:
        named = same_seats(audit.seats.take(known), case.seats.wanted.take(asked))
        fits &= ~one_of(op, BUY, HOLD) | ~case.seats.asked[asked] | named
    findings.add(
        "answer differs",
        known[~fits],
        lambda i: case.evidence(
            f"record {i + 1} is not what its key asked for", *_attempts(case, audit.group[i]), records=[i + 1]
        ),
    )


def _answers_say_what_is_recorded(case: Case, audit: AuditLedger, record: Ints, findings: Findings) -> None:
    h = case.history
    rows = np.flatnonzero((case.group >= 0) & (h.outcome == OK))
    at = record[case.group[rows]]
    rows, at = rows[at >= 0], at[at >= 0]
    differs = np.zeros(len(rows), np.bool_)
    for answered, recorded in ((h.order, audit.order), (h.hold, audit.hold), (h.quantity, audit.quantity)):
        a, b = answered[rows], recorded[at]
        differs |= (a != b) & (a >= 0) & (b >= 0)
    given, kept = h.tickets.take(rows), audit.tickets.take(at)
    differs |= ~same_rows(given, kept) & (given.lengths > 0) & (kept.lengths > 0)
    if case.seats is not None and audit.seats is not None:
        differs |= ~same_seats(case.seats.given.take(rows), audit.seats.take(at)) & case.seats.told[rows]
    findings.add(
        "answer differs",
        np.flatnonzero(differs),
        lambda i: case.evidence(
            f"the answer is not what record {at[i] + 1} says of its key", rows[i], records=[at[i] + 1]
        ),
    )


def _refused_after_commit(case: Case, placement: Placement, committed_at: Ints, findings: Findings) -> None:
    """A key that was committed gets its first answer again; a refusal must have come before the commit."""
    mutation = case.group[case.observers]
    refused = np.flatnonzero((mutation >= 0) & (placement.seen != ABSENT))
    at = committed_at[mutation[refused]]
    findings.add(
        "refused after commit",
        refused[(at != ABSENT) & (placement.seen[refused] >= at)],
        lambda i: case.evidence(
            f"it was refused on version {placement.seen[i]}, and its key had been committed at "
            f"{committed_at[mutation[i]]}: the first answer was due",
            *_attempts(case, mutation[i]),
        ),
    )


def _refused_and_sold(case: Case, findings: Findings) -> None:
    """Where nothing is given back, a key that was once sold out cannot have been sold, before or after."""
    h, m = case.history, case.mutations
    rows = np.flatnonzero((h.outcome == SOLD_OUT) & (case.group >= 0))
    findings.add(
        "refused after commit",
        rows[m.acknowledged[case.group[rows]]],
        lambda row: case.evidence(
            "its key was sold out in one attempt and sold in another, and no place is ever given back",
            *_attempts(case, case.group[row]),
        ),
    )


def _nothing_is_beyond(case: Case, audit: AuditLedger, record: Ints, findings: Findings) -> None:
    h = case.history
    mutation = np.flatnonzero((case.group >= 0) & (h.outcome == OK))
    recorded = np.ones(len(h), np.bool_)
    recorded[mutation] = record[case.group[mutation]] >= 0  # lost ones are reported as that
    rows: Ints = np.flatnonzero((h.version > audit.end) & recorded)
    findings.add(
        "beyond the audit",
        rows,
        lambda row: case.evidence(f"its answer shows version {h.version[row]}; the audit ends at {audit.end}", row),
        h.version[rows],
    )


def _attempts(case: Case, mutation: int) -> Ints:
    """The rows of the first few attempts of a mutation; none of mutation -1."""
    return np.flatnonzero((case.group == mutation) & (case.group >= 0))[:3]
