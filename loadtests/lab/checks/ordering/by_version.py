"""Tier A without an audit: the order of mutations from the versions in the answers.

Every version up to the highest that anybody saw must be somebody's. If all are acknowledged ones', the order is
known, and an unknown mutation came later or not at all: nobody can have seen the difference. Versions that are
missing belong to unknown mutations or, if there are holds, to expiries, which no buyer sees.
"""

from __future__ import annotations

import numpy as np

from loadtests.lab.checks.case import Case
from loadtests.lab.checks.ordering.placement import (
    Placement,
    candidates,
    derived_ledger,
    fill_slots,
    slot_quantity,
    unplaced,
)
from loadtests.lab.history.arrays import ABSENT, Ints, one_of
from loadtests.lab.history.history import BUY, CANCEL, CONFIRM, HOLD, RELEASE


def derive(case: Case) -> Placement:
    """Place a case in which every acknowledged mutation has a version."""
    placement = unplaced(case, "A", "")
    m, h = case.mutations, case.history
    acknowledged = np.flatnonzero(m.acknowledged)
    ordered = acknowledged[np.argsort(m.version[acknowledged], kind="stable")]
    if _contradicts(case, placement, ordered):
        return placement
    highest = int(h.version.max(initial=0))
    missing = highest - len(ordered)
    holds = int(((m.op == HOLD) & m.possible).sum())
    nothing_given_back = one_of(m.op[m.possible], BUY).all()
    unknown = candidates(case) if nothing_given_back else np.flatnonzero(m.unknown)
    fillers = len(unknown) + holds
    if missing > fillers:
        text = (
            f"version {_first_missing(m.version[ordered])} belongs to no mutation of the history: of the {highest} "
            f"versions that were seen, {missing} are missing, and only {fillers} unknown mutations and holds could "
            "fill them"
        )
        placement.findings.add_one("phantom", case.evidence(text, int(np.argmax(h.version))))
    elif _are_nameless(case):
        placement.findings.undecided.append("orders or holds were given back, and not all have a name to tell which")
    elif missing == 0:
        placement.ledger = derived_ledger(case, ordered)
    elif nothing_given_back and slot_quantity(case, unknown) is not None and case.one_clock:
        fill_slots(case, placement, unknown, highest)
    else:
        placement.findings.undecided.append(
            f"the audit is missing: {missing} of {highest} versions are of unknown mutations or of holds that expired"
        )
    return placement


def compare_told(case: Case, placement: Placement) -> None:
    """Where only some acknowledged mutations have a version, those that have one may still contradict each other."""
    version = case.mutations.version
    told = np.flatnonzero(case.mutations.acknowledged & (version != ABSENT))
    _contradicts(case, placement, told[np.argsort(version[told], kind="stable")])


def _contradicts(case: Case, placement: Placement, ordered: Ints) -> bool:
    """Impossible versions: one for two mutations, or version 0 for a mutation."""
    version = case.mutations.version[ordered]
    twice = np.flatnonzero(np.diff(version) == 0)
    answer = case.mutations.answer
    placement.findings.add(
        "misplaced",
        twice,
        lambda i: case.evidence(
            f"two mutations were both answered with version {version[i]}: they were decided on the same state",
            answer[ordered[i]],
            answer[ordered[i + 1]],
        ),
    )
    placement.findings.add(
        "misplaced",
        np.flatnonzero(version == 0),
        lambda i: case.evidence(
            "a mutation was answered with version 0, which is the state before all of them", answer[ordered[i]]
        ),
    )
    return placement.findings.count > 0


def _are_nameless(case: Case) -> bool:
    """Something was given back or confirmed, and not every acknowledged order or hold has an id."""
    m = case.mutations
    orders = one_of(m.op, BUY, CONFIRM) & m.acknowledged & (m.order < 0)
    holds = (m.op == HOLD) & m.acknowledged & (m.hold < 0)
    return bool((orders.any() and (m.op == CANCEL).any()) or (holds.any() and one_of(m.op, CONFIRM, RELEASE).any()))


def _first_missing(ordered: Ints) -> int:
    beyond = np.flatnonzero(ordered != np.arange(1, len(ordered) + 1))
    return int(beyond[0]) + 1 if len(beyond) else len(ordered) + 1
