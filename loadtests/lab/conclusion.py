"""The end of a run: the parts become one history, the audit is fetched, the verdict is drawn and kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.busy import Busy, bottleneck_message
from loadtests.lab.checks import EXIT_STATUS, Verdict, judge_folder
from loadtests.lab.office import Office, OfficeError

VERDICT = "verdict.json"


class Conclusion(msgspec.Struct, kw_only=True):
    """A verdict, and what must be said beside it."""

    verdict: Verdict
    folder: Path
    loads: list[Busy] = []
    notes: list[str] = []

    @property
    def exit_status(self) -> int:
        return EXIT_STATUS[self.verdict.verdict]

    def save(self) -> None:
        """Write ``verdict.json``: the verdict's fields, its sums, and the notes."""
        content: dict[str, Any] = msgspec.to_builtins(self.verdict)
        for name in ("acknowledged", "oversold", "lost", "double_booked"):
            content[name] = getattr(self.verdict, name)
        content |= {"load": msgspec.to_builtins(self.loads), "notes": self.notes}
        (self.folder / VERDICT).write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def load_conclusion(folder: Path) -> Conclusion:
    """What ``save`` wrote. Raises ``FileNotFoundError`` where no run was concluded."""
    content = msgspec.json.decode((folder / VERDICT).read_bytes())
    return Conclusion(
        verdict=msgspec.convert(content, type=Verdict),
        folder=folder,
        loads=msgspec.convert(content.get("load", []), type=list[Busy]),
        notes=content.get("notes", []),
    )


def fetch_audit(folder: Path, office: Office, event: str, *, alone: bool) -> str | None:
    """Keep the event's audit in the folder; the reason where there is none."""
    try:
        audit = office.audit(event)
    except OfficeError as error:
        return f"the audit could not be read: {error}"
    (folder / ("audit.jsonl" if alone else f"audit-{event}.jsonl")).write_bytes(audit)
    return None


def conclude(folder: Path, loads: list[Busy], incomplete: list[str], notes: list[str]) -> Conclusion:
    """Judge what the folder holds, and save the verdict.

    An incomplete history is never judged valid or invalid: an operation that is missing looks like the service's lie.
    """
    verdict = judge_folder(folder)
    if verdict.operations == 0:
        verdict.verdict, verdict.why = "unknown", "nothing was recorded: not one operation reached the service"
    elif incomplete:
        verdict.verdict, verdict.why = "unknown", "the history is not whole: " + "; ".join(incomplete)
    slow = bottleneck_message(loads)
    conclusion = Conclusion(
        verdict=verdict, folder=folder, loads=loads, notes=[*incomplete, *notes, *([slow] if slow else [])]
    )
    conclusion.save()
    return conclusion
