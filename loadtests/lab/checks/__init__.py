"""Judges a history: what each check does, and how they compose.

Every event is judged by itself, with its own audit and its own capacity: a history is linearizable exactly if the
part of each event is. Each event is *prepared* (``case``: attempts become mutations), its operations are *placed*
in the order of mutations by the strongest means that it allows (``tiers``), and then every check of ``CHECKS`` looks
at it. A new check is one file with a function ``check(case, placement) -> Findings``, and one line here. The checks of
``ACROSS`` look at what only all events together can show: ``check(history, audits) -> Findings``.

The worst verdict wins: invalid over unknown over valid. A check that crashes is unknown, and says so. *Valid*
means that no violation was found in this history, never that the service was proved correct.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from loadtests.lab.checks import (
    answers,
    attempts,
    audit_laws,
    bounds,
    carts,
    hold_times,
    observers,
    orders,
    overlap,
    replay,
)
from loadtests.lab.checks.case import Case, prepare
from loadtests.lab.checks.findings import VIOLATIONS, Findings
from loadtests.lab.checks.ordering import counters, real_time, tiers
from loadtests.lab.checks.ordering.placement import Placement
from loadtests.lab.checks.seats import answers as seat_answers
from loadtests.lab.checks.seats import best, records, refusals, unplaced
from loadtests.lab.checks.verdict import (
    EXIT_STATUS,
    CheckResult,
    EventCounts,
    Outcome,
    Verdict,
    Witness,
    WitnessOperation,
    worst,
)
from loadtests.lab.history.audit import Audit, read_audit
from loadtests.lab.history.columns import Count
from loadtests.lab.history.history import History, HistoryError, read_history
from loadtests.lab.protocol.halls import Hall, HallError
from loadtests.lab.untrusted import read_json

__all__ = [
    "ACROSS",
    "CHECKS",
    "EXIT_STATUS",
    "VIOLATIONS",
    "CheckResult",
    "EventCounts",
    "Verdict",
    "Witness",
    "WitnessOperation",
    "audit_files",
    "capacity_of",
    "history_file",
    "judge",
    "judge_files",
    "judge_folder",
]

Check = Callable[[Case, Placement], Findings]

CHECKS: dict[str, Check] = {
    "answers": answers.check,
    "attempts": attempts.check,
    "audit": audit_laws.check,
    "placement": tiers.check,
    "replay": replay.check,
    "observers": observers.check,
    "real time": real_time.check,
    "counters": counters.check,
    "bounds": bounds.check,
    "seats": seat_answers.check,
    "seats in records": records.check,
    "seats refused": refusals.check,
    "seats free": best.check,
    "seats in time": unplaced.check,
    "hold times": hold_times.check,
    "overlap": overlap.check,
}

ACROSS: dict[str, Callable[[History, Mapping[str, Audit]], Findings]] = {
    "carts": carts.check,
}
"""Checks that look at all events together."""


class _Sale(msgspec.Struct, frozen=True):
    capacity: Count | None = None


class _Experiment(msgspec.Struct):
    """The part of an ``experiment.json`` that a judgement needs."""

    workload: _Sale = _Sale()
    options: _Sale = _Sale()


TIERS = ("A", "B", "C", "bounds")

_SHOWN = 2
"""How many witnesses and reasons of each kind a result shows; the counts are of all."""


def judge(
    history: History,
    audits: dict[str, Audit],
    *,
    capacity: int | None = None,
    order_lists: Mapping[str, orders.OrderList] | None = None,
) -> Verdict:
    """Judge every event of a history.

    ``audits`` and ``order_lists`` are by event. ``capacity`` is that of the events as they were created; without it,
    the audits'.
    """
    return _judge(history, audits, order_lists or {}, capacity, [], began=time.perf_counter())


def judge_folder(folder: Path, *, capacity: int | None = None, resolution_ns: int = 0) -> Verdict:
    """Judge a results folder: ``history.jsonl``, and ``audit-<event>.jsonl`` or ``audit.jsonl``, plain or ``.gz``; and
    ``orders-<event>.json``.

    Without ``capacity``, what the folder's ``experiment.json`` says, else the audits.
    Raises FileNotFoundError where there is no history. What cannot be read makes the verdict unknown.
    """
    history, audits = history_file(folder), audit_files(folder)
    lists = sorted(folder.glob("orders-*.json"))
    capacity = capacity_of(folder) if capacity is None else capacity
    return judge_files(history, audits, lists, capacity=capacity, resolution_ns=resolution_ns)


def history_file(folder: Path) -> Path:
    """The history of a results folder. Raises FileNotFoundError if there is none."""
    for name in ("history.jsonl", "history.jsonl.gz"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"there is no file history.jsonl in {folder}")


def audit_files(folder: Path) -> list[Path]:
    """The audits of a results folder, one for each event."""
    return [path for end in ("", ".gz") for path in sorted(folder.glob(f"audit*.jsonl{end}"))]


def capacity_of(folder: Path) -> int | None:
    """The capacity of a results folder's events by its ``experiment.json``; None where it is not there."""
    experiment = read_json(folder / "experiment.json", _Experiment) or _Experiment()
    return next((each.capacity for each in (experiment.workload, experiment.options) if each.capacity), None)


def judge_files(
    history: Path,
    audits: list[Path],
    order_lists: Sequence[Path] = (),
    *,
    capacity: int | None = None,
    resolution_ns: int = 0,
) -> Verdict:
    """Judge a history, its audits and its lists of orders.

    What cannot be read makes the verdict unknown; the reason names its line. ``resolution_ns`` is what the clocks could
    not tell, of the operations that do not say it themselves.
    """
    began = time.perf_counter()
    problems: list[str] = []
    by_event: dict[str, Audit] = {}
    for path in audits:
        try:
            audit = read_audit(path)
        except HistoryError as error:
            problems.append(str(error))
            continue
        named = path.name.removesuffix(".gz").removesuffix(".jsonl").partition("audit-")[2]
        if named and named != audit.event:
            problems.append(f"{path.name} is by its header the audit of the event {audit.event}")
        elif audit.event in by_event:
            problems.append(f"{path.name} is a second audit of the event {audit.event}")
        else:
            by_event[audit.event] = audit
    lists: dict[str, orders.OrderList] = {}
    try:
        lists = orders.read_order_lists(order_lists)
    except HistoryError as error:
        problems.append(str(error))
    try:
        operations = read_history(history, resolution_ns=resolution_ns)
    except HistoryError as error:
        results = [_input([str(error), *problems])]
        return Verdict("unknown", "none", 0, time.perf_counter() - began, results, _why(results, set()))
    return _judge(operations, by_event, lists, capacity, problems, began=began)


def _judge(
    history: History,
    audits: dict[str, Audit],
    lists: Mapping[str, orders.OrderList],
    capacity: int | None,
    problems: list[str],
    *,
    began: float,
) -> Verdict:
    problems = problems + _unusable(history, audits)
    halls = _halls(audits, problems)
    found: dict[str, dict[str, Findings]] = {name: {} for name in CHECKS}
    events: dict[str, EventCounts] = {}
    tiers_met: dict[str, str] = {}
    for number, event in enumerate(history.events):
        audit = audits.get(event)
        if audit is not None and audit.event != event:
            audit = None  # it belongs to another event; ``_unusable`` says so
        try:
            case = prepare(history, number, audit, capacity, None if audit is None else halls.get(event))
            placement = tiers.place(case)
            events[event] = answers.counts(case, placement.tier)
            if audit is None and event in lists and not lists[event].missing:
                events[event].lost = len(orders.lost_orders(history, number, lists[event]))
        except Exception as error:
            problems.append(f"event {event}: preparing it crashed: {error!r}")
            continue
        tiers_met[placement.tier] = placement.weaker_because
        for name, check in CHECKS.items():
            found[name][event] = _guarded(partial(check, case, placement))
    found |= {name: {"": _guarded(partial(check, history, audits))} for name, check in ACROSS.items()}
    found["orders"] = {"": _guarded(partial(orders.check, history, lists))}
    results = [_input(problems)] if problems else []
    results += [
        _result(name, findings) for name, findings in found.items() if any(f.applies for f in findings.values())
    ]
    notes = {note for findings in found.values() for finding in findings.values() for note in finding.notes}
    tier = max(tiers_met, key=TIERS.index, default="none")
    if tiers_met.get(tier):
        notes.add(f"tier {tier}: {tiers_met[tier]}")
    seconds = time.perf_counter() - began
    return Verdict(_worst(results), tier, len(history), seconds, results, _why(results, notes), events)


def _unusable(history: History, audits: dict[str, Audit]) -> list[str]:
    problems = []
    if not len(history):
        problems.append("the history is empty: nothing was tested")
    for event, audit in audits.items():
        if audit.event != event:
            problems.append(f"the audit given for the event {event} is by its header of the event {audit.event}")
        elif event not in history.events and len(audit):
            problems.append(f"there is an audit of the event {event}, and no operation of it in the history")
    return problems


def _halls(audits: Mapping[str, Audit], problems: list[str]) -> dict[str, Hall]:
    """The halls that the audits' headers show, by event; one that is none becomes a problem."""
    halls = {}
    for event, audit in audits.items():
        if audit.hall is not None:
            try:
                halls[event] = Hall.of(audit.hall)
            except HallError as error:
                problems.append(f"the hall in the audit of the event {event}: {error}")
    return halls


def _guarded(check: Callable[[], Findings]) -> Findings:
    try:
        return check()
    except Exception as error:
        return Findings(undecided=[f"the check crashed: {error!r}"])


def _result(name: str, found: dict[str, Findings]) -> CheckResult:
    """One check over all events. That nothing overlapped counts only if it is so in every event."""
    violations: dict[str, int] = {}
    witnesses: list[Witness] = []
    reasons: list[str] = []
    for event, findings in found.items():
        where = f"event {event}: " if len(found) > 1 else ""
        for violation, count in findings.counts.items():
            violations[violation] = violations.get(violation, 0) + count
        shown = Counter(witness.violation for witness in witnesses)
        witnesses += [witness for witness in findings.witnesses if shown[witness.violation] < _SHOWN]
        reasons += [where + reason for reason in findings.undecided]
    if name == "overlap" and len(reasons) < len(found):
        reasons = []
    verdict: Outcome = "invalid" if violations else "unknown" if reasons else "valid"
    if len(reasons) > _SHOWN:
        reasons = [*reasons[:_SHOWN], f"and {len(reasons) - _SHOWN} more like these"]
    why = [f"{violation}: {count}" for violation, count in violations.items()] + reasons
    return CheckResult(name, verdict, sum(violations.values()), witnesses, "; ".join(why), violations)


def _input(problems: list[str]) -> CheckResult:
    return CheckResult("input", "unknown", why="; ".join(problems))


def _worst(results: list[CheckResult]) -> Outcome:
    return worst(result.verdict for result in results)


def _why(results: list[CheckResult], notes: set[str]) -> str:
    verdict = _worst(results)
    why = [result.why for result in results if result.verdict == verdict and result.why]
    return "; ".join((["no violation was found"] if verdict == "valid" else why) + sorted(notes))
