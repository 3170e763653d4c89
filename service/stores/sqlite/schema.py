"""The tables of ``lastseat.db``, how the file comes to be, and how a record becomes a row and a row a record.

The file is made beside its name, whole and synced, and then gets the name: so a file of this name that is empty or
half is never one that is just being made. It is damaged, and to begin again in it would sell every seat anew.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import msgspec

from service.errors import RefusedToStart
from service.rules.halls import FREE, HELD, SOLD, Hall
from service.rules.inventory import Record
from service.rules.records import Kind
from service.runtime.files import temporary_beside
from service.stores.columns import first_ticket, instant, microseconds
from service.stores.reading import damaged, more_in, more_of
from service.stores.seat_reading import indices
from service.stores.sqlite.connections import is_busy, open_connection

T = TypeVar("T")

APPLICATION = 0x4C535431
FORMAT = 4

# No index is unique but the one on an event's name: without a guard two sales may have one version, one key, one
# ticket, and the store keeps both. An order's tickets follow one another, so the first of them tells all.
#
# An event's id is never given out again; a record's may be, when its event was deleted, for it is only looked for
# together with its event's. To keep it from that (AUTOINCREMENT) every sale would write one page more.
#
# ``open_holds`` is derived from the records: the holds that are open, in the order in which they expire.
_HOLDS = """
CREATE INDEX records_by_hold ON records (event, hold_id) WHERE hold_id IS NOT NULL;
CREATE TABLE open_holds (
    event INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    hold_id TEXT NOT NULL,
    PRIMARY KEY (event, expires_at, version, hold_id)
) WITHOUT ROWID;
"""

# ``seats`` has those that are held or sold. A second sale of a seat replaces the first one's row: nobody is refused.
_HALLS = """
CREATE TABLE halls (
    name TEXT PRIMARY KEY,
    plan BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE seats (
    event INTEGER NOT NULL,
    seat INTEGER NOT NULL,
    state INTEGER NOT NULL,
    PRIMARY KEY (event, seat)
) WITHOUT ROWID;
"""

_SCHEMA = f"""

PRAGMA journal_mode = WAL;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    about TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 0,
    sold INTEGER NOT NULL DEFAULT 0,
    next_ticket INTEGER NOT NULL DEFAULT 1,
    held INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    event INTEGER NOT NULL,
    version INTEGER NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    order_id TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    first_ticket INTEGER NOT NULL,
    remaining INTEGER NOT NULL,
    request TEXT NOT NULL,
    buyer TEXT,
    hold_id TEXT,
    expires_at INTEGER,
    cart TEXT,
    seats TEXT,
    more TEXT
);
CREATE INDEX records_of_event ON records (event);
CREATE INDEX records_by_key ON records (event, key);
CREATE INDEX records_by_order ON records (event, order_id);
CREATE INDEX records_by_buyer ON records (event, buyer, kind, quantity) WHERE buyer IS NOT NULL;
{_HOLDS}{_HALLS}"""

_FROM_1 = f"""
ALTER TABLE events ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE records ADD COLUMN hold_id TEXT;
ALTER TABLE records ADD COLUMN expires_at INTEGER;
ALTER TABLE records ADD COLUMN cart TEXT;
{_HOLDS}"""
_FROM_3 = f"""
ALTER TABLE records ADD COLUMN seats TEXT;
ALTER TABLE records ADD COLUMN more TEXT;
{_HALLS}
PRAGMA user_version = {FORMAT}"""
_OLDER = (1, 3)
_PATIENCE_S, _POLL_S = 10.0, 0.005

RECORD = (
    "version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer, hold_id, expires_at, cart, "
    "seats, more"
)
_INSERT = f"INSERT INTO records (event, {RECORD}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OPEN = "INSERT OR IGNORE INTO open_holds (event, expires_at, version, hold_id) VALUES (?, ?, ?, ?)"
# By the whole primary key: the record that made the hold says when it ends.
_CLOSE = """
    DELETE FROM open_holds WHERE (event, expires_at, version, hold_id) IN (
        SELECT event, expires_at, version, hold_id FROM records WHERE event = ? AND hold_id = ? AND kind = 'held'
    )
"""
_TAKE_SEAT = "INSERT OR REPLACE INTO seats (event, seat, state) VALUES (?, ?, ?)"
_GIVE_SEAT_BACK = "DELETE FROM seats WHERE event = ? AND seat = ?"
_KINDS = frozenset(get_args(Kind))
_seats = msgspec.json.Decoder(tuple[str, ...])


def make_file(path: Path) -> None:
    """Let there be a database at ``path``; one that exists, also one made by another process just now, is left."""
    if path.exists():
        return
    temporary = temporary_beside(path)
    try:
        connection = sqlite3.connect(temporary, isolation_level=None)
        try:
            connection.executescript(_SCHEMA)
        finally:
            connection.close()
        _sync(temporary)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    except (sqlite3.Error, OSError) as error:
        # Another process was faster, began its epoch, and tidied ours away as a leftover while it was being made.
        if not path.exists():
            if isinstance(error, OSError):
                raise
            raise OSError(0, f"SQLite says: {error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


def check_file(path: Path) -> None:
    """Raise ``RefusedToStart`` for a file that is not this store's database, and where WAL mode does not work.

    One of an older format is brought to this one.
    """
    try:
        application, form, mode = _while_not_busy(path, _about)
    except sqlite3.Error as error:
        raise RefusedToStart(str(damaged(path.name, error).detail)) from None
    if application != APPLICATION:
        raise RefusedToStart(str(damaged(path.name, "it is empty or was made by another program").detail))
    if form in _OLDER:
        upgrade_file(path)
    elif form != FORMAT:
        raise RefusedToStart(f"{path} has format {form}, and this service reads {FORMAT}. Nothing was written to it.")
    if mode != "wal":
        raise RefusedToStart(
            f"{path} cannot have a write-ahead log here (journal mode {mode!r}), as on some network file systems. "
            "Let LASTSEAT_DATA name a local directory."
        )


def upgrade_file(path: Path) -> None:
    """Bring a database of format 1, from before holds, or 3, from before halls, to this one, whole or not at all; any
    other is left as it is."""
    _while_not_busy(path, _upgrade)


def _while_not_busy(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    """What ``work`` does on a connection of its own, as soon as no other process has locked the file.

    Workers that start together meet here: who closes the file last, recovers it or upgrades it has it alone meanwhile.
    Raises ``RefusedToStart`` where it stays locked.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with contextlib.closing(open_connection(path)) as connection:
                return work(connection)
        except sqlite3.Error as error:
            if not is_busy(error):
                raise
            if time.monotonic() > deadline:
                raise RefusedToStart(
                    f"{path} has been locked by another program for {_PATIENCE_S:g} s. Nothing was written to it. End "
                    "what locks it (a backup, a shell) and start again."
                ) from None
        time.sleep(_POLL_S)


def _about(connection: sqlite3.Connection) -> tuple[int, int, str]:
    """Whose the file is, its format, and its journal mode."""
    [application], [form], [mode] = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version", "journal_mode")
    )
    connection.execute("SELECT 1 FROM events, records LIMIT 1").fetchall()
    return application, form, mode


def _upgrade(connection: sqlite3.Connection) -> None:
    if _form_of(connection) not in _OLDER:
        return
    connection.execute("BEGIN IMMEDIATE")
    with connection:  # commits, or rolls back what failed
        form = _form_of(connection)
        if form in _OLDER:
            for statement in (_FROM_1 * (form == 1) + _FROM_3).split(";"):
                connection.execute(statement)


def _form_of(connection: sqlite3.Connection) -> int:
    [form] = connection.execute("PRAGMA user_version").fetchone()
    return cast(int, form)


def insert(connection: sqlite3.Connection, row: int, records: Sequence[Record], hall: Hall | None) -> None:
    """Write records as they are, in their order, and of an event with a hall what they make of the seats."""
    connection.executemany(_INSERT, [(row, *_columns(record)) for record in records])
    for record in records:
        if record.kind == "held" and record.expires_at is not None:
            connection.execute(_OPEN, (row, microseconds(record.expires_at), record.version, record.hold))
        elif record.hold:
            connection.execute(_CLOSE, (row, record.hold))
        if hall is not None and record.seats:
            state = SOLD if record.sold > 0 else HELD if record.held > 0 else FREE
            write_seats(connection, row, indices(hall, record.seats), state)


def write_seats(connection: sqlite3.Connection, row: int, places: Sequence[int], state: int) -> None:
    """Let the seats at these indices have a state, whatever they had before."""
    if state == FREE:
        connection.executemany(_GIVE_SEAT_BACK, [(row, place) for place in places])
    else:
        connection.executemany(_TAKE_SEAT, [(row, place, state) for place in places])


def record_of(columns: Sequence[Any], path: Path) -> Record:
    """A record from its row, in the order of ``RECORD``. Errors: ``corrupt_document``."""
    version, kind, key, order, quantity, first, remaining, request, buyer, hold, ends, cart, seats, more = columns
    if kind not in _KINDS or not all(isinstance(number, int) for number in (version, quantity, first, remaining)):
        raise damaged(path.name, f"a record has kind {kind!r}, version {version!r}, tickets {first!r} + {quantity!r}")
    tickets = tuple(range(first, first + quantity))
    expires_at = None if ends is None else instant(ends)
    return Record(
        version, cast(Kind, kind), key, order, quantity, tickets, remaining, request, buyer, hold or "", expires_at,
        cart or "", () if seats is None else seats_in(seats, path),
        *msgspec.structs.astuple(_decoded(more_in, "more", more, path)),
    )  # fmt: skip


def seats_in(content: str, path: Path) -> tuple[str, ...]:
    """The ids of seats as a record has them. Errors: ``corrupt_document``."""
    return _decoded(_seats.decode, "seats", content, path)


def _decoded(decode: Callable[[Any], T], what: str, content: str | None, path: Path) -> T:
    try:
        return decode(content)
    except (msgspec.DecodeError, TypeError) as error:
        raise damaged(path.name, f"a record has {what} {content!r}: {error}") from None


def _columns(record: Record) -> tuple[object, ...]:
    return (
        record.version, record.kind, record.key, record.order, record.quantity, first_ticket(record),
        record.remaining, record.request, record.buyer, record.hold or None,
        None if record.expires_at is None else microseconds(record.expires_at), record.cart or None,
        msgspec.json.encode(record.seats).decode() if record.seats else None, more_of(record),
    )  # fmt: skip


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
