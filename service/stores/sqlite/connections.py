"""Connections to one SQLite database for many threads or greenlets, and what SQLite's errors mean for a buyer.

SQLite's own way to wait for a lock sleeps in C: under gevent that stops every greenlet of the process, the holder too,
who could then never give the lock back. So SQLite never waits here (its busy time-out is 0): who is told that the
database is busy sleeps as Python does and asks again, until a deadline, after which the answer is a definite 503.

Reading takes a connection for as long as it does not let anybody else run, so there are no more of them than threads.
Writing takes one for a whole transaction. Of all writers of a process one at a time asks SQLite for the lock, the
others stand behind an ordinary lock, which hands over at once and polls for nothing. The commit waits for the disk in
a native thread where that would stop the others (``runtime.gevent``).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from errno import EIO
from pathlib import Path
from typing import TypeVar

from service.errors import Problem
from service.runtime.files import CommitFailed, commit_failed, storage_problems
from service.runtime.gevent import call_blocking
from service.runtime.notifications import Blocked, ignore, take_lock
from service.stores.base import OneRefused
from service.stores.reading import damaged

T = TypeVar("T")

POLL_S = 0.0005
MOST_IDLE = 32
_CACHED_STATEMENTS = 256

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_REFUSED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# A value that is too large, and a rule that somebody added to the tables.
_FOR_ITS_OWN_SAKE = {sqlite3.DataError: "invalid_value", sqlite3.IntegrityError: "storage_refused"}
# In a COMMIT these come before the frame that commits has been written whole; so it never counts.
_NOT_COMMITTED = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY})


class Connections:
    """All connections of this process to the database at ``path``, which exists."""

    def __init__(self, path: Path, patience_s: float) -> None:
        self._path = path
        self._patience_s = patience_s
        self._idle: list[sqlite3.Connection] = []
        self._turn = threading.Lock()
        self._mine = threading.local()
        self._file = _which_file(path)
        self._pid = os.getpid()

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What ``work`` finds in one snapshot; inside ``writing``, in its transaction. ``work`` must not wait."""
        self._refuse_after_fork()
        mine: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if mine is not None:
            with self.sorted_errors():
                return work(mine)
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                with self.sorted_errors(), self._lent() as connection:
                    connection.execute("BEGIN")
                    return work(connection)
            except Busy:
                _sleep_until_next_look(deadline)

    @property
    def is_writing(self) -> bool:
        """Whether this thread or greenlet is inside ``writing``."""
        return getattr(self._mine, "connection", None) is not None

    @contextlib.contextmanager
    def writing(self, deadline: float | None = None, blocked: Blocked = ignore) -> Iterator[sqlite3.Connection]:
        """A transaction of the only writer of the database; committed at the end, rolled back where it raises.

        Inside, it may be entered again; all of it is committed with the outermost block.
        Errors: ``lock_timeout``, ``storage_full``, ``storage_refused``, ``corrupt_document`` (definite);
        ``CommitFailed`` where nobody can say whether it was committed.
        """
        self._refuse_after_fork()
        mine: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if mine is not None:
            yield mine
            return
        until = time.monotonic() + self._patience_s if deadline is None else deadline
        has_waited = take_lock(self._turn, until, blocked)
        try:
            with self.sorted_errors(), self._lent() as connection:
                _begin_immediate(connection, until, ignore if has_waited else blocked)
                self._mine.connection = connection
                try:
                    yield connection
                finally:
                    self._mine.connection = None
                _commit(connection)
        finally:
            self._turn.release()

    @contextlib.contextmanager
    def sorted_errors(self) -> Iterator[None]:
        """SQLite's errors as problems. For work that commits nothing when it fails."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._problem(error) from error

    def close(self) -> None:
        """Close what is idle; the last one of all processes moves the write-ahead log into the database."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _problem(self, error: sqlite3.Error) -> Exception:
        code = primary_code(error)
        if code in _BUSY:
            return Busy()
        if code == sqlite3.SQLITE_FULL:
            return Problem("storage_full", "Make room in the data directory and try again.", retry_after_s=5)
        if code in _REFUSED:
            detail = f"The database refused ({error}). Nothing was changed; mend it and try again."
            return Problem("storage_refused", detail, retry_after_s=5)
        if code in _DAMAGED:
            return damaged(self._path.name, error)
        own = next((problem for kind, problem in _FOR_ITS_OWN_SAKE.items() if isinstance(error, kind)), None)
        return error if own is None else OneRefused(own, f"The database refused it ({error}). Nothing was written.")

    @contextlib.contextmanager
    def _lent(self) -> Iterator[sqlite3.Connection]:
        """A connection for this block. One that failed is closed, else it goes back, without a transaction."""
        self._refuse_another_file()
        try:
            # Not "if there is one": between that look and the taking another thread may take the last.
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        try:
            yield connection
            if connection.in_transaction:
                connection.rollback()
        except BaseException as error:
            # Closing rolls back. What failed may be the connection's own fault; being busy is not.
            if isinstance(error, sqlite3.Error | CommitFailed) and not is_busy(error):
                connection.close()
                raise
            with contextlib.suppress(sqlite3.Error):
                connection.rollback()
            self._give_back(connection)
            raise
        self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if len(self._idle) < MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = open_connection(self._path)
        try:
            self._sync_what_was_recovered(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _sync_what_was_recovered(self, connection: sqlite3.Connection) -> None:
        """The first to open a database after a crash recovers its log: also a commit that was written and never
        synced, for the page cache survives kill -9. Nobody may be told of it before it is on the disk."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                connection.execute("PRAGMA schema_version").fetchall()
                break
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise
            _sleep_until_next_look(deadline)
        # Never so for the database itself: closing any descriptor of it would drop this process's locks on it.
        with storage_problems(), contextlib.suppress(FileNotFoundError):
            fd = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                with commit_failed(self._path):
                    os.fsync(fd)
            finally:
                os.close(fd)

    def _refuse_after_fork(self) -> None:
        """A fork copies what SQLite believes to hold, and not the locks themselves; a new connection to the same file
        would believe it too, so there is none that this process could use."""
        if self._pid != os.getpid():
            detail = "The database was opened before this process was forked, and SQLite's locks do not survive that. "
            raise Problem("storage_refused", f"{detail}Nothing was written. Open it in the worker: no --preload.")

    def _refuse_another_file(self) -> None:
        """Open connections stay with the file they were opened on. If another one gets its name, some processes sell
        from the old one and some from the new one, and each sells all that is left."""
        if _which_file(self._path) != self._file:
            detail = (
                f"{self._path.name} in the data directory was removed or replaced while the service ran. Nothing was "
                "written. Stop the service, put back the file that is meant, and start again."
            )
            raise Problem("corrupt_document", detail)


class Busy(Problem):
    """Somebody else has the lock that this needs; past the deadline it is the definite ``lock_timeout``."""

    def __init__(self) -> None:
        super().__init__("lock_timeout", retry_after_s=1)


def open_connection(path: Path) -> sqlite3.Connection:
    """A connection to a database that exists, as this store needs it: it never waits and it syncs every commit."""
    connection = sqlite3.connect(
        f"file:{_quoted(path)}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_CACHED_STATEMENTS,
    )
    try:
        connection.execute("PRAGMA synchronous=FULL")
        # macOS alone: there, only this reaches the disk itself.
        connection.execute("PRAGMA fullfsync=ON")
        connection.execute("PRAGMA checkpoint_fullfsync=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's result code without its details; SQLITE_ERROR where the module itself raised it."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def is_busy(error: BaseException) -> bool:
    return isinstance(error, Busy) or (isinstance(error, sqlite3.Error) and primary_code(error) in _BUSY)


def _begin_immediate(connection: sqlite3.Connection, deadline: float, blocked: Blocked) -> None:
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.Error as error:
            if not is_busy(error):
                raise
        blocked()
        blocked = ignore
        _sleep_until_next_look(deadline)


def _commit(connection: sqlite3.Connection) -> None:
    try:
        call_blocking(lambda: connection.execute("COMMIT"))
    except sqlite3.Error as error:
        written = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_WRITE
        if written or primary_code(error) in _NOT_COMMITTED:
            raise
        # The frames may all be in the log, only not synced or not announced: the next recovery may find them.
        raise CommitFailed(EIO, str(error)) from error


def _sleep_until_next_look(deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise Problem("lock_timeout", retry_after_s=1)
    time.sleep(POLL_S)


def _which_file(path: Path) -> tuple[int, int]:
    try:
        stat = os.stat(path)  # noqa: PTH116 - for every transaction: pathlib costs several microseconds
    except FileNotFoundError:
        return (0, 0)
    return (stat.st_dev, stat.st_ino)


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
