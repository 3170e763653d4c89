"""The transaction manager of a process: it surrounds every transaction, whether that spans one event or several.

It runs each transaction in the current epoch, knows which guard acts on an event and what the event was made as, and
closes the store for all processes when the disk fails.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from service.errors import Problem
from service.experiments.gates import Gates
from service.guards import Guard, LockLost, guard_class
from service.rules.inventory import Event
from service.runtime.epoch import Mode, Switched, taking_part
from service.runtime.files import CommitFailed
from service.runtime.notifications import ignore
from service.settings import Settings
from service.stores.base import Store
from service.switch.engine import EngineControl
from service.switch.shared_memory import Control

T = TypeVar("T")


class _Acting(NamedTuple):
    """Which guard acts on an event under a mode, and whether one process may decide under it for the others."""

    mode: Mode
    guard: str
    combines: bool


log = logging.getLogger("lastseat")


class TransactionManager:
    """One per process; any number of threads or greenlets use it at once."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        control: Control | EngineControl,
        processes: int,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        """``forget`` is called when an event was deleted: what was remembered of events may be of another one now."""
        self.gates = Gates(settings.gates, settings.gates_patience_s) if settings.gates else None
        self.waits_for_switch = self._note_switching if self.gates is not None else ignore
        """Called once by a transaction that waits until the guard is switched."""
        self._settings = settings
        self._store = store
        self._control = control
        self._processes = processes
        self._forget = forget
        self.closing_if_not_durable = _ClosingIfNotDurable(control)
        """A ``CommitFailed`` inside a block of this closes the store. Errors: ``not_durable`` (indefinite)."""
        self._built: dict[str, Guard] = {}
        self._known: tuple[int, dict[str, Event]] = (-1, {})
        """What events were made as, and the generation in which that was read: of no other generation is it true."""
        self._acting: dict[str, _Acting] = {}

    def in_current_epoch(self, deadline: float, run: Callable[[Mode], T]) -> T:
        """What ``run`` returns under the mode of the current epoch. It is run again if it met another epoch, or a lock
        file that was removed.

        Errors: ``switching``, ``storage_full``, ``storage_refused`` (definite), and as of ``run``.
        """
        while True:
            try:
                with self._control.transaction(deadline, self.waits_for_switch) as mode:
                    return run(mode)
            except Switched:
                # Decided under a guard that does not act any more, and not written.
                self._control.refresh()
            except LockLost as lost:
                self.repair(lost, deadline)
            if time.monotonic() >= deadline:
                raise Problem("switching", retry_after_s=1)

    def _note_switching(self) -> None:
        if self.gates is not None:
            self.gates.note("switching", "", [])

    def repair(self, lost: LockLost, deadline: float) -> None:
        """Make a lock file again, while no transaction holds the old one; to be called outside of the transaction.

        Errors: ``switching``, ``storage_full``, ``storage_refused`` (definite).
        """
        try:
            with self._control.alone(max(0.0, deadline - time.monotonic())):
                lost.repair(self._control.lock_series, self._control.renew_locks)
        except Problem as problem:
            if problem.code == "switch_timeout":
                raise Problem("switching", problem.detail, retry_after_s=1) from None
            raise

    def about(self, event: str, mode: Mode) -> Event:
        """What an event was made as. Errors: ``unknown_event``, and where it is asked for the first time as of
        ``in_current_epoch``."""
        generation, events = self._known
        if mode.generation > generation:
            events = {}
            self._known = (mode.generation, events)
            self._acting.clear()
            self._forget()
        elif mode.generation < generation:
            events = {}  # this thread does not know yet what was deleted
        about = events.get(event)
        if about is None:
            if taking_part.get() is None:
                # Only a transaction may remember it: otherwise the event could be deleted, and made anew, after it was
                # read and before it is remembered.
                deadline = time.monotonic() + self._settings.lock_timeout_s
                return self.in_current_epoch(deadline, lambda current: self.about(event, current))
            with self.closing_if_not_durable:
                about = events[event] = self._store.view(event).event
        return about

    def acting_guard(self, event: Event, mode: Mode) -> str:
        """The guard that an event obeys: an unsafe one acts only on events made for the lab."""
        safe_guard = self._store.safe_guard
        if event.lab or mode.guard == safe_guard or guard_class(mode.guard).safe(self._store.scope, self._processes):
            return mode.guard
        return safe_guard

    def combines(self, event: str, mode: Mode) -> bool:
        """Whether one process of this host may decide for the others: under a guard that keeps apart all of them and
        that one. Otherwise what the guard lets happen would not happen. Errors: ``unknown_event``."""
        return self._acting_on(event, mode).combines

    def _acting_on(self, event: str, mode: Mode) -> _Acting:
        acting = self._acting.get(event)
        if acting is None or acting.mode != mode:
            name = self.acting_guard(self.about(event, mode), mode)
            safe = guard_class(name).safe(self._store.scope, self._processes + 1)
            acting = self._acting[event] = _Acting(mode, name, safe)
        return acting

    def guard(self, name: str) -> Guard:
        """The guard of that name, built when it is first asked for."""
        guard = self._built.get(name)
        if guard is None:
            # setdefault: of two threads that build one at once, both use the same.
            guard = self._built.setdefault(name, guard_class(name)(self._settings, self._store))
        return guard

    def guard_for(self, event: str, mode: Mode) -> Guard:
        """The guard that acts on an event. Errors: ``unknown_event``."""
        return self.guard(self._acting_on(event, mode).guard)

    def make_durable(self, event: str, position: object) -> None:
        """Return when everything up to there is durable. Errors: ``not_durable`` (indefinite)."""
        with self.closing_if_not_durable:
            self._store.make_durable(event, position)
        if self._control.closed:
            # Another process met the failure meanwhile, and it may be about what was written here too.
            raise Problem("not_durable", "Another write to the disk failed at the same time.")


class _ClosingIfNotDurable:
    """Written by hand: ``@contextmanager`` is too slow on this path. It has no state: all threads use one."""

    __slots__ = ("_control",)

    def __init__(self, control: Control | EngineControl) -> None:
        self._control = control

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, CommitFailed):
            # A second sync would succeed without having written anything, so nobody may try.
            self._control.close_store()
            log.error(
                "the store is closed for all processes: a sync of %s failed: %s (errno %s). Mend the disk and restart "
                "the service",
                error.filename or "the data directory",
                error.strerror,
                error.errno,
            )
            raise Problem("not_durable", f"The disk answered: {error.strerror}.") from error
