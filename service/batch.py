"""Purchases that wait in one process for one event, decided together.

Everybody who wants something from an event stands in its *line*. The first in line is the *leader*: it waits for
the guard on behalf of all, and when it has the guard it takes whoever stands in line by then, itself first, at most
``limit``. At that moment the next in line becomes leader and waits for the guard in turn, while the first one decides.

So a line excludes nobody from deciding: without a guard there is nothing to wait for, each takes itself and goes
on, and they race as they should. What it saves is that a hundred threads poll for one lock.

A waiter who has waited too long withdraws, unless a leader has taken its command already. Both are decided under the
line's mutex, so exactly one of them happens: withdrawn is definite (nothing was written), taken means that the
outcome is on its way; if it does not come in time either, nobody can say (indefinite).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from service.errors import Problem
from service.guards import Transaction
from service.inventory import Command, Outcome


class Waiting:
    """One command in line, and what became of it."""

    __slots__ = ("arrived", "command", "error", "outcome", "taken", "transaction", "wait_ms", "woken")

    def __init__(self, command: Command) -> None:
        self.command = command
        self.arrived = time.perf_counter()
        self.woken = threading.Event()
        self.taken = False
        self.wait_ms = 0.0
        self.transaction: Transaction | None = None
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None

    @property
    def settled(self) -> bool:
        return self.outcome is not None or self.error is not None


class Line:
    """Those who wait in this process for one event."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._mutex = threading.Lock()
        self._waiting: deque[Waiting] = deque()

    def run(
        self,
        command: Command,
        deadline: float,
        answer_deadline: float,
        lead: Callable[[Take], Transaction],
        has_to_wait: Callable[[], None] = lambda: None,
    ) -> Waiting:
        """Have ``command`` decided, by this thread or by another one's transaction, and return what became of it.

        ``lead`` runs one transaction under the guard, durably; it is handed the function that takes from the line.
        ``has_to_wait`` is called once by who finds somebody in line before him.
        Errors: ``lock_timeout`` (definite) past ``deadline``, ``outcome_unknown`` (indefinite) past
        ``answer_deadline``, and whatever the transaction that took this command raised.
        """
        mine = Waiting(command)
        with self._mutex:
            self._waiting.append(mine)
            leads = self._waiting[0] is mine
        if not leads:
            has_to_wait()
        if leads or self._wait(mine, deadline, answer_deadline):
            self._lead(mine, lead)
        if mine.error is not None:
            raise mine.error
        return mine

    def _wait(self, mine: Waiting, deadline: float, answer_deadline: float) -> bool:
        """Wait until settled (False) or until it is this one's turn to lead (True)."""
        mine.woken.wait(max(0.0, deadline - time.monotonic()))
        with self._mutex:
            if not mine.taken:
                if self._waiting[0] is mine:
                    return True
                self._waiting.remove(mine)
                raise Problem("lock_timeout", retry_after_s=1)
        while True:
            # Cleared before it is looked at: an outcome that comes in between sets it again.
            mine.woken.clear()
            if mine.settled:
                return False
            if not mine.woken.wait(max(0.0, answer_deadline - time.monotonic())):
                raise Problem("outcome_unknown")

    def _lead(self, mine: Waiting, lead: Callable[[Take], Transaction]) -> None:
        take = Take(self)
        try:
            transaction = lead(take)
            if not take.taken:
                raise RuntimeError("the guard ended a transaction without taking its commands")
        except BaseException as error:
            if not take.taken:
                with self._mutex:
                    self._waiting.remove(mine)
                    self._next_leads()
                raise
            self._settle(take.taken, error)
            raise
        for waiting, outcome in zip(take.taken, transaction.outcomes, strict=True):
            waiting.transaction = transaction
            waiting.outcome = outcome
        self._wake(take.taken)

    def take(self) -> list[Waiting]:
        """Take those in line, in order of arrival, and let the next one lead."""
        with self._mutex:
            taken = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
            now = time.perf_counter()
            for waiting in taken:
                waiting.taken = True
                waiting.wait_ms = (now - waiting.arrived) * 1e3
            self._next_leads()
        return taken

    def _next_leads(self) -> None:
        if self._waiting:
            self._waiting[0].woken.set()

    def _settle(self, taken: Sequence[Waiting], error: BaseException) -> None:
        """Those who were taken share the fate of the transaction; a leader that is being killed leaves them unknown."""
        for waiting in taken:
            waiting.error = error if isinstance(error, Exception) else Problem("outcome_unknown")
        self._wake(taken)

    @staticmethod
    def _wake(taken: Sequence[Waiting]) -> None:
        for waiting in taken:
            waiting.woken.set()


class Take:
    """The leader's hand: called once, under the guard, it takes the commands in line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.taken: list[Waiting] = []

    def __call__(self) -> Sequence[Command]:
        self.taken = self._line.take()
        return [waiting.command for waiting in self.taken]
