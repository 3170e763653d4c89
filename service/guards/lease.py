"""Guard ``lease``: the right to write is lent for a time (``SET key owner NX PX``), on all hosts that reach the engine.

Guarantees: while a lease lasts nobody else gets it, and the lease of a dead holder ends with its time. A holder gives
it back only if it still holds it (compare and delete).

Does not guarantee that two never write at once. A lease ends by the engine's clock, and its holder does not notice:
paused between reading and writing for longer than the lease (a garbage collection, a swapped page, a stopped process
or virtual machine), it wakes up and writes what it decided on what it had read, though somebody else has sold since.
Looking at the clock before writing makes that rarer and not impossible: the pause can come after the look. The same
where the key is lost: deleted by hand, evicted, or not yet copied to the replica that took over. So it acts on lab
events only; ``fenced`` is the remedy.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from service.errors import Problem
from service.guards.base import Mutex, pauses_s
from service.guards.thread import ThreadGuard
from service.runtime.notifications import Blocked, ignore
from service.settings import Settings
from service.stores.base import GrantsLeases, Store

_LONGEST_PAUSE_S = 0.01


class LeaseGuard(Mutex):
    """A lease an event. The threads or greenlets of one process stand behind guard ``thread``, so one of them asks."""

    name = "lease"

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = cast(GrantsLeases, store)
        self._lease_ms = settings.lease_ms
        self._threads = ThreadGuard(settings, store)
        self._held: dict[str, tuple[int, str]] = {}
        """Leases that this process believes it holds: event → (thread id, owner token)."""

    @contextlib.contextmanager
    def exclusive(self, event: str, deadline: float, blocked: Blocked = ignore) -> Iterator[None]:
        with self._threads.exclusive(event, deadline, blocked):
            if event in self._held:
                yield
                return
            self._held[event] = threading.get_ident(), self._take(event, deadline, blocked)
            try:
                yield
            finally:
                self._give_back(event, self._held.pop(event)[1])

    def _take(self, event: str, deadline: float, blocked: Blocked) -> str:
        owner = secrets.token_hex(8)
        wait_for(lambda: self._store.take_lease(event, owner, self._lease_ms), deadline, blocked)
        return owner

    def _give_back(self, event: str, owner: str) -> None:
        # A failure here does not touch what was written, and the lease ends with its time.
        with contextlib.suppress(Problem):
            self._store.give_lease_back(event, owner)


T = TypeVar("T")


def wait_for(take: Callable[[], T | None], deadline: float, blocked: Blocked) -> T:
    """Ask until it is granted, with pauses in between, and return what was granted.

    ``blocked`` is called once if it is not granted at once. Errors: ``lock_timeout`` (definite).
    """
    for attempt, pause_s in enumerate(pauses_s(_LONGEST_PAUSE_S)):
        if granted := take():
            return granted
        if not attempt:
            blocked()
        if time.monotonic() >= deadline:
            raise Problem("lock_timeout", retry_after_s=1)
        time.sleep(pause_s)
    raise RuntimeError("the pauses have no end")
