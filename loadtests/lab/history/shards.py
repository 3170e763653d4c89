"""The parts of a history: one file for each locust process with users, put together at the end of a run.

What the processes of a run tell each other goes through files in the run's folder, which outlive a process that dies.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.history.arrivals import Arrived
from loadtests.lab.history.generator_load import Busy

HISTORY = "history.jsonl"


_SECOND = "-second"


def second_of(event: str) -> str:
    """The name of the event that is on sale beside another, for those who buy in both."""
    return event + _SECOND


def rounds_of(events: Iterable[str]) -> set[str]:
    """The rounds that events are of, each by the name of its first event."""
    return {event.removesuffix(_SECOND) for event in events}


class RunNotice(msgspec.Struct):
    """What every locust process must know of a run: which events are on sale, and where its folder is."""

    event: str
    folder: str
    round: int = 0
    """How many runs the folder holds already: process numbers go on where theirs ended."""
    users: int = 1
    """How many users there are in all processes, who share the rate of an open loop."""
    second: str | None = None
    """The other event, where the buyers have carts."""
    opens_at: float | None = None
    """When the doors open, in seconds of the Unix clock; None: they are open."""

    mark: str = ""
    """New in every run: what names are made of that a service must not have met before. Empty for an office."""
    values: dict[str, Any] = {}
    """What the set-up has taken from the answers of a service."""

    @property
    def events(self) -> list[str]:
        """All that are on sale."""
        return [self.event, self.second] if self.second else [self.event]

    @property
    def parts(self) -> Path:
        """Where the crews of this machine put their parts. The event's name is fresh, so this cannot be another's."""
        return Path(self.folder) / f"parts-{self.event}"


class PartNote(msgspec.Struct):
    """Left beside a part when it is whole."""

    operations: int
    busy: Busy
    arrived: list[Arrived] = []
    """Of the open loop: what became of each stream of arrivals."""
    notes: list[str] = []


def gather_parts(folder: Path, parts: Path, crews: list[int]) -> tuple[list[PartNote], list[str]]:
    """Append each crew's part to the history and remove them; the crews' notes, and what is missing.

    A part without its note is of a locust process that died: what it recorded counts, what it had under way is lost.
    """
    notes, missing = [], []
    with (folder / HISTORY).open("ab") as history:
        for crew in crews:
            part, note = parts / f"{crew}.jsonl", parts / f"{crew}.note"
            if part.exists():
                with part.open("rb") as lines:
                    shutil.copyfileobj(lines, history)
            if note.exists():
                notes.append(msgspec.json.decode(note.read_bytes(), type=PartNote))
            else:
                missing.append(f"locust process {crew} did not finish its part of the history")
    shutil.rmtree(parts, ignore_errors=True)
    return notes, missing
