"""The report of one run, ``report.html``: the verdict, the counterexample as a drawing, the figures. It opens offline.

All drawings are static SVG from aggregated columns: the page needs a script only for saving a drawing, and its size
does not grow with the history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtests.lab.checks.files import audit_files, history_file, judge_folder
from loadtests.lab.checks.findings import VIOLATIONS
from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.experiment.knobs import BUY, KNOBS
from loadtests.lab.experiment.measurement import courses, span_ns
from loadtests.lab.experiment.recovery import recoveries
from loadtests.lab.experiment.result import VERDICT, Conclusion, load_conclusion
from loadtests.lab.faults.happened import Happened
from loadtests.lab.faults.happened import read as read_faults
from loadtests.lab.history.audit import Audit, read_audit
from loadtests.lab.history.columns import HistoryError
from loadtests.lab.history.history import OUTCOMES
from loadtests.lab.history.operations import Operations, read_operations
from loadtests.lab.report import figures
from loadtests.lab.report.counterexample.drawing import Drawing, draw_all
from loadtests.lab.report.hall.recorded import RecordedSale
from loadtests.lab.report.pages import template
from loadtests.lab.report.plots import MOST_EVENTS, Band, course_plot, percentile_plot, rates_plot
from loadtests.lab.report.text import counted, headline, numbers, what_was_lost
from loadtests.lab.untrusted import read_json

COUNTEREXAMPLE = "counterexample.svg"
REPORT = "report.html"


def write_run_report(folder: Path) -> Path:
    """Write the ``report.html`` of a results folder from its files, and return its path.

    If the verdict is invalid, the first drawing is also written as ``counterexample.svg``.

    The history and the audits are read, and if they exist ``verdict.json`` (otherwise the history is judged) and
    ``experiment.json``. If the history cannot be read, the page says so. Raises FileNotFoundError without a history.
    """
    conclusion = _conclusion(folder)
    happened = read_faults(folder)
    try:
        run, trouble = read_operations(history_file(folder)), ""
    except HistoryError as error:
        run, trouble = None, str(error)
    drawings = [] if run is None else draw_counterexamples(folder, conclusion.verdict, run)
    if drawings:
        (folder / COUNTEREXAMPLE).write_text(drawings[0].svg, encoding="utf-8")
    page = template("run.html").render(
        verdict=conclusion.verdict,
        headline=headline(conclusion.verdict),
        lead=_lead(conclusion.verdict),
        numbers=numbers(conclusion.verdict),
        notes=[
            *conclusion.answered.lines,
            *conclusion.notes,
            *(f"{each.name}: {each.text}" for each in happened),
            *([trouble] if trouble else []),
        ],
        drawings=drawings,
        **({"halls": []} if run is None or not len(run) else _halls(folder, conclusion.verdict, run)),
        more=_violations(conclusion.verdict),
        figures=None if run is None or not len(run) else _figures(run, conclusion.verdict, happened),
        experiment=(experiment := _experiment(folder)),
        is_target=any(name == "target" for name, _ in experiment),
        files=[path.name for path in sorted(folder.iterdir()) if path.is_file() and path.name != REPORT],
    )
    path = folder / REPORT
    path.write_text(page, encoding="utf-8")
    return path


def draw_counterexamples(
    folder: Path, verdict: Verdict, run: Operations | None = None, name: str = "counterexample"
) -> list[Drawing]:
    """The drawings of a folder's verdict, the clearest first; none if nothing was found or nothing can be read."""
    if verdict.verdict != "invalid":
        return []
    try:
        run = run or read_operations(history_file(folder))
    except (HistoryError, FileNotFoundError):
        return []
    return draw_all(verdict, run, _audits(folder), name)


def _halls(folder: Path, verdict: Verdict, run: Operations) -> dict[str, Any]:
    """The hall of the first event that went wrong, or of the first of all, and which one it is; none without places."""
    sale = RecordedSale(folder, verdict, run)
    at, events = sale.first_wrong, sale.events
    hall = sale.drawing(at, "After the sale")
    which = f"Event {at + 1} of {len(events)}, {events[at]}. " if len(events) > 1 else ""
    return {"halls": [] if hall is None else [hall], "which_hall": which}


def _audits(folder: Path) -> dict[str, Audit]:
    """The readable audits, by event."""
    audits = {}
    for path in audit_files(folder):
        try:
            audit = read_audit(path)
        except HistoryError:
            continue
        audits[audit.event] = audit
    return audits


def _conclusion(folder: Path) -> Conclusion:
    if (folder / VERDICT).exists():
        return load_conclusion(folder)
    return Conclusion(verdict=judge_folder(folder), folder=folder)


def _lead(verdict: Verdict) -> str:
    """The verdict in a sentence for readers without prior knowledge."""
    seats = [counts.capacity for counts in verdict.events.values()]
    known = [capacity for capacity in seats if capacity is not None]
    seats_known = f" for {sum(known):,} seats" if known and len(known) == len(seats) else ""
    said = f"Buyers hold an answer for {verdict.acknowledged:,} tickets{seats_known}."
    if verdict.verdict == "valid":
        return f"{said} One honest clerk, who serves one buyer after another, could have answered like that."
    if verdict.verdict == "unknown":
        return f"{said} It is unknown whether one honest clerk could have answered like that: {verdict.why}."
    parts = []
    if verdict.oversold:
        parts.append(f"{verdict.oversold:,} too many")
    if verdict.lost:
        parts.append(f"the office has no record of {counted(verdict.lost, 'confirmed order')}")
    if verdict.double_booked:
        parts.append(f"{counted(verdict.double_booked, 'ticket number')} with two buyers")
    if verdict.seats_sold_twice:
        parts.append(f"{counted(verdict.seats_sold_twice, 'seat')} with two buyers")
    return said + (f" {'; '.join(parts).capitalize()}." if parts else " No honest clerk could have answered like that.")


def _violations(verdict: Verdict) -> list[tuple[str, int, str]]:
    """Every kind of violation found, with its count and its meaning."""
    counts: Counter[str] = Counter()
    for check in verdict.checks:
        counts.update(check.violations)
    return [
        (violation, count, f"{VIOLATIONS.get(violation, '')}{what_was_lost(verdict, violation, count)}")
        for violation, count in counts.items()
    ]


def _figures(run: Operations, verdict: Verdict, happened: Sequence[Happened]) -> dict[str, Any]:
    capacities = {event: counts.capacity for event, counts in verdict.events.items()}
    bands = _bands(run, happened)
    latencies, times = figures.latencies(run), figures.service_times(run)
    found = courses(run)
    return {
        "events": len(found),
        "most_events": MOST_EVENTS,
        "course": course_plot(found, capacities, bands, "course"),
        "rates": rates_plot(figures.rates(run), bands, "rates"),
        "latencies": latencies,
        "latency_plot": percentile_plot(latencies, "Latency by percentile", "latency") if latencies else "",
        "open_loop": bool((run.intended_ns >= 0).any()),
        "times": times,
        "times_plot": percentile_plot(times, "Wait, hold and store by percentile", "times") if times else "",
        "workers": figures.workers(run),
        "nodes": figures.nodes(run),
        "overtaking": figures.overtaking(run),
        "outcomes": list(figures.outcomes(run)),
        "kinds": [OUTCOMES[kind].replace("_", " ") for kind in figures.kinds(run)],
        "faults": bands,
        "recovery": recoveries(run, happened),
    }


def _bands(run: Operations, happened: Sequence[Happened]) -> list[Band]:
    """The faults that overlap with an event, in the time of that event."""
    found = []
    for _, rows in run.events():
        began, ended = span_ns(run, rows)
        found += [
            Band(each.name, (each.begin_ns - began) / 1e9, (each.end_ns - began) / 1e9)
            for each in happened
            if each.begin_ns <= ended and each.end_ns >= began
        ]
    return found


def _experiment(folder: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """``experiment.json`` as groups of names and values, for every kind of experiment."""
    content: dict[str, Any] = read_json(folder / "experiment.json", dict) or {}
    if isinstance(content.get("target"), dict):
        content = _of_a_stranger(content)
    plain = [(name, _value(value)) for name, value in content.items() if not isinstance(value, dict)]
    groups = [
        (name, [(field, _value(inner)) for field, inner in value.items() if inner not in (None, "", {})])
        for name, value in content.items()
        if isinstance(value, dict)
    ]
    return [*([("run", plain)] if plain else []), *groups]


def _of_a_stranger(content: dict[str, Any]) -> dict[str, Any]:
    """Without what is the office's: its service, and the settings of buyers whom a target file cannot describe."""
    others = {knob.field or knob.name for knob in KNOBS if knob.only and BUY not in knob.only}
    workload = {name: value for name, value in content.get("workload", {}).items() if name not in others}
    return {name: value for name, value in content.items() if name != "service"} | {"workload": workload}


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return "yes" if value is True else "no" if value is False else str(value)
