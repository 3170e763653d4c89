"""The holds of a journal as one process knows them: all that are open, and those that the active segment speaks of.

Every purchase asks whether a hold is due, so that must cost nothing where none is: the open ones stand in a heap by the
instant at which they end, and the answer is its top. One that was confirmed or released stays in the heap until it
comes to the top, and is dropped there.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import datetime

from service.rules.inventory import Held, Record, hold_after


class Holds:
    """To be used under the ledger's mutex. ``before`` are those that were open when the segment began."""

    def __init__(self, before: Iterable[Held]) -> None:
        self._known = {each.hold: each for each in before}
        self._by_end = [(*each.ends, each.hold) for each in self._known.values()]
        heapq.heapify(self._by_end)

    def get(self, hold: str) -> Held | None:
        """A hold as it stands, if it is open or the active segment speaks of it."""
        return self._known.get(hold)

    def remember(self, hold: Held | None) -> None:
        """Know one of a closed segment, which is not open any more, as it stands."""
        if hold is not None:
            self._known.setdefault(hold.hold, hold)

    def take_in(self, record: Record, before: Held | None) -> None:
        """Follow a record that names a hold; ``before``: how it stood, or None where nobody knows or this makes it."""
        found = hold_after(record, before)
        if found is None:
            return  # the line that made it could not be read and was set aside
        self._known[record.hold] = found
        if record.kind == "held":
            heapq.heappush(self._by_end, (*found.ends, found.hold))

    def next_expiry(self) -> datetime | None:
        """When the first of the open holds ends; None where none is open."""
        while self._by_end:
            ends, _, hold = self._by_end[0]
            if self._known[hold].status == "held":
                return ends
            heapq.heappop(self._by_end)
        return None

    def may_be_due(self, now: datetime) -> bool:
        """Whether ``due`` would find any; costs a look at the top of the heap."""
        ends = self.next_expiry()
        return ends is not None and ends <= now

    def due(self, now: datetime) -> list[Held]:
        """The open holds that have ended by ``now``, in the order in which they expire. They stay open until a record
        says otherwise: what is decided now may not get written."""
        found: list[tuple[datetime, int, str]] = []
        while self.may_be_due(now):
            found.append(heapq.heappop(self._by_end))
        for each in found:
            heapq.heappush(self._by_end, each)
        return [self._known[hold] for _, _, hold in found]

    def open(self) -> tuple[Held, ...]:
        """All that are open, in the order in which they expire: what the head of the next segment has to say."""
        return tuple(
            sorted((each for each in self._known.values() if each.status == "held"), key=lambda each: each.ends)
        )
