"""Judges the files of a run: finds them in a results folder and reads them; what cannot be read makes it unknown."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtests.lab.checks import orders
from loadtests.lab.checks.judging import judge_with, judged_unreadable
from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.history.audit import Audit, read_audit
from loadtests.lab.history.columns import Count
from loadtests.lab.history.history import HistoryError, read_history
from loadtests.lab.untrusted import read_json


class _Sale(msgspec.Struct, frozen=True):
    capacity: Count | None = None


class _Experiment(msgspec.Struct):
    """The part of an ``experiment.json`` that a judgement needs."""

    workload: _Sale = _Sale()
    options: _Sale = _Sale()


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
        return judged_unreadable([str(error), *problems], began=began)
    return judge_with(operations, by_event, lists, capacity, problems, began=began)
