"""What a check returns: violations by name, each with its count and its witnesses, and what stays undecided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from loadtests.lab.checks.verdict import Witness, WitnessOperation
from loadtests.lab.history.arrays import Ints

VIOLATIONS: dict[str, str] = {
    "oversold": "more tickets were acknowledged than the event has",
    "double-booked": "one ticket number was acknowledged to two buyers",
    "double apply": "one key took effect twice",
    "answer differs": "two statements about one mutation contradict each other",
    "replay without a commit": "an answer claims to repeat one that no attempt can have caused",
    "torn audit": "the audit is not the versions 1, 2, … n of this event, as many as its header says",
    "phantom": "the audit, or a version, has a mutation that no buyer can have made",
    "lost sale": "an acknowledged mutation is missing from the audit",
    "misplaced": "a mutation was answered with one version and stands at another",
    "refused after commit": "a key was refused although its mutation had been committed",
    "beyond the audit": "an answer shows a version that the audit does not reach",
    "over-recorded": "a record takes more places than there were",
    "double cancel": "something was cancelled, confirmed, released or expired that was not open",
    "duplicate": "a ticket number, an order or a hold was given twice",
    "gap": "ticket numbers were not given in order",
    "false late sale": "a confirmation was recorded as a new sale though its hold had not expired or was used up",
    "false expiry": "a hold expired before another one that was due earlier",
    "wrong read": "an answer shows another number of remaining tickets than there were",
    "torn read": "an answer shows a number of remaining tickets that there never was",
    "false sold-out": "tickets were refused that were there",
    "false refusal": "something was refused that was open",
    "inversion": "an operation had answered before one that is ordered ahead of it was even asked",
    "half a cart": "a cart is in some of its events and not in the others",
    "seat sold twice": "one seat was acknowledged to two buyers",
    "other seats": "something has other seats than were asked for, held or sold",
    "repeated seat": "one seat stands twice in one answer or in one record",
    "unknown seat": "a seat or a section is answered that the hall does not have",
    "seat recorded twice": "a record takes a seat that was not free",
    "false seat-taken": "a refusal does not name exactly those of the wanted seats that were taken",
    "false not-together": "neighbouring seats were refused that were there, or too few seats were free at all",
    "not neighbours": "seats that were asked for together are not neighbours in one row",
    "not the best": "other seats were given than the best of those that were free",
    "wrong map": "a map shows a seat in another state than it was in",
    "hold cut short": "what was held was refused to its buyer or sold to another one before the hold's time was over",
    "uncounted sale": "no order of the sales explains the counts that were read",
}


class Evidence(NamedTuple):
    """A sentence, the operations that take part, the places in the audit (1 is its first record), and the seats."""

    text: str
    operations: list[WitnessOperation]
    records: list[int]
    seats: Sequence[str] = ()


@dataclass
class Findings:
    """What one check found in one event.

    ``undecided`` are reasons for which the check cannot say *valid*; ``notes`` are remarks that change nothing.
    ``applies`` is false where the check has nothing to look at.
    """

    counts: dict[str, int] = field(default_factory=dict)
    witnesses: list[Witness] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    applies: bool = True

    def add(
        self,
        violation: str,
        found: Ints,
        explain: Callable[[int], Evidence],
        badness: Ints | None = None,
        count: int | None = None,
    ) -> None:
        """Count the violations ``found`` (indices of any kind), and explain the first and the worst of them.

        ``explain(index)`` gives the evidence. ``badness`` ranks ``found``; without it the first is as bad as any.
        ``count`` says how many there are where one finding stands for several.
        """
        if violation not in VIOLATIONS:
            raise ValueError(f"not a violation that has a name: {violation}")
        if not len(found):
            return
        self.counts[violation] = self.counts.get(violation, 0) + (len(found) if count is None else count)
        shown = [0] if badness is None else sorted({0, int(np.argmax(badness))})
        for at in shown:
            evidence = explain(int(found[at]))
            self.witnesses.append(
                Witness(violation, evidence.text, evidence.operations, evidence.records, list(evidence.seats))
            )

    def add_one(self, violation: str, evidence: Evidence, count: int | None = None) -> None:
        """Count and explain a single violation, which stands for ``count`` where that is given."""
        self.add(violation, np.zeros(1, np.int64), lambda _: evidence, count=count)

    @property
    def count(self) -> int:
        return sum(self.counts.values())
