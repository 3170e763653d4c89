"""A ticket shop on SQLite, which has one lock for writers: on a whole database file, never on a row or a table.

So the events that share a file share a lock. One file for each event behaves like a row lock, one file for each table
like a table lock; one file for all is what SQLite offers itself. The statements are the same each time.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

Think = Callable[[], None]


class MustWait(Exception):
    """Another buyer has the lock."""


class SqliteShop:
    """Sells the tickets of events under one kind of lock; each event lies in a table."""

    kinds: ClassVar[Mapping[str, str]] = {
        "none": "read, then write, no transaction around both",
        "row": "a database file an event, BEGIN IMMEDIATE",
        "table": "a database file a table, BEGIN IMMEDIATE",
        "database": "one database file, BEGIN IMMEDIATE",
    }

    def __init__(self, kind: str, tables: Mapping[str, str], tickets: int, folder: Path) -> None:
        """``tables`` maps each event to its table; every event has the same number of tickets."""
        self._begin = "" if kind == "none" else "BEGIN IMMEDIATE"
        self._tables = tables
        self._files = {event: folder / _file_name(kind, table, event) for event, table in tables.items()}
        for event, table in tables.items():
            with self._open(event, 10) as database:
                database.execute(f"CREATE TABLE IF NOT EXISTS {table} (event TEXT PRIMARY KEY, remaining INTEGER)")
                database.execute(f"INSERT INTO {table} VALUES (?, ?)", (event, tickets))

    def buy(self, event: str, think: Think, wait_s: float) -> bool:
        """Reads the rest, thinks, writes one less. True if one was sold. After ``MustWait`` nothing was written."""
        table = self._tables[event]
        with self._open(event, wait_s) as database, _transaction(database, self._begin):
            (remaining,) = database.execute(f"SELECT remaining FROM {table} WHERE event = ?", (event,)).fetchone()
            think()
            if remaining < 1:
                return False
            # The number that was read decides the one that is written: two buyers who read the same lose a sale.
            database.execute(f"UPDATE {table} SET remaining = ? WHERE event = ?", (remaining - 1, event))
            return True

    @contextlib.contextmanager
    def _open(self, event: str, wait_s: float) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self._files[event], timeout=wait_s, isolation_level=None)) as database:
            # The cost of the disk is not the question here.
            database.execute("PRAGMA synchronous = OFF")
            yield database


def _file_name(kind: str, table: str, event: str) -> str:
    """Events that share a file share its lock."""
    covers = {"row": event, "table": table}.get(kind, "everything")
    return f"{kind}-{covers.replace(' ', '-')}.db"


@contextlib.contextmanager
def _transaction(database: sqlite3.Connection, begin: str) -> Iterator[None]:
    """A transaction; without ``begin`` each statement stands alone. Raises ``MustWait`` if the file is busy."""
    try:
        if begin:
            database.execute(begin)
        try:
            yield
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        if database.in_transaction:
            database.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if _busy(error):
            raise MustWait from None
        raise


def _busy(error: sqlite3.OperationalError) -> bool:
    # The lowest byte is the kind of error; the others say more about it.
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


BEGINNINGS = {
    "no transaction": ("", "DELETE"),
    "BEGIN": ("BEGIN", "DELETE"),
    "BEGIN IMMEDIATE": ("BEGIN IMMEDIATE", "DELETE"),
    "BEGIN EXCLUSIVE": ("BEGIN EXCLUSIVE", "DELETE"),
    "BEGIN EXCLUSIVE, WAL": ("BEGIN EXCLUSIVE", "WAL"),
}
"""The statement with which a transaction of SQLite begins, and the kind of journal."""


def last_ticket(beginning: str, folder: Path) -> tuple[str, str, int]:
    """Two buyers of the last ticket and a visitor who only looks, step by step in one thread; none of them waits.

    Returns the outcome for the second buyer and for the visitor, and the number of tickets that were sold.
    """
    begin, journal = BEGINNINGS[beginning]
    path = folder / f"{beginning.replace(' ', '-')}.db"
    with contextlib.ExitStack() as open_ones:
        first, second, visitor = (
            open_ones.enter_context(contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)))
            for _ in range(3)
        )
        for statement in (f"PRAGMA journal_mode = {journal}", "CREATE TABLE concerts (remaining INTEGER)"):
            first.execute(statement)
        first.execute("INSERT INTO concerts VALUES (1)")
        reads, writes = "SELECT remaining FROM concerts", "UPDATE concerts SET remaining = 0"
        _done(first, begin, reads)
        second_reads = _done(second, begin, reads)
        looked = "sees it" if _done(visitor, reads) else "must wait"
        sold = int(_done(first, writes))
        second_sells = second_reads and _done(second, writes)
        sold += second_sells
        if second_reads and not second_sells and second.in_transaction:
            second.execute("ROLLBACK")
        if first.in_transaction:
            first.execute("COMMIT")
    became = "sells it too" if second_sells else "refused when it writes" if second_reads else "must wait"
    return became, looked, sold


def _done(database: sqlite3.Connection, *statements: str) -> bool:
    """True if all statements were done, False if one of them met a lock."""
    try:
        for statement in statements:
            database.execute(statement).fetchall()
    except sqlite3.OperationalError as error:
        if not _busy(error):
            raise
        return False
    return True
