"""Verdicts and cells in words: for the terminal, for locust's page, for the reports."""

from __future__ import annotations

from loadtests.lab.checks.verdict import CheckResult, Verdict
from loadtests.lab.experiment.expectation import Expectation, Met
from loadtests.lab.experiment.result import Conclusion
from loadtests.lab.experiment.runner import Result
from loadtests.lab.paths import shown
from loadtests.lab.untrusted import printable
from service.catalogue import GUARDS, OFF

_MEANING = {
    "valid": "no violation found",
    "invalid": "the sale went wrong",
    "unknown": "undecided",
}


def counted(number: int, thing: str) -> str:
    """``1 ticket``, ``4,000 tickets``."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def thousands(number: float | None) -> str:
    """``4,000``, rounded to a whole number; a dash where there is no number."""
    return "–" if number is None else f"{number:,.0f}"


def headline(verdict: Verdict) -> str:
    """``valid: no violation found in 412 operations``. It never claims that anything was proved."""
    why = f": {verdict.why}" if verdict.why and verdict.verdict == "unknown" else ""
    return f"{verdict.verdict}: {_MEANING[verdict.verdict]} in {verdict.operations:,} operations{why}"


def numbers(verdict: Verdict) -> list[tuple[str, str]]:
    """The counts of a run over all its events, each with its name."""
    capacities = [counts.capacity for counts in verdict.events.values() if counts.capacity is not None]
    return [
        ("capacity", f"{sum(capacities):,}" if capacities else "unknown"),
        ("acknowledged", f"{verdict.acknowledged:,}"),
        ("oversold", f"{verdict.oversold:,}"),
        ("lost", "unknown" if verdict.lost is None else f"{verdict.lost:,}"),
        ("double-booked", f"{verdict.double_booked:,}"),
        *_of_seats(verdict),
    ]


def _of_seats(verdict: Verdict) -> list[tuple[str, str]]:
    """How many seats were sold, and sold twice, where the answers name seats."""
    if verdict.seats_sold is None:
        return []
    return [("seats sold", f"{verdict.seats_sold:,}"), ("seats sold twice", f"{verdict.seats_sold_twice:,}")]


def found(verdict: Verdict) -> list[str]:
    """A line for each check that is not valid: its name, its counts, and the first witness."""
    return [_finding(check, verdict) for check in verdict.checks if check.verdict != "valid"]


def what_was_lost(verdict: Verdict, violation: str, count: int) -> str:
    """Why the number of lost sales is not the number of lost orders, where it is not: `` (5 orders, and …)``.

    Every acknowledged change that the audit does not have is a *lost sale*; *lost* counts the orders among them.
    """
    others = 0 if violation != "lost sale" or verdict.lost is None else count - verdict.lost
    return f" ({counted(verdict.lost or 0, 'order')}, and {others:,} cancelled, held or released)" if others > 0 else ""


def _finding(check: CheckResult, verdict: Verdict) -> str:
    if check.verdict == "unknown":
        return f"{check.name}: undecided. {check.why}"
    kinds = ", ".join(
        f"{kind} {count:,}{what_was_lost(verdict, kind, count)}" for kind, count in check.violations.items()
    )
    first = f" First: {check.witness[0].text}" if check.witness else f" {check.why}"
    return f"{check.name}: {kinds or f'{check.count:,} found'}.{first}".rstrip()


def conclusion_text(conclusion: Conclusion) -> str:
    """The text that is printed at the end of a run."""
    verdict = conclusion.verdict
    lines = [
        "",
        f"  {headline(verdict)}",
        "  " + " · ".join(f"{name} {value}" for name, value in numbers(verdict)),
        *(f"  - {line}" for line in [*conclusion.answered.lines, *found(verdict)]),
        *(f"  ! {note}" for note in conclusion.notes),
        f"  results: {shown(conclusion.folder)}",
        "",
    ]
    return "\n".join(map(printable, lines))


def sentence(result: Result) -> str:
    """The result of a cell for somebody who has never heard of a race: tickets, seats, and what buyers lost."""
    service, verdict = result.experiment.service, result.verdict
    known = GUARDS.get(service.guard)
    which = f"{service.spelled} {(known and known.words) or f'with the guard {service.guard}'}"
    rounds = counted(result.rounds, "round")
    sold = f"{counted(verdict.acknowledged, 'ticket')} for {counted(result.capacity, 'seat')}"
    if not result.rounds_wrong and verdict.verdict == "valid":
        right = "None was sold twice, and no order was lost, not by kill -9 either."
        return f"{which}: {sold} in {rounds}, to the last seat. {right}"
    if not result.rounds_wrong:
        return f"{which}: {headline(verdict)}."
    said = f"{which}: {result.rounds_wrong} of {rounds} went wrong."
    if verdict.oversold:
        said += f" Buyers were promised {sold}: {verdict.oversold:,} too many."
    if verdict.seats_sold_twice:
        said += f" {counted(verdict.seats_sold_twice, 'seat')} had two buyers at once."
    if verdict.lost:
        said += f" The office has no record of {counted(verdict.lost, 'order')} that it had confirmed to buyers."
    return said


def summary(results: list[Result]) -> str:
    """All cells in two sentences: the sales that went wrong, and those that did not."""
    wrong = [each for each in results if each.rounds_wrong]
    exact = [each for each in results if not each.rounds_wrong and each.verdict.verdict == "valid"]
    said = []
    if wrong:
        is_off = all(each.experiment.service.guard == OFF for each in wrong)
        failed, sales = sum(each.rounds_wrong for each in wrong), counted(sum(each.rounds for each in wrong), "sale")
        oversold = counted(sum(each.verdict.oversold for each in wrong), "ticket")
        lost = sum(each.verdict.lost or 0 for each in wrong)
        and_lost = f" and {counted(lost, 'confirmed order')} lost" if lost else ""
        where = "Lock off" if is_off else "Where purchases overlapped"
        said.append(f"{where}: {failed} of {sales} went wrong, {oversold} too many{and_lost}.")
    if exact:
        is_on = all(each.experiment.service.guard != OFF for each in exact)
        sales = counted(sum(each.rounds for each in exact), "sale")
        tickets = counted(sum(each.verdict.acknowledged for each in exact), "ticket")
        seats = counted(sum(each.capacity for each in exact), "seat")
        where = "Lock on" if is_on else "Where they did not"
        said.append(f"{where}: {sales} to the last seat, {tickets} for {seats}, nothing lost.")
    return " ".join(said)


def heading(result: Result, beside: list[Result]) -> str:
    """The difference between a cell and those beside it: the lock, and the think time if it differs."""
    service = result.experiment.service
    guards = {each.experiment.service.guard for each in beside}
    lock = f"guard {service.guard}" if len(guards) != 2 else "lock off" if service.guard == OFF else "lock on"
    thinks = {each.experiment.service.think_ms for each in beside}
    return lock if len(thinks) == 1 else f"{lock}, {service.think_ms:g} ms"


def by_luck(result: Result) -> bool:
    """Was the result right although nothing kept the purchases apart?"""
    return result.expectation is Expectation.EITHER and result.verdict.verdict == "valid"


def met_word(result: Result) -> str:
    """A word or two: did the guard do what it promises?"""
    if by_luck(result):
        return "exact by luck"
    return {Met.YES: "as promised", Met.NO: "promise broken", Met.UNDECIDED: "undecided"}[result.met]
