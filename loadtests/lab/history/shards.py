"""The shards of a history: one file for each locust process with users, put together at the end of a run.

The processes of a run exchange files in the run's folder, which outlive a process that dies.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.history.arrivals import ArrivalStats
from loadtests.lab.history.generator_load import GeneratorLoad

HISTORY = "history.jsonl"
_SECOND = "-second"


def second_of(event: str) -> str:
    """The name of the second event on sale, for buyers who buy in both."""
    return event + _SECOND


def rounds_of(events: Iterable[str]) -> set[str]:
    """The rounds of some events, each by the name of its first event."""
    return {event.removesuffix(_SECOND) for event in events}


class RunNotice(msgspec.Struct):
    """What every locust process must know of a run: the events on sale, and its folder."""

    event: str
    folder: str
    round: int = 0
    """How many runs the folder holds already: process numbers continue after theirs."""
    users: int = 1
    """The number of users in all processes, who share the rate of an open loop."""
    second: str | None = None
    """The other event, where the buyers have carts."""
    opens_at: float | None = None
    """When the doors open, in seconds of the Unix clock; None: they are open."""

    mark: str = ""
    """New in every run: what names are made of that a service must not have met before. Empty for an office."""
    hall: Any = None
    """The hall of the events in its canonical form, where they have one."""
    values: dict[str, Any] = {}
    """What the set-up has taken from the answers of a service."""

    @property
    def events(self) -> list[str]:
        return [self.event, self.second] if self.second else [self.event]

    @property
    def shards(self) -> Path:
        """Where this machine's locust processes put their shards. No other run has it: the event's name is fresh."""
        return Path(self.folder) / f"parts-{self.event}"


class ShardNote(msgspec.Struct):
    """Left beside a shard when it is whole."""

    operations: int
    load: GeneratorLoad
    arrivals: list[ArrivalStats] = []
    """How each stream of arrivals of the open loop was kept."""
    notes: list[str] = []


def gather_shards(folder: Path, shards: Path, numbers: list[int]) -> tuple[list[ShardNote], list[str]]:
    """Append the shards with these numbers to the history and remove them; their notes, and what is missing.

    A shard without its note is of a locust process that died: what it recorded counts, what it had under way is lost.
    """
    notes, missing = [], []
    with (folder / HISTORY).open("ab") as history:
        for number in numbers:
            shard, note = shards / f"{number}.jsonl", shards / f"{number}.note"
            if shard.exists():
                with shard.open("rb") as lines:
                    shutil.copyfileobj(lines, history)
            if note.exists():
                notes.append(msgspec.json.decode(note.read_bytes(), type=ShardNote))
            else:
                missing.append(f"locust process {number} did not finish its part of the history")
    shutil.rmtree(shards, ignore_errors=True)
    return notes, missing
