"""The watermark: what this process has seen of an engine. An engine that shows less has lost acknowledged sales.

That happens when a replica that was behind takes over, when a backup is restored under a running service, or when an
engine comes back empty. Selling on would sell seats twice, so whoever notices refuses.

What is compared never falls, whatever the guard does: the epoch, the generation, and how many records an event has. An
event's version may fall: without a guard two sales overwrite each other's counters.

Guarantees: a process that has seen a record refuses an engine that lacks it or one after it. Does not guarantee: that a
process that has just been started notices anything; it has seen nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from service.errors import Problem
from service.runtime.epoch import Mode


class Seen(NamedTuple):
    """What had been seen of an event before a reading began."""

    epoch: int
    generation: int
    identity: object = None
    """Of the event's creation: one that was deleted and made again is another one."""
    records: int = 0


class Watermark:
    """One per store. Threads and greenlets share it: where one of them overwrites a mark with a lower one, that makes
    it less watchful and never wrong.
    """

    def __init__(self) -> None:
        self._epoch = 0
        self._generation = 0
        self._events: dict[str, tuple[int, object, int]] = {}

    def before(self, event: str) -> Seen:
        """To be called before an event is read; what others see meanwhile must not be held against that reading."""
        generation, identity, records = self._events.get(event, (-1, None, 0))
        # An older generation's event may have been deleted since.
        return (
            Seen(self._epoch, self._generation, identity, records)
            if generation == self._generation
            else Seen(self._epoch, self._generation)
        )

    def compare(self, event: str, before: Seen, mode: Mode, identity: object, records: int) -> None:
        """Compare what was read with what had been seen before; ``identity`` is None where there is no such event.

        Errors: ``engine_went_back`` (definite).
        """
        self.compare_mode(mode, before)
        same_generation = mode.generation == before.generation
        if same_generation and before.identity is not None:
            if identity is None:
                raise went_back(f"the event {event!r} is gone, and nobody deleted it")
            if identity != before.identity:
                raise went_back(f"the event {event!r} is another one than before, and nobody deleted that one")
            if records < before.records:
                raise went_back(f"the event {event!r} had {before.records} records and has {records}")
        if identity is not None:
            self.saw(event, mode.generation, identity, records)

    def saw(self, event: str, generation: int, identity: object, records: int) -> None:
        """So many records of an event were read, or were written and are committed."""
        marked = self._events.get(event)
        if marked is None or marked[:2] != (generation, identity) or records > marked[2]:
            self._events[event] = (generation, identity, records)

    def compare_mode(self, mode: Mode | None, before: Seen | None = None) -> None:
        """The same for the switch alone. Errors: ``engine_went_back`` (definite)."""
        epoch, generation = (self._epoch, self._generation) if before is None else before[:2]
        if mode is None:
            if epoch:
                raise went_back(f"it had epoch {epoch} and knows of none")
            return
        if mode.epoch < epoch or mode.generation < generation:
            raise went_back(f"it had epoch {epoch}, generation {generation}; it has {mode.epoch}, {mode.generation}")
        self._epoch, self._generation = max(self._epoch, mode.epoch), max(self._generation, mode.generation)


def went_back(how: str) -> Problem:
    """What to say of an engine that shows less than was committed."""
    return Problem(
        "engine_went_back",
        f"The engine shows less than this process has seen: {how}. It may be a copy that was behind, an older backup "
        "or an empty one. Nothing was written. Bring back the engine that has the sales; if this one is meant, restart "
        "the service.",
    )
