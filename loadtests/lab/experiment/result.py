"""The end of a run: the audit is fetched, the verdict is drawn and kept."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.checks.files import judge_folder
from loadtests.lab.checks.verdict import EXIT_STATUS, Verdict
from loadtests.lab.experiment.answered import AnswerCounts, answered
from loadtests.lab.history.arrivals import ArrivalStats, arrival_messages
from loadtests.lab.history.columns import HistoryError
from loadtests.lab.history.generator_load import GeneratorLoad, bottleneck_message
from loadtests.lab.history.operations import read_operations
from loadtests.lab.history.shards import HISTORY, ShardNote
from loadtests.lab.paths import write_json
from loadtests.lab.protocol.admin_api import OfficeError, Offices
from loadtests.lab.target.server import TargetOffice
from loadtests.lab.untrusted import read_file, read_json

VERDICT = "verdict.json"
_WHICH_COUNTER = (
    "no ticket was sold twice; what was read does not fit the sales. Look at the target file first: `remaining` must "
    "be what can still be bought, less by what a purchase sets aside in its first step; in the answer to a purchase it "
    "must be what that purchase itself left"
)


class Conclusion(msgspec.Struct, kw_only=True):
    """A verdict and what to say beside it."""

    verdict: Verdict
    folder: Path
    loads: list[GeneratorLoad] = msgspec.field(default_factory=list, name="load")
    arrivals: list[ArrivalStats] = []
    remarks: list[str] = []
    incomplete: list[str] = []
    """What is missing in the history: then it is never judged valid or invalid."""
    unaudited: list[str] = []
    """Why audits could not be had that should be there."""
    answered: AnswerCounts = AnswerCounts()

    @property
    def exit_status(self) -> int:
        return EXIT_STATUS[self.verdict.verdict]

    @property
    def notes(self) -> list[str]:
        """Everything to say beside the verdict, each once."""
        slow = bottleneck_message(self.loads)
        said = [*self.incomplete, *self.unaudited, *self.remarks, *([slow] if slow else [])]
        return list(dict.fromkeys(said + arrival_messages(self.arrivals)))

    def save(self) -> None:
        """Write ``verdict.json``: the verdict's fields, its sums, and the notes."""
        content: dict[str, Any] = msgspec.to_builtins(self.verdict)
        for name in ("acknowledged", "oversold", "lost", "double_booked", "seats_sold", "seats_sold_twice"):
            content[name] = getattr(self.verdict, name)
        content |= {"load": self.loads, "arrivals": self.arrivals, "notes": self.notes, "remarks": self.remarks}
        content |= {"incomplete": self.incomplete, "unaudited": self.unaudited, "answered": self.answered}
        write_json(self.folder / VERDICT, content)


def load_conclusion(folder: Path) -> Conclusion:
    """Read what ``save`` wrote. Raises ``FileNotFoundError`` where no verdict was drawn."""
    content = msgspec.json.decode(read_file(folder / VERDICT))
    verdict = msgspec.convert(content, type=Verdict)
    return msgspec.convert({**content, "verdict": verdict, "folder": folder}, type=Conclusion)


def fetch_audit(folder: Path, office: Offices | TargetOffice, event: str, *, alone: bool) -> str | None:
    """Keep the event's audit in the folder, if the service has audits; returns why it could not be had."""
    if not office.has_audit:
        return None
    try:
        audit = office.audit(event)
    except OfficeError as error:
        return f"the audit could not be read: {error}"
    (folder / ("audit.jsonl" if alone else f"audit-{event}.jsonl")).write_bytes(audit)
    return None


def fetch_orders(folder: Path, office: Offices | TargetOffice, event: str) -> str | None:
    """Keep the event's list of orders in the folder, of a target that has one; the reason where it could not be had."""
    if not isinstance(office, TargetOffice):
        return None
    try:
        listed = office.orders(event)
    except OfficeError as error:
        return f"the list of orders could not be read: {error}"
    if listed is not None:
        (folder / f"orders-{event}.json").write_bytes(msgspec.json.encode(listed))
    return None


def conclude(folder: Path, shards: list[ShardNote], incomplete: list[str], unaudited: list[str]) -> Conclusion:
    """Judge what the folder holds, and save the verdict; what earlier rounds had to say is kept.

    An incomplete history is never judged valid or invalid: an operation that is missing looks like the service's lie.
    Where a service has an audit and it could not be had, nothing is valid: whether orders are lost is not known.
    """
    verdict = judge_folder(folder)
    conclusion = Conclusion(verdict=verdict, folder=folder)
    with contextlib.suppress(FileNotFoundError):
        conclusion = load_conclusion(folder)
        conclusion.verdict = verdict
    for shard in shards:
        conclusion.loads.append(shard.load)
        conclusion.arrivals += shard.arrivals
        conclusion.remarks += shard.notes
    conclusion.incomplete += incomplete
    conclusion.unaudited += unaudited
    if verdict.operations == 0:
        verdict.verdict, verdict.why = "unknown", "nothing was recorded: not one operation reached the service"
    elif conclusion.incomplete:
        verdict.verdict, verdict.why = "unknown", "the history is not whole: " + "; ".join(conclusion.incomplete)
    elif conclusion.unaudited and verdict.verdict == "valid":
        verdict.verdict, verdict.why = "unknown", "an audit is missing, so orders may be lost"
    if verdict.operations:
        _say_what_was_answered(conclusion)
    conclusion.save()
    return conclusion


def _say_what_was_answered(conclusion: Conclusion) -> None:
    """Nothing is valid where most answers were not understood, or where a sale ended before its last ticket."""
    verdict = conclusion.verdict
    capacities = {event: counts.capacity for event, counts in verdict.events.items()}
    acknowledged = {event: counts.acknowledged for event, counts in verdict.events.items()}
    try:
        run = read_operations(conclusion.folder / HISTORY)
    except HistoryError:
        return  # the verdict says so already
    conclusion.answered = answered(run, capacities, acknowledged)
    record = read_json(conclusion.folder / "experiment.json", _Record) or _Record()
    if record.target is not None and _only_reads_contradict(verdict):
        conclusion.remarks.append(_WHICH_COUNTER)
    nothing, short = conclusion.answered.says_nothing, conclusion.answered.short
    if nothing and verdict.verdict != "invalid":
        verdict.verdict, verdict.why = "unknown", f"{nothing}; {verdict.why}"
    elif short and verdict.verdict == "valid" and record.target is not None and not record.workload.rate:
        (event, (sold, capacity)), *_ = short.items()
        verdict.verdict = "unknown"
        verdict.why = (
            f"the sale of {event} was to end with its last ticket, and ended at {sold:,} of {capacity:,}: give it more "
            "time (--limit) or fewer tickets (`capacity`)"
        )


def _only_reads_contradict(verdict: Verdict) -> bool:
    """Whether no ticket was sold twice or lost, and what was read does not fit the sales."""
    wrong = {check.name for check in verdict.checks if check.verdict == "invalid"}
    sold_right = not any(counts.is_wrong for counts in verdict.events.values())
    return bool(wrong) and sold_right and wrong <= {"counters", "bounds", "observers", "real time", "placement"}


class _Load(msgspec.Struct):
    rate: float = 0.0


class _Record(msgspec.Struct):
    """As much of an ``experiment.json`` as is needed here."""

    target: dict[str, Any] | None = None
    workload: _Load = msgspec.field(default_factory=_Load)
