"""The guard's switch in the store's engine, so that the processes of many hosts follow it.

In a plain ``Control`` a transaction takes part in an epoch by a lock on the data directory, and the epoch cannot change
before it ends. Here a transaction remembers the mode that it was begun under (``taking_part``), and the engine compares
it, in the transaction or script that reads or writes: a transaction of another epoch gets ``Switched``, has written
nothing, and the box office runs its commands again under the new guard. So the mode that is remembered here may be old:
that costs a repetition, never a sale.

What belongs to one node stays in the control files of its directory, as for every ``Control``: whether a process is the
first of a new master, and whether the store was closed after a failed write. The epochs in these files mean nothing.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path

from service.errors import Problem
from service.runtime.epoch import Mode
from service.runtime.notifications import Blocked, ignore
from service.stores import SharesSwitch
from service.switch.shared_memory import Control

REMEMBERED_S = 0.05
log = logging.getLogger("lastseat")


class EngineControl(Control):
    """This process's view of the switch in the engine. Threads and greenlets share one."""

    def __init__(self, store: SharesSwitch, directory: Path, identity: str = "") -> None:
        """``identity`` names the store that the directory belongs to, as in ``Control``."""
        super().__init__(directory, identity)
        self._engine = store
        self._forgotten = 0
        """How often the mode was forgotten, or switched here: an answer from before then is not remembered."""
        self._remembered: tuple[Mode, float] | None = None
        """The mode, and the time (monotonic seconds) from which it is asked for again."""
        self._last_known = Mode("", 0, 0)
        self._warnings: list[str] = []

    def _look_before(self, master: str) -> None:
        """Errors: ``RefusedToStart``, ``engine_unreachable`` (definite)."""
        if not self.follows(master):
            # All processes look at once, and not in turn: in turn each would wait for an engine that does not answer.
            # They refuse together (see ``runtime.gunicorn.let_one_worker_report``).
            self._warnings = self._engine.check()

    def _begin_for_all(self, guard: str, timeout_s: float, *, given: bool) -> None:
        """If the guard was ``given``, or the engine has none yet; else this node follows the engine."""
        for warning in self._warnings:
            log.warning("%s", warning)
        found = self._engine.mode()
        if given or found is None:
            self._engine.begin_epoch(guard, timeout_s)
        elif found.guard != guard:
            log.warning("the engine says guard %r (epoch %d), and this node follows it", found.guard, found.epoch)

    def mode(self) -> Mode:
        """The guard and the epoch that a transaction starting now takes part in; at most ``REMEMBERED_S`` old.

        Errors: ``engine_unreachable``, ``engine_refused`` (definite).
        """
        remembered = self._remembered
        if remembered is not None and time.monotonic() < remembered[1]:
            return remembered[0]
        forgotten = self._forgotten
        mode = self._engine.mode()
        if mode is None:
            raise Problem(
                "engine_went_back",
                "The engine knows of no guard, as an empty one does. Nothing was written. If it is meant to be "
                "empty, start the service again; else bring back the engine that has the sales.",
            )
        with self._mutex:
            # Otherwise an answer from before a switch would be remembered after it.
            if forgotten == self._forgotten:
                self._remember(mode)
        return mode

    def refresh(self) -> None:
        """Forget the mode: a transaction met another one in the engine."""
        with self._mutex:
            self._forgotten += 1
            self._remembered = None

    @property
    def epoch(self) -> int:
        """The last known epoch, for answers that belong to none. The engine, which may be away, is not asked."""
        return self._last_known.epoch

    def enter(self, deadline: float, blocked: Blocked = ignore) -> Mode:
        """Take part in the current epoch. Errors: ``store_closed`` and those of ``mode`` (definite)."""
        self.look_after(deadline)
        self.refuse_if_closed()
        return self.mode()

    def leave(self) -> None:
        """Nothing to do: the engine holds nothing for a transaction."""

    def switch(self, guard: str, timeout_s: float, blocked: Blocked = ignore) -> Mode:
        """Make ``guard`` the guard of all nodes; no transaction of an older epoch can write when it returns.

        Errors: those of ``SharesSwitch.begin_epoch``.
        """
        mode = self._engine.begin_epoch(guard, timeout_s)
        with self._mutex:
            self._forgotten += 1
            self._remember(mode)
        return mode

    @contextlib.contextmanager
    def alone(self, timeout_s: float, blocked: Blocked = ignore) -> Iterator[None]:
        """No transaction is kept out: the block's work is atomic in the engine, where no transaction is half done."""
        yield

    @property
    def lock_series(self) -> int:
        """Always 0: the guards of an engine have no lock files."""
        return 0

    def renew_locks(self) -> int:
        return self.lock_series

    def forget_events(self) -> None:
        """Nothing to do: the store's ``delete`` raises the generation together with what it removes."""

    def _remember(self, mode: Mode) -> None:
        self._last_known = mode
        self._remembered = (mode, time.monotonic() + REMEMBERED_S)
