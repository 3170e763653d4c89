"""The table of ``lastseat explore --all``: for each store guard × scenario, and the schedules that lose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from loadtests.lab.compare.explorations import LOSES, NOT_OFFERED, STATES, Tried, worker_of
from loadtests.lab.report.markdown import table
from loadtests.lab.report.text import counted
from service.catalogue import STORES

BEGIN = "<!-- scenarios: written by `lastseat explore --all --write` -->"
END = "<!-- end of scenarios -->"


def markdown(found: Sequence[Tried], *, command: str, when: str, machine: str) -> str:
    """All tables, under the counts of what was tried and what was not."""
    stores = [store for store in STORES if any(each.store == store for each in found)]
    tables = [_store(store, [each for each in found if each.store == store]) for store in stores]
    return "\n\n".join([f"`{command}`, {when}. {machine}", counts(found), *tables])


def counts(found: Sequence[Tried]) -> str:
    """A sentence with the number of cells in each state."""
    states = Counter(each.state for each in found)
    said = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    wrong = sum(each.failed for each in found)
    return f"{counted(len(found), 'cell')}: {said}." + (f" **{wrong} of those that lose should not.**" if wrong else "")


def _store(store: str, found: Sequence[Tried]) -> str:
    scenarios = list(dict.fromkeys(each.scenario for each in found))
    words = {(each.guard, each.scenario): _words(each) for each in found}
    rows = (
        [f"`{guard}`", *(words.get((guard, scenario), "") for scenario in scenarios)]
        for guard in dict.fromkeys(each.guard for each in found)
    )
    lines = [f"### Store `{store}`, by scenario", "", *table(["guard", *scenarios], rows)]
    losing = [f"- `{each.guard}`, {each.scenario}: `{each.replay}`" for each in found if each.state == LOSES]
    if losing:
        again = f"lastseat explore --worker {worker_of(store)} --replay"
        lines += ["", f"Schedules that lose, to be seen again with `{again}`:", "", *losing]
    lines += _reasons(each for each in found if each.why and each.state != LOSES)
    return "\n".join(lines)


def _words(tried: Tried) -> str:
    match tried.state:
        case "loses":
            return "**loses, and should not**" if tried.failed else "**loses**"
        case "not offered":
            return tried.state
    return f"{tried.state} ({tried.schedules})" if tried.schedules else tried.state


def _reasons(found: Iterable[Tried]) -> list[str]:
    """A paragraph for each reason why something was not tried, with what it is the reason of."""
    by_reason: dict[tuple[str, str], list[Tried]] = {}
    for each in found:
        by_reason.setdefault((each.state, each.why), []).append(each)
    lines = []
    for (state, why), cells in by_reason.items():
        names = dict.fromkeys(
            each.scenario if state == NOT_OFFERED else f"`{each.guard}` {each.scenario}" for each in cells
        )
        lines += ["", f"{state.capitalize()}: {', '.join(names)}: {why}."]
    return lines
