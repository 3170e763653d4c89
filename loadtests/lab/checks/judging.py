"""Judges a history by all checks: places its operations, asks each check, and lets the worst verdict win."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from loadtests.lab.checks import ACROSS, CHECKS, answers, orders
from loadtests.lab.checks.case import prepare
from loadtests.lab.checks.findings import Findings
from loadtests.lab.checks.ordering import tiers
from loadtests.lab.checks.verdict import CheckResult, EventCounts, Validity, Verdict, Witness, worst
from loadtests.lab.history.audit import Audit
from loadtests.lab.history.history import History
from loadtests.lab.protocol.halls import Hall, HallError

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
    return judge_with(history, audits, order_lists or {}, capacity, [], began=time.perf_counter())


def judge_with(
    history: History,
    audits: dict[str, Audit],
    lists: Mapping[str, orders.OrderList],
    capacity: int | None,
    problems: list[str],
    *,
    began: float,
) -> Verdict:
    """The same, where ``problems`` were met while the files were read, from ``began`` on: they make it unknown."""
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
    found |= {name: {"": _guarded(partial(check, history, audits, lists))} for name, check in ACROSS.items()}
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


def judged_unreadable(problems: list[str], *, began: float) -> Verdict:
    """The verdict on a history that cannot be read."""
    results = [_input(problems)]
    return Verdict("unknown", "none", 0, time.perf_counter() - began, results, _why(results, set()))


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
    verdict: Validity = "invalid" if violations else "unknown" if reasons else "valid"
    if len(reasons) > _SHOWN:
        reasons = [*reasons[:_SHOWN], f"and {len(reasons) - _SHOWN} more like these"]
    why = [f"{violation}: {count}" for violation, count in violations.items()] + reasons
    return CheckResult(name, verdict, sum(violations.values()), witnesses, "; ".join(why), violations)


def _input(problems: list[str]) -> CheckResult:
    return CheckResult("input", "unknown", why="; ".join(problems))


def _worst(results: list[CheckResult]) -> Validity:
    return worst(result.verdict for result in results)


def _why(results: list[CheckResult], notes: set[str]) -> str:
    verdict = _worst(results)
    why = [result.why for result in results if result.verdict == verdict and result.why]
    return "; ".join((["no violation was found"] if verdict == "valid" else why) + sorted(notes))
