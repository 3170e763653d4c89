"""Guard × anomaly, a table for each store, as Markdown: seen, where, and the schedule that shows it again."""

from __future__ import annotations

from collections.abc import Sequence

from loadtests.lab.checks.anomalies import ANOMALIES
from loadtests.lab.compare.evidence import Evidence
from loadtests.lab.report.text import counted

BEGIN = "<!-- anomalies: written by `lastseat compare --anomalies --write` -->"
END = "<!-- end of anomalies -->"


def markdown(found: Sequence[Evidence], *, command: str, when: str, machine: str) -> str:
    """The whole section."""
    stores = dict.fromkeys(each.store for each in found)
    tables = [_store(store, [each for each in found if each.store == store]) for store in stores]
    return "\n\n".join([f"`{command}`, {when}. {machine}", *tables])


def _store(store: str, found: Sequence[Evidence]) -> str:
    lines = [
        f"### Store `{store}`",
        "",
        "| guard | " + " | ".join(ANOMALIES) + " |",
        "|---|" + "---|" * len(ANOMALIES),
        *(f"| `{each.guard}` | " + " | ".join(_cell(each, name) for name in ANOMALIES) + " |" for each in found),
    ]
    again = _schedules(found)
    if again:
        lines += ["", "The schedules, to be seen again with `lastseat explore --replay`:", "", *again]
    lines += [line for each in found if each.trouble for line in ("", f"`{each.guard}`: not all tried: {each.trouble}")]
    return "\n".join(lines)


def _cell(evidence: Evidence, anomaly: str) -> str:
    seen = []
    if schedules := evidence.seen_by_explorer(anomaly):
        seen.append(f"{schedules} of {counted(evidence.schedules, 'schedule')}")
    if sales := evidence.seen_in.get(anomaly, 0):
        seen.append(f"{sales} of {counted(evidence.sales, 'sale')}")
    if seen:
        return f"**seen** ({', '.join(seen)})"
    tried = [counted(number, thing) for number, thing in _tried(evidence) if number]
    return f"no violation found ({', '.join(tried)})" if tried else "not tried"


def _tried(evidence: Evidence) -> list[tuple[int, str]]:
    return [(evidence.schedules, "schedule"), (evidence.sales, "sale")]


def _schedules(found: Sequence[Evidence]) -> list[str]:
    """A line for each schedule, with all that it shows."""
    lines = []
    for each in found:
        shows: dict[str, list[str]] = {}
        for anomaly in ANOMALIES:
            for replay in each.replays(anomaly):
                shows.setdefault(replay, []).append(anomaly)
        lines += [f"- `{each.guard}`: {', '.join(names)}: `{replay}`" for replay, names in shows.items()]
    return lines
