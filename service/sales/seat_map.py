"""The map of a hall, and what changed on it since a version, as far as this process can tell."""

from __future__ import annotations

import threading
from collections import OrderedDict

from service.rules.inventory import View

_MOST_EVENTS = 64
_MOST_VERSIONS = 1_000


class _Known:
    """The last map of one event that this process has seen."""

    def __init__(self, version: int, states: bytes) -> None:
        self.version = version
        self.seen = {version: None}
        """The versions of the maps that were compared, the oldest first."""
        self.states = states
        self.changed: dict[int, int] = {}
        """The seats that changed, each with a version by which it had changed for the last time."""

    def follow(self, version: int, states: bytes) -> None:
        if version > self.version:
            for index, (before, now) in enumerate(zip(self.states, states, strict=True)):
                if before != now:
                    self.changed[index] = version
            self.version, self.states = version, states
            self.seen[version] = None
            if len(self.seen) > _MOST_VERSIONS:
                del self.seen[next(iter(self.seen))]


class SeatMaps:
    """One per process; any number of threads or greenlets use it at once.

    It compares the maps that it is shown, one after another. Between two of them a seat may have been sold and given
    back, and nobody here has seen it. So changes are told only from one of the maps that were compared to another: who
    has a map from another process may know what was never seen here, and is told the whole map.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def shown(self, view: View, since: int | None, born: str | None) -> list[tuple[int, int]] | None:
        """Take in a map that was just read. Returns the index and the state of each seat that may have changed since
        the version that the client has, of the event ``born``; None where nobody can tell, or nobody asks."""
        states, event = bytes(view.seats), view.event.born
        with self._mutex:
            known = self._known.get(event)
            if known is None:
                known = self._known[event] = _Known(view.version, states)
                if len(self._known) > _MOST_EVENTS:
                    self._known.popitem(last=False)
            self._known.move_to_end(event)
            known.follow(view.version, states)
            if since is None or since > view.version or born not in (None, event):
                return None
            if since not in known.seen or view.version not in known.seen:
                return None
            changed = [index for index, version in known.changed.items() if version > since]
        return [(index, states[index]) for index in sorted(changed)]
