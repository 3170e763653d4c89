"""Connections to one PostgreSQL for many threads or greenlets, at most ``size`` of them in a process.

A caller takes an idle connection or makes one itself, so it learns at once whether the engine is
away, the password is wrong or all connections are lent. (``psycopg_pool`` makes them in threads of its own: its caller
learns only that time has passed, and after an outage they wait up to as long again before they look.) An idle one that
the engine has closed is seen before it is used: its socket has something to read.

Each wait for the engine is limited by this side's clock, in case the engine stands still or a cable is cut.

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
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import generators, waiting
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from service.errors import Problem, RefusedToStart
from service.runtime.gevent import patched
from service.stores.postgres.errors import STRANGE_OPTION, Silent, problem_of_connecting, reason_of
from service.stores.postgres.scripts import Prepared

log = logging.getLogger("lastseat")

SPARE_S = 2.0
"""How much longer this side waits than it has allowed the engine to."""
CONNECT_WITHIN_S = 5.0
_WARN_EVERY_S = 10.0
_SUCCEEDED = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK})
_OPEN = frozenset({TransactionStatus.INTRANS, TransactionStatus.INERROR})


class Ran(NamedTuple):
    """What became of a script."""

    results: list[PGresult]
    """Of the statements that succeeded, in order: all before the one that failed."""
    error: psycopg.Error | None
    """Why the next one failed. Without an SQLSTATE it is this side's own, and nobody knows how far the engine came."""


class Patient(psycopg.Connection[Any]):
    """A connection that waits for the engine until ``until`` (monotonic seconds), and closes itself then."""

    until = math.inf
    shared: tuple[str, ...] = ()
    """Empty where the session is this connection's own. Else a pooler gives each transaction to any session it has:
    nothing that is set, or prepared by name, is there in the next one; and these are to be set at every beginning."""
    prepared: set[str]
    """The names of the statements that are prepared in the session."""

    def call(self, statement: Prepared, parameters: Sequence[object]) -> str:
        """A part of a script that carries the statement out; where that lasts it is prepared now, if it is not yet.

        Raises psycopg's error where it cannot be.
        """
        if self.shared:
            return statement.written_out(parameters)
        if statement.name not in self.prepared:
            self.execute(f"PREPARE {statement.name} AS {statement.text}")
            self.prepared.add(statement.name)
        return statement.executed(parameters)

    def run(self, statements: Sequence[str]) -> Ran:
        """Send a script and wait for all of its results: one round trip. What fails is returned, and not raised."""
        script = ";".join(statements).encode()
        try:
            with self.lock:
                self.pgconn.send_query(script)
                results = self.wait(generators.execute(self.pgconn))
        except psycopg.Error as error:
            return Ran([], error)
        last = results[-1]
        if last.status in _SUCCEEDED:
            return Ran(results, None)
        return Ran(results[:-1], error_from_result(last))

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

    def __init__(self, url: str, size: int, patience_s: float, idle_limit_s: float) -> None:
        """``idle_limit_s``: a transaction in which nothing is asked for so long is ended by the engine, 0 never."""
        if patched() and waiting.wait is getattr(waiting, "wait_c", None):
            raise RefusedToStart(
                "psycopg was imported before gevent's monkey patch: waiting for PostgreSQL would stop every greenlet. "
                "Do not import it in gunicorn.conf.py, and start without --preload."
            )
        self._parameters = _parsed(url)
        self._warn_again = 0.0
        self.patience_s = patience_s
        # No sequential scan: a plan made while a table was small would be used until somebody analyses it. What that
        # adds to a plan's estimated cost would have it compiled (jit), for a hundred times what running it takes. One
        # plan for all parameters: planning the view for the ones at hand takes four times as long as reading it.
        idle_limit_ms = int(idle_limit_s * 1e3)
        self._settings = (
            "enable_seqscan=off", "jit=off", "plan_cache_mode=force_generic_plan",
            f"idle_in_transaction_session_timeout={idle_limit_ms}",
        )  # fmt: skip
        self._takes_options = True
        self._free = threading.Semaphore(size)
        self._size = size
        self._idle: list[Patient] = []
        self._pid = os.getpid()

    def connect(self) -> Patient:
        """A new connection, not counted. Errors (definite): as of ``lent``."""
        try:
            connection = self._made()
        except psycopg.Error as error:
            raise problem_of_connecting(error) from error
        connection.until = time.monotonic() + self.patience_s
        return connection

    def _made(self) -> Patient:
        try:
            connection = Patient.connect(**self._arguments())
            connection.prepared = set()
            # psycopg shall prepare nothing by itself: it would deallocate ours together with its own.
            connection.prepare_threshold = None
        except psycopg.OperationalError as error:
            # Options that the address names are not left out behind anybody's back.
            if STRANGE_OPTION not in str(error) or self._parameters.get("options") or not self._takes_options:
                raise
            self._takes_options = False
            return self._made()
        connection.until = time.monotonic() + min(CONNECT_WITHIN_S, self.patience_s)
        try:
            # A pooler tells each client a process id of its own making, by which it finds whose query to cancel.
            [(pid,)] = connection.execute("SELECT pg_backend_pid()").fetchall()
        except BaseException:
            connection.close()
            raise
        if not self._takes_options or pid != connection.info.backend_pid:
            connection.shared = tuple(f"SET LOCAL {setting}" for setting in self._settings)
        return connection

    def close(self) -> None:
        """Close what is idle."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _arguments(self) -> dict[str, Any]:
        given = {
            "connect_timeout": max(2, math.ceil(min(CONNECT_WITHIN_S, self.patience_s))),
            "application_name": "lastseat",
            "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
        }  # fmt: skip
        ours: dict[str, Any] = {"autocommit": True, "client_encoding": "UTF8"}
        if self._takes_options:
            options = [self._parameters.get("options") or "", *(f"-c {setting}" for setting in self._settings)]
            ours["options"] = " ".join(options).strip()
        return {**given, **self._parameters, **ours}

    @contextlib.contextmanager
    def lent(self, until: float) -> Iterator[Patient]:
        """A connection for this block, which waits until ``until`` (monotonic seconds) and a little longer.

        A transaction that is open after it is rolled back. Errors (definite): ``pool_exhausted``,
        ``engine_unreachable``, ``engine_refused``.
        """
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
            if not has_something_to_read(connection):
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


def _parsed(url: str) -> dict[str, Any]:
    try:
        return conninfo_to_dict(url)
    except psycopg.Error:
        # Its words are not repeated: they may quote the password.
        raise RefusedToStart(
            "LASTSEAT_STORE is no address that PostgreSQL understands. One is postgresql://user:password@host:5432/"
            "database?sslmode=require; in a password @ : / ? # % are written as %40 %3A %2F %3F %23 %25."
        ) from None


def has_something_to_read(connection: Patient) -> bool:
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
