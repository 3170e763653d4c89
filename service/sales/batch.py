"""The line of an event: the purchases that wait for it in one process, which are decided together.

Every command for an event stands in the event's *line*. The first in line is the *leader*: it waits for the guard on
behalf of all. When it has the guard it takes the commands that stand in line by then, at most ``limit``, its own first.
When the next in line becomes the leader depends on the guard:

- Under a guard that runs one transaction of an event at a time (``Take.keep_the_line``), when that transaction is
  durable. The commands that come meanwhile, mostly while the leader waits for the disk, are decided together in the
  next transaction: a *group commit*. It costs no time, since they would have waited for the same disk.
- Under any other guard, as soon as the first commands were taken. So a line excludes nobody from deciding: without a
  guard there is nothing to wait for, each command is taken alone, and they race as they should.

If the engine refuses a transaction because of one command, that command is refused alone: the others are decided
without it.

A command that has waited too long is withdrawn, unless a leader has taken it already. Both happen under the line's
mutex, so exactly one of them happens: withdrawn is definite (nothing was written); taken means that the outcome is on
its way. If that does not come in time either, it is unknown whether the command was committed (indefinite).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from service.errors import Problem
from service.guards import Transaction
from service.rules.inventory import Command, Outcome
from service.runtime.notifications import Signal
from service.stores.base import OneRefused

Purchases = Transaction[Sequence[Outcome]]
"""A transaction of commands for one event, each with an outcome of its own."""


class Measured(Protocol):
    """Where the milliseconds of a transaction went, and the epoch that it took part in."""

    @property
    def held_ms(self) -> float: ...
    @property
    def store_ms(self) -> float: ...
    @property
    def epoch(self) -> int: ...


class Waiting:
    """A command in line, and its outcome."""

    __slots__ = (
        "arrived", "asked_again", "command", "deadline", "error", "measured", "outcome", "taken", "wait_ms", "woken",
    )  # fmt: skip

    def __init__(self, command: Command, deadline: float, arrived: float | None = None) -> None:
        """``deadline`` and ``arrived``: monotonic seconds."""
        self.command = command
        self.arrived = time.monotonic() if arrived is None else arrived
        self.deadline = deadline
        self.woken: Signal | None = None
        self.taken = False
        self.wait_ms = 0.0
        self.asked_again = False
        """Whether it may have been decided before, by a process that ended before it answered."""
        self.measured: Measured | None = None
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None

    def take(self) -> None:
        """Mark it as taken by a leader: it is decided from now on, and cannot be withdrawn."""
        self.taken = True
        self.wait_ms = (time.monotonic() - self.arrived) * 1e3

    @property
    def settled(self) -> bool:
        return self.outcome is not None or self.error is not None


class Line:
    """The commands that wait in this process for one event."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._mutex = threading.Lock()
        self._waiting: deque[Waiting] = deque()
        self._kept = False
        """A transaction is under way, and nobody leads before it has ended."""

    def run(
        self,
        command: Command,
        deadline: float,
        answer_deadline: float,
        lead: Lead,
        has_to_wait: Callable[[], None] = lambda: None,
    ) -> Waiting:
        """Have ``command`` decided, in this thread's transaction or another one's; return it with its outcome.

        ``has_to_wait`` is called once if somebody stands in line already.
        Errors: ``lock_timeout`` (definite) past ``deadline``, ``outcome_unknown`` (indefinite) past
        ``answer_deadline``, and whatever the transaction that took this command raised.
        """
        mine = Waiting(command, deadline)
        with self._mutex:
            leads = not self._waiting and not self._kept
            if not leads:
                mine.woken = Signal()
            self._waiting.append(mine)
        if mine.woken is not None:
            has_to_wait()
            leads = self._wait(mine, mine.woken, deadline, answer_deadline)
        if leads:
            self._lead(mine, lead)
        if mine.error is not None:
            raise _told(mine, mine.error)
        return mine

    def _wait(self, mine: Waiting, woken: Signal, deadline: float, answer_deadline: float) -> bool:
        """Wait until settled (False) or until it is this one's turn to lead (True)."""
        try:
            woken.wait(deadline - time.monotonic())
        except BaseException:
            self._withdraw(mine)
            raise
        with self._mutex:
            if not mine.taken:
                if self._waiting[0] is mine and not self._kept:
                    return True
                self._waiting.remove(mine)
                raise Problem("lock_timeout", retry_after_s=1)
        while not mine.settled:
            if not woken.wait(answer_deadline - time.monotonic()):
                raise Problem("outcome_unknown")
        return False

    def _withdraw(self, mine: Waiting) -> None:
        """Leave the line when the wait is interrupted, so that others go on; a command that was taken is decided."""
        with self._mutex:
            if not mine.taken:
                self._waiting.remove(mine)
                if not self._kept:
                    self._next_leads()

    def decide(self, gathered: Sequence[Waiting], lead: Lead) -> None:
        """Have commands decided that were gathered elsewhere, as if all had been taken from this line at once; each has
        its outcome or its error then."""
        try:
            _decide(Take(self, gathered), lead)
        except Exception as error:
            self._settle(gathered, error)

    def _lead(self, mine: Waiting, lead: Lead) -> None:
        take = Take(self)
        try:
            _decide(take, lead)
        except BaseException as error:
            if not take.taken:
                with self._mutex:
                    self._waiting.remove(mine)
                    self._next_leads()
                raise
            self.go_on(take)
            self._settle(take.taken, error)
            if not isinstance(error, Exception):
                raise
            return  # of several transactions that this one led, another than its own may have failed
        self.go_on(take)
        self._wake(take.taken)

    def take(self, *, keep: bool) -> list[Waiting]:
        """Take those in line, in order of arrival, and let the next one lead, unless the line is kept."""
        with self._mutex:
            taken = [self._waiting.popleft() for _ in range(min(self.limit, len(self._waiting)))]
            for waiting in taken:
                waiting.take()
            self._kept = keep
            if not keep:
                self._next_leads()
        return taken

    def go_on(self, take: Take) -> None:
        """The transaction that kept the line has ended: the next one leads."""
        if take.kept:
            with self._mutex:
                self._kept = False
                self._next_leads()

    def _next_leads(self) -> None:
        if self._waiting and (woken := self._waiting[0].woken):
            woken.set()

    def _settle(self, taken: Sequence[Waiting], error: BaseException) -> None:
        """All that were taken share the failure; if the leader is being killed, their outcome is unknown."""
        for waiting in taken:
            if not waiting.settled:
                waiting.error = error if isinstance(error, Exception) else Problem("outcome_unknown")
        self._wake(taken)

    @staticmethod
    def _wake(taken: Sequence[Waiting]) -> None:
        for waiting in taken:
            if waiting.woken is not None:
                waiting.woken.set()


def _told(waiting: Waiting, error: BaseException) -> BaseException:
    """The error to raise for a command. A definite error of its second attempt says nothing about its first attempt."""
    if waiting.asked_again and isinstance(error, Problem) and error.kind.definite:
        return Problem("outcome_unknown")
    return error


class Take:
    """Takes the commands in line, when a leader calls it under the guard; called again, it returns the same.

    A transaction is run again when it met another epoch, or when the engine refused it because of another one.
    """

    def __init__(self, line: Line, taken: Sequence[Waiting] = ()) -> None:
        self._line = line
        self.keep_the_line = False
        """Whether commands that come from now on shall wait until this transaction has ended."""
        self.kept = False
        """Whether such commands do wait."""
        self.taken = list(taken)

    def __call__(self) -> Sequence[Command]:
        if not self.taken:
            self.kept = self.keep_the_line and self._line.limit > 1
            self.taken = self._line.take(keep=self.kept)
        elif not self.taken[0].taken:
            for waiting in self.taken:
                waiting.take()
        return [waiting.command for waiting in self.taken]

    def halves(self) -> list[Take]:
        """Two takes, each with half of the commands."""
        middle = len(self.taken) // 2
        return [Take(self._line, self.taken[:middle]), Take(self._line, self.taken[middle:])]


Lead = Callable[[Take], Purchases | None]
"""Runs one transaction under the guard, durably; it is handed the function that takes from the line. Returns None where
another process decided: each command that was taken has its outcome or its error then."""


def _decide(take: Take, lead: Lead) -> None:
    """Run one transaction of all commands that were taken. If the engine refuses it because of one of them, run one of
    each half, in order, and so on: that command is refused alone, and each of the others is decided."""
    try:
        transaction = lead(take)
    except OneRefused as refused:
        if not take.taken:
            raise
        if len(take.taken) == 1:
            take.taken[0].error = refused
        else:
            for half in take.halves():
                _decide(half, lead)
    else:
        if transaction is None:
            return
        if not take.taken or transaction.outcomes is None:
            raise RuntimeError("the guard ended a transaction without deciding its commands")
        for waiting, outcome in zip(take.taken, transaction.outcomes, strict=True):
            waiting.measured = transaction
            waiting.outcome = outcome
