"""What happened in a cell, in a sentence for somebody who has never heard of a race."""

from __future__ import annotations

from loadtests.lab.experiment.expectation import Expectation, Met
from loadtests.lab.experiment.runner import Result
from loadtests.lab.report.text import headline
from service.catalogue import GUARDS, OFF


def sentence(result: Result) -> str:
    """How many tickets for how many seats, and what became of the buyers."""
    service = result.experiment.service
    known = GUARDS.get(service.guard)
    who = f"{service.spelled} {(known and known.words) or f'with the guard {service.guard}'}"
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
        promised = f"{_count(result.verdict.acknowledged, 'ticket')} for {_count(result.capacity, 'seat')}"
        said += f" Buyers were promised {promised}: {result.verdict.oversold:,} too many."
    if result.verdict.lost:
        said += f" {_count(result.verdict.lost, 'order')} that had been confirmed to the buyer stand in no book."
    return said


def summary(results: list[Result]) -> str:
    """All cells in a breath: what went wrong without enough of a lock, what did not with one."""
    wrong = [each for each in results if each.rounds_wrong]
    exact = [each for each in results if not each.rounds_wrong and each.verdict.verdict == "valid"]
    said = []
    if wrong:
        which = (
            "Lock off" if all(each.experiment.service.guard == OFF for each in wrong) else "Where purchases overlapped"
        )
        sales, oversold = sum(each.rounds for each in wrong), sum(each.verdict.oversold for each in wrong)
        lost = sum(each.verdict.lost or 0 for each in wrong)
        said.append(
            f"{which}: {sum(each.rounds_wrong for each in wrong)} of {_count(sales, 'sale')} went wrong,"
            f" {_count(oversold, 'ticket')} too many"
            + (f" and {_count(lost, 'confirmed order')} lost." if lost else ".")
        )
    if exact:
        which = "Lock on" if all(each.experiment.service.guard != OFF for each in exact) else "Where they did not"
        said.append(
            f"{which}: {_count(sum(each.rounds for each in exact), 'sale')} to the last seat,"
            f" {_count(sum(each.verdict.acknowledged for each in exact), 'ticket')} for"
            f" {_count(sum(each.capacity for each in exact), 'seat')}, nothing lost."
        )
    return " ".join(said)


def heading(result: Result, beside: list[Result]) -> str:
    """What tells a cell from those beside it: the lock, and the think time where it differs."""
    service = result.experiment.service
    guards = {each.experiment.service.guard for each in beside}
    lock = f"guard {service.guard}" if len(guards) != 2 else "lock off" if service.guard == OFF else "lock on"
    thinks = {each.experiment.service.think_ms for each in beside}
    return lock if len(thinks) == 1 else f"{lock}, {service.think_ms:g} ms"


def by_luck(result: Result) -> bool:
    """Whether it came out right though nothing kept the purchases apart."""
    return result.expectation is Expectation.EITHER and result.verdict.verdict == "valid"


def kept_word(result: Result) -> str:
    """Whether the guard did what it promises, in a word or two."""
    if by_luck(result):
        return "exact by luck"
    return {Met.YES: "as promised", Met.NO: "promise broken", Met.UNDECIDED: "undecided"}[result.met]


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
