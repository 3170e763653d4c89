"""The guard's switch where it lives in the store's engine, so that the processes of many hosts follow it.

The same as ``Control`` to those who use it. There, a transaction takes part in an epoch by a lock on a file, and the
epoch cannot change before it ends. Here it remembers the mode that it was begun under (``taking_part``), and the
engine compares, in the transaction or script that reads or writes: one of another epoch gets ``Switched``, has written
nothing, and the box office runs its commands again under the new guard. So what is remembered here may be old: that
costs a repetition, never a sale.

What belongs to one node alone stays in its own directory, in a ``Control``: whether a process is the first of a new
master, and a store that was closed after a failed write. The epochs of that one count nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import Token
from pathlib import Path

from service.errors import Problem
from service.runtime.epoch import Mode, taking_part
from service.stores import SharesSwitch
from service.switch.shared_memory import Control

REMEMBERED_S = 0.05
log = logging.getLogger("lastseat")


class EngineControl:
    """This process's view of the switch in the engine. Threads and greenlets share one."""

    def __init__(self, store: SharesSwitch, directory: Path, local: Control | None = None) -> None:
        self._store = store
        self._local = local or Control(directory)
        self._mutex = threading.Lock()
        self._forgotten = 0
        """How often the mode was forgotten, or switched here: what was asked for before then is not remembered."""
        self._remembered: tuple[Mode, float] | None = None
        """The mode, and until when (monotonic seconds) it is not asked for again."""
        self._heard = Mode("", 0, 0)

    def start(
        self,
        guard: str,
        master: str,
        timeout_s: float,
        tidy: Callable[[], None] = lambda: None,
        *,
        given: bool = True,
        respawned: bool = False,
    ) -> bool:
        """The first process of a new master begins an epoch of a guard that was ``given``, or where there is none yet;
        else it follows what the engine says. Returns whether it was the first.

        Errors: ``RefusedToStart``; ``switch_timeout``, ``engine_unreachable`` (definite).
        """

        if not self._local._follows(master):
            # All processes at once and not each in its turn, as what follows: an engine that does not answer would
            # be waited for once for each of them, and they refuse together (see ``surroundings.stand_back``).
            self._store.check()

        def first() -> None:
            tidy()
            found = self._store.mode()
            if given or found is None:
                self._store.begin_epoch(guard, timeout_s)
            elif found.guard != guard:
                log.warning("the engine says guard %r (epoch %d), and this node follows it", found.guard, found.epoch)

        return self._local.start(guard, master, timeout_s, first, respawned=respawned)

    def mode(self) -> Mode:
        """The guard and the epoch that a transaction starting now takes part in; at most ``REMEMBERED_S`` old.

        Errors: ``engine_unreachable``, ``engine_refused`` (definite).
        """
        remembered = self._remembered
        if remembered is not None and time.monotonic() < remembered[1]:
            return remembered[0]
        forgotten = self._forgotten
        mode = self._store.mode()
        if mode is None:
            raise Problem(
                "engine_went_back",
                "The engine knows of no guard, as an empty one does. Nothing was written. If it is meant to be "
                "empty, start the service again; else bring back the engine that has the sales.",
            )
        with self._mutex:
            # Else the answer to a question from before a switch would be remembered after it.
            if forgotten == self._forgotten:
                self._remember(mode)
        return mode

    def refresh(self) -> None:
        """Forget the mode: a transaction has met another one."""
        with self._mutex:
            self._forgotten += 1
            self._remembered = None

    @property
    def epoch(self) -> int:
        """The last epoch that was heard of, for answers that are about none. Asks nobody: the engine may be away."""
        return self._heard.epoch

    def transaction(self, deadline: float) -> _TakingPart:
        """Take part in the current epoch. Errors: ``store_closed`` and as of ``mode`` (definite)."""
        return _TakingPart(self, deadline)

    def switch(self, guard: str, timeout_s: float) -> Mode:
        """Make ``guard`` the one of all nodes; no transaction of an older epoch can write when it returns.

        Errors: as of ``SharesSwitch.begin_epoch``.
        """
        mode = self._store.begin_epoch(guard, timeout_s)
        with self._mutex:
            self._forgotten += 1
            self._remember(mode)
        return mode

    @contextlib.contextmanager
    def alone(self, timeout_s: float) -> Iterator[None]:
        """Nobody is kept out: what is done inside is atomic in the engine, so no transaction is half done there."""
        yield

    def look_after(self, deadline: float | None = None) -> None:
        """As ``Control.look_after``, of this node's own directory."""
        self._local.look_after(deadline)

    lock_series = 0
    """No guard of an engine has lock files."""

    def renew_locks(self) -> int:
        return self.lock_series

    def forget_events(self) -> None:
        """Nothing to do: the store's ``delete`` raises the generation together with what it removes."""

    def close_store(self) -> None:
        self._local.close_store()

    def refuse_if_closed(self) -> None:
        """Errors: ``store_closed`` (definite)."""
        self._local.refuse_if_closed()

    @property
    def closed(self) -> bool:
        return self._local.closed

    def close(self) -> None:
        self._local.close()

    def _remember(self, mode: Mode) -> None:
        self._heard = mode
        self._remembered = (mode, time.monotonic() + REMEMBERED_S)


class _TakingPart:
    """Not a generator: every purchase passes here."""

    __slots__ = ("_control", "_deadline", "_token")

    def __init__(self, control: EngineControl, deadline: float) -> None:
        self._control = control
        self._deadline = deadline

    def __enter__(self) -> Mode:
        self._control.look_after(self._deadline)
        self._control.refuse_if_closed()
        mode = self._control.mode()
        self._token: Token[Mode | None] = taking_part.set(mode)
        return mode

    def __exit__(self, *_: object) -> None:
        taking_part.reset(self._token)
