"""Transactions of a PostgreSQL for many threads or greenlets, and where in them an error stops being definite.

Every wait in one is limited by the engine (``lock_timeout`` and ``statement_timeout``, set from the purchase's
deadline) and by this side's clock (``postgres_connections``). ``COMMIT`` alone has no limit in the engine: where it
waits for a standby, a limit would end the waiting and not the commit, and the buyer would be told as if the standby had
it. This side's clock makes an indefinite answer of it.

``COMMIT`` is a round trip of its own. In one with the writing before it (a pipeline) it would cost less, and a
connection that is lost while the writing waits could not be told from one that is lost in the commit.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from service.errors import Problem
from service.stores.base import Blocked, Conflict, ignore
from service.stores.postgres.connections import SPARE_S, Connections, Patient
from service.stores.postgres.errors import Silent, problem_of, problem_of_commit

GATE_PATIENCE_MS = 50
"""Under an experiment's gates: how long a lock may take before the scheduler is told that somebody waits for it."""
_FOREVER_S = 3_600.0
_LOCK_CONTROL = "LOCK TABLE lastseat.control IN ROW SHARE MODE"
_NO_LIMIT = "SET LOCAL statement_timeout = 0"


@dataclass(slots=True)
class _Mine:
    """The transaction that a thread or greenlet is in."""

    connection: Patient
    blocked: Blocked
    wrote: bool = False
    after: list[Callable[[], None]] = field(default_factory=list)


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
        mine = self._mine
        if mine is not None:
            with sorted_errors():
                return mine.connection.ask(query, parameters).fetchall()
        until = time.monotonic() + self._connections.patience_s
        while True:
            with self._connections.lent(until) as connection:
                try:
                    return connection.ask(query, parameters).fetchall()
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
    ) -> Iterator[Patient]:
        """A transaction that no switch of the guard can overtake; committed at the end, rolled back where it raises.

        ``lock`` is a statement to begin with, which may have to wait. Inside, it may be entered again: that takes the
        block's lock too, and is committed with the outermost block.

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
            self._begin(connection, f"BEGIN ISOLATION LEVEL {isolation}", [control, lock], until, blocked)
            mine = self._local.mine = _Mine(connection, blocked)
            try:
                with sorted_errors():
                    yield connection
            finally:
                self._local.mine = None
            connection.until = max(connection.until, time.monotonic() + SPARE_S)
            _commit(mine)
        for call in mine.after:
            call()

    def _lock_too(self, lock: str, deadline: float | None, blocked: Blocked) -> None:
        """Take one more lock in the transaction that this thread is in, which ends where it is not had in time."""
        mine = self._entered()
        mine.blocked = blocked
        until = time.monotonic() + self._connections.patience_s if deadline is None else deadline
        with sorted_errors():
            mine.connection.execute(f"SET LOCAL lock_timeout = {_left_ms(until)}")
            self._told_if_blocked(mine, lock, None)

    def write(self, query: str, parameters: Sequence[Any]) -> psycopg.Cursor[Any]:
        """Write within the transaction that this thread is in."""
        mine = self._entered()
        mine.wrote = True
        return self._told_if_blocked(mine, query, parameters)

    def _told_if_blocked(self, mine: _Mine, query: str, parameters: Sequence[Any] | None) -> psycopg.Cursor[Any]:
        if not self._watched:
            return mine.connection.ask(query, parameters)
        # An experiment is told where this has to wait for another transaction.
        mine.connection.execute(f"SAVEPOINT gate; SET LOCAL lock_timeout = {GATE_PATIENCE_MS}", prepare=False)
        try:
            return mine.connection.ask(query, parameters)
        except psycopg.errors.LockNotAvailable:
            mine.connection.execute("ROLLBACK TO SAVEPOINT gate")
            mine.blocked()
            return mine.connection.ask(query, parameters)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have something called when the transaction that this thread is in is committed, and never if it is not."""
        self._entered().after.append(call)

    def _entered(self) -> _Mine:
        if self._mine is None:
            raise RuntimeError("this belongs into a transaction")
        return self._mine

    def _begin(self, connection: Patient, begin: str, locks: list[str], until: float, blocked: Blocked) -> None:
        """Begin, and take the locks, in one round trip."""
        with sorted_errors():
            if self._watched:
                try:
                    connection.execute(
                        _script(begin, [*connection.shared, *locks], GATE_PATIENCE_MS, _left_ms(until)), prepare=False
                    )
                    return
                except psycopg.errors.LockNotAvailable:
                    connection.execute("ROLLBACK")
                    blocked()
            left = _left_ms(until)
            connection.execute(_script(begin, [*connection.shared, *locks], left, left), prepare=False)


def _commit(mine: _Mine) -> None:
    """End the transaction.

    Errors: ``outcome_unknown`` (indefinite) where something was written; else definite, and rolled back.
    """
    try:
        done = mine.connection.execute(f"{_NO_LIMIT}; COMMIT", prepare=False)
        done.nextset()
    except psycopg.Error as error:
        raise (problem_of_commit(error, mine.connection.closed) if mine.wrote else problem_of(error)) from error
    if done.statusmessage != "COMMIT":
        raise Conflict("PostgreSQL rolled it back")


@contextlib.contextmanager
def sorted_errors() -> Iterator[None]:
    """PostgreSQL's errors as problems. For work that commits nothing when it fails."""
    try:
        yield
    except psycopg.Error as error:
        raise problem_of(error) from error


def _script(begin: str, then: list[str], lock_ms: int, statement_ms: int) -> Any:
    limits = [f"SET LOCAL lock_timeout = {lock_ms}", f"SET LOCAL statement_timeout = {statement_ms}"]
    return "; ".join([begin, *limits, *(each for each in then if each)])


def _left_ms(until: float) -> int:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise Problem("lock_timeout", retry_after_s=1)
    return max(1, int(min(left_s, _FOREVER_S) * 1e3))
