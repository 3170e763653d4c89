"""Connections to one PostgreSQL for many threads or greenlets, at most ``size`` of them in a process, and transactions.

Who needs a connection takes an idle one or makes one itself, so it learns at once and for itself whether the engine is
away, the password is wrong or all connections are lent. (``psycopg_pool`` makes them in threads of its own: its caller
learns only that time has passed, and after an outage they wait up to as long again before they look.) An idle one that
the engine has closed is seen before it is used: its socket has something to read.

Every wait is limited, twice: by the engine (``lock_timeout`` and ``statement_timeout``, set in each transaction from
the purchase's deadline) and, in case the engine itself stands still or a cable is cut, by this side's clock.

To be built, and psycopg imported, in the worker: connections do not cross a fork, and under gevent psycopg waits
as the hub wants it only if it is imported after the patch.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from service.blocking import patched
from service.errors import Problem, RefusedToStart
from service.stores import Conflict
from service.stores.postgres_errors import Silent, problem_of, problem_of_commit, problem_of_connecting, reason_of

log = logging.getLogger("lastseat")

SPARE_S = 2.0
"""How much longer this side waits than it has allowed the engine to."""
GATE_PATIENCE_MS = 50
"""Under an experiment's gates: how long a lock may take before the scheduler is told that somebody waits for it."""
_CONNECT_WITHIN_S = 5.0
_FOREVER_S = 3_600.0
_WARN_EVERY_S = 10.0
_OPEN = frozenset({TransactionStatus.INTRANS, TransactionStatus.INERROR})
_LOCK_CONTROL = "LOCK TABLE lastseat.control IN ROW SHARE MODE"


class Patient(psycopg.Connection[Any]):
    """A connection that waits for the engine until ``until`` (monotonic seconds), and closes itself then."""

    until = math.inf

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is None and self.until < math.inf:
            timeout = max(0.001, self.until - time.monotonic())
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.errors._WaitTimeout:
            self.close()
            raise Silent("the engine did not answer in time") from None


class Connections:
    """All connections of this process to the PostgreSQL at ``url``."""

    def __init__(self, url: str, size: int, patience_s: float, idle_limit_s: float, *, watched: bool = False) -> None:
        """``idle_limit_s``: a transaction in which nothing is asked for so long is ended by the engine, 0 never.

        ``watched``: an experiment wants to be told of who waits for a lock.
        """
        if patched() and waiting.wait is getattr(waiting, "wait_c", None):
            raise RefusedToStart(
                "psycopg was imported before gevent's monkey patch: waiting for PostgreSQL would stop every greenlet. "
                "Do not import it in gunicorn.conf.py, and start without --preload."
            )
        self._parameters = _parsed(url)
        self._warn_again = 0.0
        self.patience_s = patience_s
        self._idle_limit_ms = int(idle_limit_s * 1e3)
        self._watched = watched
        self._free = threading.Semaphore(size)
        self._size = size
        self._idle: list[Patient] = []
        self._mine = threading.local()
        self._pid = os.getpid()

    @property
    def mine(self) -> Patient | None:
        """The connection of the transaction that this thread or greenlet is in."""
        mine: Patient | None = getattr(self._mine, "connection", None)
        return mine

    @staticmethod
    def deadline(timeout_s: float) -> float:
        """So many seconds from now, as a moment (monotonic)."""
        return time.monotonic() + timeout_s

    def ask(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[Any]:
        """The rows of one query, in the transaction that this thread is in or else in a snapshot of its own.

        Errors, all definite: ``engine_unreachable``, ``engine_refused``, ``pool_exhausted``; ``Conflict``.
        """
        if self.mine is not None:
            with sorted_errors():
                return self.mine.execute(query, parameters, prepare=True).fetchall()
        until = time.monotonic() + self.patience_s
        while True:
            with self._lent(until) as connection:
                try:
                    return connection.execute(query, parameters, prepare=True).fetchall()
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
        blocked: Callable[[], None] = lambda: None,
    ) -> Iterator[Patient]:
        """A transaction that no switch of the guard can overtake; committed at the end, rolled back where it raises.

        ``lock`` is a statement to begin with, which may have to wait. Who is inside may enter again, takes that block's
        lock too, and is committed with the outermost block. Errors, before ``COMMIT`` all definite: ``lock_timeout``,
        ``engine_unreachable``, ``engine_refused``, ``pool_exhausted``, ``storage_full``, ``Conflict``; in it
        ``outcome_unknown`` (indefinite).
        """
        mine = self.mine
        if mine is not None:
            if lock:
                self._lock_too(lock, deadline, blocked)
            yield mine
            return
        until = time.monotonic() + self.patience_s if deadline is None else deadline
        with self._lent(until) as connection:
            begin = f"BEGIN ISOLATION LEVEL {isolation}"
            self._begin(connection, begin, [control, lock], until, blocked)
            after: list[Callable[[], None]] = []
            self._mine.connection, self._mine.blocked, self._mine.after = connection, blocked, after
            try:
                with sorted_errors():
                    yield connection
            finally:
                self._mine.connection = None
            connection.until = max(connection.until, time.monotonic() + SPARE_S)
            commit(connection)
        for call in after:
            call()

    def _lock_too(self, lock: str, deadline: float | None, blocked: Callable[[], None]) -> None:
        """Take one more lock in the transaction that this thread is in, which ends where it is not had in time."""
        self._mine.blocked = blocked
        until = time.monotonic() + self.patience_s if deadline is None else deadline
        with sorted_errors():
            self._mine.connection.execute(f"SET LOCAL lock_timeout = {_left_ms(until)}")
            self.waiting_for_others(lambda connection: connection.execute(lock))

    def after_commit(self, call: Callable[[], None]) -> None:
        """Have something called when the transaction that this thread is in is committed, and never if it is not."""
        self._mine.after.append(call)

    def waiting_for_others(self, work: Callable[[Patient], Any]) -> Any:
        """Do ``work``, which may have to wait for another transaction, and tell an experiment where it does."""
        connection = self.mine
        if connection is None:
            raise RuntimeError("this belongs into a transaction")
        if not self._watched:
            return work(connection)
        connection.execute(f"SAVEPOINT gate; SET LOCAL lock_timeout = {GATE_PATIENCE_MS}")
        try:
            return work(connection)
        except psycopg.errors.LockNotAvailable:
            connection.execute("ROLLBACK TO SAVEPOINT gate")
            self._mine.blocked()
            return work(connection)

    def connect(self) -> Patient:
        """A new connection, not counted. Errors (definite): as of ``ask``."""
        try:
            connection = Patient.connect(**self._arguments())
        except psycopg.Error as error:
            raise problem_of_connecting(error) from error
        connection.until = time.monotonic() + self.patience_s
        return connection

    def close(self) -> None:
        """Close what is idle."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _arguments(self) -> dict[str, Any]:
        # No sequential scan: a plan made while a table was small would be used until somebody analyses it. What that
        # adds to a plan's estimated cost would have it compiled (jit), for a hundred times what running it takes.
        options = f"{self._parameters.get('options') or ''} -c enable_seqscan=off -c jit=off"
        options += f" -c idle_in_transaction_session_timeout={self._idle_limit_ms}"
        given = {
            "connect_timeout": max(2, math.ceil(min(_CONNECT_WITHIN_S, self.patience_s))),
            "application_name": "lastseat",
            "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
        }  # fmt: skip
        return {**given, **self._parameters, "options": options.strip(), "autocommit": True}

    @contextlib.contextmanager
    def _lent(self, until: float) -> Iterator[Patient]:
        """A connection for this block. What is not in order after it is closed."""
        if self._pid != os.getpid():
            detail = "The connections were made before this process was forked. Nothing was written: no --preload."
            raise Problem("engine_refused", detail)
        if not self._free.acquire(timeout=max(0.0, until - time.monotonic())):
            raise Problem(
                "pool_exhausted",
                f"All {self._size} connections of this process to PostgreSQL were in use. Nothing was written; raise "
                "LASTSEAT_POOL, or try again.",
                retry_after_s=1,
            )
        connection: Patient | None = None
        try:
            connection = self._idle_one() or self._new_one()
            connection.until = until + SPARE_S
            yield connection
        finally:
            if connection is not None:
                self._give_back(connection)
            self._free.release()

    def _new_one(self) -> Patient:
        try:
            return self.connect()
        except Problem as problem:
            # For the log, and not too often, what buyers are not told: which server it was, and why.
            if time.monotonic() >= self._warn_again:
                self._warn_again = time.monotonic() + _WARN_EVERY_S
                log.warning("no connection to PostgreSQL: %s", reason_of(problem.__cause__))
            raise

    def _idle_one(self) -> Patient | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not _has_something_to_read(connection):
                return connection
            connection.close()  # the engine has ended it, or is about to

    def _give_back(self, connection: Patient) -> None:
        with contextlib.suppress(psycopg.Error):
            if connection.pgconn.transaction_status in _OPEN:
                connection.until = time.monotonic() + SPARE_S
                connection.execute("ROLLBACK")
        if not connection.closed and connection.pgconn.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _begin(
        self, connection: Patient, begin: str, locks: list[str], until: float, blocked: Callable[[], None]
    ) -> None:
        """Begin, and take the locks, in one round trip."""
        with sorted_errors():
            if self._watched:
                try:
                    connection.execute(_script(begin, locks, GATE_PATIENCE_MS, _left_ms(until)))
                    return
                except psycopg.errors.LockNotAvailable:
                    connection.execute("ROLLBACK")
                    blocked()
            left = _left_ms(until)
            connection.execute(_script(begin, locks, left, left))


def commit(connection: Patient) -> None:
    """End the transaction. Errors: ``outcome_unknown`` (indefinite); else as before it, rolled back.

    No time limit of the engine's: where it waits for a standby, that would end the waiting and not the commit, and it
    would be told to the buyer as if the standby had it. This side's clock makes an indefinite answer of it.
    """
    try:
        done = connection.execute("SET LOCAL statement_timeout = 0; COMMIT")
        done.nextset()
    except psycopg.Error as error:
        raise problem_of_commit(error, connection.closed) from error
    if done.statusmessage != "COMMIT":
        raise Conflict("PostgreSQL rolled it back")


@contextlib.contextmanager
def sorted_errors() -> Iterator[None]:
    """PostgreSQL's errors as problems. For work of which nothing is committed when it fails."""
    try:
        yield
    except psycopg.Error as error:
        raise problem_of(error) from error


def _parsed(url: str) -> dict[str, Any]:
    try:
        return conninfo_to_dict(url)
    except psycopg.Error:
        # Its words are not repeated: they may quote the password.
        raise RefusedToStart(
            "LASTSEAT_STORE is no address that PostgreSQL understands. One is postgresql://user:password@host:5432/"
            "database?sslmode=require; in a password @ : / ? # % are written as %40 %3A %2F %3F %23 %25."
        ) from None


def _script(begin: str, locks: list[str], lock_ms: int, statement_ms: int) -> Any:
    limits = [f"SET LOCAL lock_timeout = {lock_ms}", f"SET LOCAL statement_timeout = {statement_ms}"]
    return "; ".join([begin, *limits, *(lock for lock in locks if lock)])


def _left_ms(until: float) -> int:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise Problem("lock_timeout", retry_after_s=1)
    return max(1, int(min(left_s, _FOREVER_S) * 1e3))


def _has_something_to_read(connection: Patient) -> bool:
    """Whether something came to a connection that nobody has asked anything; does not wait."""
    poll = _poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _poll() -> Any:
    if not patched():
        return select.poll()
    # gevent's would let the hub run, which nobody needs who does not wait.
    from gevent.monkey import get_original

    return get_original("select", "poll")()
