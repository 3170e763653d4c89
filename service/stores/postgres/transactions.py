"""Transactions of a PostgreSQL for many threads or greenlets, and where in them an error stops being definite.

Every wait in one is limited by the engine (``lock_timeout`` and ``statement_timeout``, set from the purchase's
deadline) and by this side's clock (``connections``). ``COMMIT`` alone has no limit in the engine: where it
waits for a standby, a limit would end the waiting and not the commit, and the buyer would be told as if the standby had
it. This side's clock makes an indefinite answer of it.

What needs no answer waits for what does, and goes to the engine in one round trip with it: a ``BEGIN`` without a lock
with the first question, all that is written with ``COMMIT``. The engine stops at the first statement that fails, so
what it refuses is as definite as if it had been sent alone; also where it says that it ends the connection before it
has said that all was written. A connection that is lost without a word while the writing waits cannot be told from one
that is lost in the commit: its answer is indefinite. So ``COMMIT`` goes by itself where the connection has something
to say before anything is sent (it has ended, mostly), and where a pooler speaks for the engine.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.pq.abc import PGresult

from service.errors import Problem
from service.runtime.notifications import Blocked, ignore
from service.stores.base import Conflict
from service.stores.postgres.connections import SPARE_S, Connections, Patient, Ran, has_something_to_read
from service.stores.postgres.errors import Silent, problem_of, problem_of_commit, problem_of_write
from service.stores.postgres.scripts import Prepared

GATE_PATIENCE_MS = 50
"""Under an experiment's gates: how long a lock may take before the scheduler is told that somebody waits for it."""
_FOREVER_S = 3_600.0
_LOCK_CONTROL = "LOCK TABLE lastseat.control IN ROW SHARE MODE"
_NO_LIMIT = "SET LOCAL statement_timeout = 0"
_LOCK_LIMIT = "SET LOCAL lock_timeout"
_GATE_LIMIT = f"{_LOCK_LIMIT} = {GATE_PATIENCE_MS}"

T = TypeVar("T")


Then = Callable[[PGresult], None]
"""Called with the result of something that was written, when that is committed, and never if it is not."""


@dataclass(slots=True)
class _Mine:
    """The transaction that a thread or greenlet is in."""

    connection: Patient
    blocked: Blocked
    begin: list[str]
    """How it begins, and what is locked first; empty when it was sent."""
    waiting: list[tuple[str, Then]] = field(default_factory=list)
    """What is to be written and was not sent yet."""
    written: list[tuple[PGresult, Then]] = field(default_factory=list)
    wrote: bool = False

    def send(self, statements: Sequence[str]) -> Ran:
        """Send what waits, and these after it. The results are of these alone, where all before them succeeded."""
        begin, waiting = self.begin, self.waiting
        ran = self.connection.run([*begin, *(statement for statement, _ in waiting), *statements])
        first, last = len(begin), len(begin) + len(waiting)
        if len(ran.results) >= last:
            self.written += zip(ran.results[first:last], (then for _, then in waiting), strict=True)
            self.begin, self.waiting = [], []
        return Ran(ran.results[last:], ran.error)

    def sent(self, *statements: str) -> list[PGresult]:
        """The same, before ``COMMIT``. Raises psycopg's error."""
        ran = self.send(statements)
        if ran.error is not None:
            raise ran.error
        return ran.results


class Transactions:
    """All transactions of this process. ``watched``: an experiment wants to be told of who waits for a lock."""

    def __init__(self, connections: Connections, *, watched: bool = False) -> None:
        self._connections = connections
        self._watched = watched
        self._local = threading.local()

    @property
    def mine(self) -> Patient | None:
        """The connection of the transaction that this thread or greenlet is in."""
        mine = self._mine
        return None if mine is None else mine.connection

    @property
    def _mine(self) -> _Mine | None:
        mine: _Mine | None = getattr(self._local, "mine", None)
        return mine

    def ask(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[Any]:
        """The rows of one query, in the transaction that this thread is in or else in a snapshot of its own.

        Errors, all definite: ``engine_unreachable``, ``engine_refused``, ``pool_exhausted``; ``Conflict``.
        """
        return self._read(lambda connection: connection.execute(query, parameters).fetchall())

    def look(self, statement: Prepared, parameters: Sequence[object]) -> list[bytes | None] | None:
        """The columns of the one row of a prepared statement, as text; None where there is none. Else as ``ask``."""
        mine = self._mine

        def read(connection: Patient) -> PGresult:
            call = connection.call(statement, parameters)
            if mine is not None:
                return mine.sent(call)[0]
            ran = connection.run([call])
            if ran.error is not None:
                raise ran.error
            return ran.results[0]

        found = self._read(read)
        return [found.get_value(0, column) for column in range(found.nfields)] if found.ntuples else None

    def _read(self, read: Callable[[Patient], T]) -> T:
        mine = self._mine
        if mine is not None:
            with sorted_errors():
                return read(mine.connection)
        until = time.monotonic() + self._connections.patience_s
        while True:
            with self._connections.lent(until) as connection:
                try:
                    return read(connection)
                except psycopg.Error as error:
                    # A reading can be asked again; who lost its connection does so on the next one.
                    if not connection.closed or isinstance(error, Silent) or time.monotonic() >= until:
                        raise problem_of(error) from error

    @contextlib.contextmanager
    def transaction(
        self,
        deadline: float | None = None,
        *,
        isolation: str = "READ COMMITTED",
        lock: str = "",
        control: str = _LOCK_CONTROL,
        blocked: Blocked = ignore,
        later: bool = False,
    ) -> Iterator[Patient]:
        """A transaction that no switch of the guard can overtake; committed at the end, rolled back where it raises.

        ``lock`` is a statement to begin with, which may have to wait. Inside, it may be entered again: that takes the
        block's lock too, and is committed with the outermost block. ``later``: only ``look`` and ``write`` are used
        inside, and where there is nothing to wait for the first of them begins it.

        Errors, before ``COMMIT`` all definite: ``lock_timeout``, ``engine_unreachable``, ``engine_refused``,
        ``pool_exhausted``, ``storage_full``, ``Conflict``; in it ``outcome_unknown`` (indefinite).
        """
        if self.mine is not None:
            if lock:
                self._lock_too(lock, deadline, blocked)
            yield self.mine
            return
        until = time.monotonic() + self._connections.patience_s if deadline is None else deadline
        with self._connections.lent(until) as connection:
            beginning = partial(_beginning, connection, isolation, [control, lock])
            mine = _Mine(connection, blocked, beginning(_left_ms(until)))
            if lock or not later or self._watched:
                self._begin(mine, lambda: beginning(_left_ms(until)))
            self._local.mine = mine
            try:
                with sorted_errors():
                    yield connection
            finally:
                self._local.mine = None
            connection.until = max(connection.until, time.monotonic() + SPARE_S)
            _commit(mine)
        for result, then in mine.written:
            then(result)

    def _lock_too(self, lock: str, deadline: float | None, blocked: Blocked) -> None:
        """Take one more lock in the transaction that this thread is in, which ends where it is not had in time."""
        mine = self._entered()
        mine.blocked = blocked
        until = time.monotonic() + self._connections.patience_s if deadline is None else deadline
        with sorted_errors():
            mine.sent(f"{_LOCK_LIMIT} = {_left_ms(until)}")
            self._told_if_blocked(mine, lock)

    def write(self, statement: Prepared, parameters: Sequence[object], then: Then) -> None:
        """Write within the transaction that this thread is in, at the latest with its commit."""
        mine = self._entered()
        with sorted_errors():
            call = mine.connection.call(statement, parameters)
            mine.wrote = True
            if self._watched:
                mine.written.append((self._told_if_blocked(mine, call), then))
            else:
                mine.waiting.append((call, then))

    def answered(self) -> list[PGresult]:
        """The results of what was written so far in the transaction that this thread is in; sent if it was not yet."""
        mine = self._entered()
        with sorted_errors():
            if mine.waiting:
                mine.sent()
        return [result for result, _ in mine.written]

    def _told_if_blocked(self, mine: _Mine, statement: str) -> PGresult:
        if not self._watched:
            return mine.sent(statement)[0]
        # An experiment is told where this has to wait for another transaction.
        mine.sent("SAVEPOINT gate", _GATE_LIMIT)
        try:
            return mine.sent(statement)[0]
        except psycopg.errors.LockNotAvailable:
            mine.sent("ROLLBACK TO SAVEPOINT gate")
            mine.blocked()
            return mine.sent(statement)[0]

    def _entered(self) -> _Mine:
        if self._mine is None:
            raise RuntimeError("this belongs into a transaction")
        return self._mine

    def _begin(self, mine: _Mine, again: Callable[[], list[str]]) -> None:
        """Begin, and take the locks, in one round trip."""
        with sorted_errors():
            if self._watched:
                mine.begin = [_GATE_LIMIT if each.startswith(_LOCK_LIMIT) else each for each in mine.begin]
                try:
                    mine.sent()
                    return
                except psycopg.errors.LockNotAvailable:
                    mine.begin = []
                    mine.sent("ROLLBACK")
                    mine.blocked()
                mine.begin = again()
            mine.sent()


def _commit(mine: _Mine) -> None:
    """End the transaction, with what is still to be written.

    Errors: ``outcome_unknown`` (indefinite) where something was written, or was sent together with ``COMMIT``, and the
    engine did not say that it refused; else definite, and rolled back.
    """
    if mine.begin and not mine.waiting:
        return  # nothing was asked for
    connection = mine.connection
    if mine.waiting and (connection.shared or has_something_to_read(connection)):
        with sorted_errors():
            mine.sent()
    ran = mine.send([_NO_LIMIT, "COMMIT"])
    if ran.error is not None:
        # What still waits was not done, if it is the engine that says so.
        refused_before = bool(mine.waiting and ran.error.sqlstate)
        definite = refused_before or not mine.wrote
        raise (
            problem_of_write(ran.error) if definite else problem_of_commit(ran.error, connection.closed)
        ) from ran.error
    if ran.results[-1].command_status != b"COMMIT":
        raise Conflict("PostgreSQL rolled it back")


@contextlib.contextmanager
def sorted_errors() -> Iterator[None]:
    """PostgreSQL's errors as problems. For work that commits nothing when it fails."""
    try:
        yield
    except psycopg.Error as error:
        raise problem_of_write(error) from error


def _beginning(connection: Patient, isolation: str, locks: Sequence[str], left_ms: int) -> list[str]:
    limits = [f"{_LOCK_LIMIT} = {left_ms}", f"SET LOCAL statement_timeout = {left_ms}"]
    return [f"BEGIN ISOLATION LEVEL {isolation}", *limits, *connection.shared, *filter(None, locks)]


def _left_ms(until: float) -> int:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise Problem("lock_timeout", retry_after_s=1)
    return max(1, int(min(left_s, _FOREVER_S) * 1e3))
