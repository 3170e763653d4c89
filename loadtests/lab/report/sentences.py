"""What happened in a cell, in a sentence for somebody who has never heard of a race."""

from __future__ import annotations

from loadtests.lab.experiment import Result
from loadtests.lab.promise import Kept
from loadtests.lab.report.words import headline

_GUARDS = {
    "none": "without a lock",
    "thread": "with a lock inside each process",
    "file": "with the lock",
}


def sentence(result: Result) -> str:
    """How many tickets for how many seats, and what became of the buyers."""
    service = result.experiment.service
    who = f"{service.spelled} {_GUARDS.get(service.guard, f'with the guard {service.guard}')}"
    rounds = _count(result.rounds, "round")
    if result.rounds_wrong == 0 and result.verdict.verdict == "valid":
        return (
            f"{who}: {_count(result.verdict.acknowledged, 'ticket')} for {_count(result.capacity, 'seat')} in {rounds},"
            " to the last seat. None was sold twice, and no order was lost, not by kill -9 either."
        )
    if result.rounds_wrong == 0:
        return f"{who}: {headline(result.verdict)}."
    said = f"{who}: {result.rounds_wrong} of {rounds} went wrong."
    if result.verdict.oversold:
        said += (
            f" Buyers were promised {_count(result.verdict.acknowledged, 'ticket')} for {_count(result.capacity, 'seat')}:"
            f" {result.verdict.oversold:,} too many."
        )
    if result.verdict.lost:
        said += f" {_count(result.verdict.lost, 'order')} that had been confirmed to the buyer stand in no book."
    return said


def kept_word(result: Result) -> str:
    """Whether the guard did what it promises, in a word or two."""
    return {Kept.YES: "as promised", Kept.NO: "promise broken", Kept.UNDECIDED: "undecided"}[result.kept]


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
