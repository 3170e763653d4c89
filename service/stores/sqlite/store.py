"""Store ``sqlite``: one SQLite database for all events, in the standard library's own module. What most would take.

``<data>/lastseat.db`` has a row an event with its counters and a row a record; keys, orders and buyers are found by
index, so a purchase costs nearly the same after a million orders as after none; so are the seats of a hall that are
held or sold, a row each. It is in WAL mode: readers wait for nobody, and there is one writer at a time for all events
together.

Guarantees: a view is one snapshot. What anybody can read is committed, and a commit (``synchronous=FULL``) syncs the
write-ahead log before it lets readers see it; so there is nothing left for ``make_durable``, and the guard
``immediate``, which is SQLite's own writer lock, is held while the disk is waited for. Survives a crash of process and
system if the device honours a flush. Does not guarantee: that nobody else wrote between a view and an append; that
takes a guard, and no constraint of the schema stands in for it: versions, keys, ticket numbers and seats collide
freely and the counters are written as they were read. Nor that a damaged page is noticed: SQLite checks its log, not
its pages.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec

from service.errors import Problem
from service.rules.inventory import Command, Event, Held, Outcome, Record, View, hold_after
from service.runtime.notifications import Blocked, ignore
from service.settings import Settings
from service.stores.base import CommitsAtomically, ComparesAndSets, Conflict, LockStatement, Store, Transactional
from service.stores.columns import instant, microseconds
from service.stores.halls import Halls
from service.stores.reading import Records, damaged, show, source_of, wanted_by, with_hall
from service.stores.seat_reading import SeatsWanted, seats_of, seats_wanted
from service.stores.sqlite.atomic import BOUGHT, DUE, TRANSLATED, Atomically
from service.stores.sqlite.connections import Connections
from service.stores.sqlite.schema import RECORD, check_file, insert, make_file, record_of

PAGE = 2_000
SEATS_BETWEEN = "SELECT seat, state FROM seats WHERE event = ? AND seat >= ? AND seat < ?"
_events = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


class _Source(NamedTuple):
    """Where a view came from: the event's row, and the version that was read."""

    row: int
    version: int


class Sqlite(Store, ComparesAndSets, Transactional, CommitsAtomically):
    name = "sqlite"
    translates = TRANSLATED

    def __init__(self, settings: Settings) -> None:
        self._path = settings.data / "lastseat.db"
        make_file(self._path)
        check_file(self._path)
        self._connections = Connections(self._path, settings.lock_timeout_s)
        self.halls = Halls(self._read_hall, self._write_hall)

    def create(self, event: Event) -> None:
        with self._connections.writing() as connection:
            new = "INSERT OR IGNORE INTO events (name, about) VALUES (?, ?)"
            if not connection.execute(new, (event.event, _encoder.encode(event).decode())).rowcount:
                raise Problem("event_exists", f"Nothing was changed in {event.event!r}.")

    def delete(self, event: str) -> None:
        with self._connections.writing() as connection:
            row = connection.execute("SELECT id FROM events WHERE name = ?", (event,)).fetchone()
            if row is None:
                raise Problem("unknown_event")
            connection.execute("DELETE FROM open_holds WHERE event = ?", row)
            connection.execute("DELETE FROM records WHERE event = ?", row)
            connection.execute("DELETE FROM seats WHERE event = ?", row)
            connection.execute("DELETE FROM events WHERE id = ?", row)

    def names(self) -> list[str]:
        rows = self._connections.read(lambda each: each.execute("SELECT name FROM events ORDER BY name").fetchall())
        return [name for (name,) in rows]

    def view(
        self, event: str, commands: Sequence[Command] = (), now: datetime | None = None, *, order: str | None = None
    ) -> View:
        return self._connections.read(lambda connection: self._view(connection, event, commands, order, now))

    def seats(self, event: str) -> View:
        def find(connection: sqlite3.Connection) -> View:
            view = self._view(connection, event, (), None, None)
            self._show_seats(connection, view, SeatsWanted([(0, len(with_hall(view).seats))], []))
            return view

        return self._connections.read(find)

    def append(self, views: Sequence[View]) -> Sequence[object]:
        return self._append(views, if_unchanged=False)

    def append_if_unchanged(self, views: Sequence[View]) -> Sequence[object]:
        return self._append(views, if_unchanged=True)

    def _append(self, views: Sequence[View], *, if_unchanged: bool) -> Sequence[object]:
        with self._connections.writing() as connection:
            if if_unchanged:
                for view in views:
                    _refuse_changed(connection, source_of(view, _Source))
            for view in views:
                self._write(connection, source_of(view, _Source).row, view)
        return [None] * len(views)

    def transaction(
        self, event: str, lock: LockStatement, deadline: float, blocked: Blocked = ignore
    ) -> AbstractContextManager[object]:
        """There is one lock, that of the writer, for all events."""
        return self._connections.writing(deadline, blocked)

    @property
    def in_transaction(self) -> bool:
        return self._connections.is_writing

    def commit_atomically(
        self, event: str, commands: Sequence[Command], now: datetime, deadline: float, blocked: Blocked = ignore
    ) -> tuple[list[Outcome], object]:
        with self._connections.writing(deadline, blocked) as connection:
            row, about, *_ = self._row(connection, event)

            def look(command: Command) -> View:
                return self._view(connection, event, [command], None, None)

            engine = Atomically(connection, row, about, self.halls.of(about), now=now, look=look, path=self._path)
            return [engine.decide(command) for command in commands], None

    def make_durable(self, event: str, position: object) -> None:
        """Nothing is left to do: what was committed, and whatever a reader can see, was synced before."""

    def audit(self, event: str) -> tuple[Event, Records, object]:
        def find(connection: sqlite3.Connection) -> tuple[Event, Records]:
            row, about, *_ = self._row(connection, event)
            bounds = "SELECT count(*), coalesce(max(id), 0) FROM records WHERE event = ?"
            count, last = connection.execute(bounds, (row,)).fetchone()
            return about, Records(count, lambda: self._records(row, last))

        return *self._connections.read(find), None

    def _records(self, row: int, last: int) -> Iterator[Record]:
        asked = f"SELECT id, {RECORD} FROM records WHERE event = ? AND id > ? AND id <= ? ORDER BY id LIMIT {PAGE}"
        after = 0
        while after < last:
            place = (row, after, last)
            found = self._connections.read(partial(_rows, asked, place))
            if not found:
                raise Problem("unknown_event", "It was removed while its audit was read.")
            after = found[-1][0]
            for _, *columns in found:
                yield record_of(columns, self._path)

    def tidy(self) -> None:
        for leftover in self._path.parent.glob(f"{self._path.name}.*.tmp*"):
            leftover.unlink(missing_ok=True)

    def close(self) -> None:
        """Close what this process has open. A store that nobody closed is recovered by the next one to open it."""
        self._connections.close()

    def _read_hall(self, name: str) -> bytes | None:
        asked = "SELECT CAST(plan AS BLOB) FROM halls WHERE name = ?"
        found: tuple[bytes] | None = self._connections.read(lambda each: each.execute(asked, (name,)).fetchone())
        return None if found is None else found[0]

    def _write_hall(self, name: str, content: bytes) -> None:
        with self._connections.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO halls (name, plan) VALUES (?, ?)", (name, content))

    def _row(self, connection: sqlite3.Connection, event: str) -> tuple[int, Event, int, int, int, int]:
        asked = "SELECT id, about, version, sold, held, next_ticket FROM events WHERE name = ?"
        found = connection.execute(asked, (event,)).fetchone()
        if found is None:
            raise Problem("unknown_event")
        row, about, *counters = found
        try:
            return row, _events.decode(about), *counters
        except (msgspec.DecodeError, TypeError) as error:
            raise damaged(self._path.name, error) from None

    def _view(
        self,
        connection: sqlite3.Connection,
        event: str,
        commands: Sequence[Command],
        order: str | None,
        now: datetime | None,
    ) -> View:
        row, about, version, sold, held, next_ticket = self._row(connection, event)
        view = View(about, version, sold, held, next_ticket, source=_Source(row, version))
        wanted = wanted_by(commands, order)
        show(
            view,
            self._find(connection, row, "key", wanted.keys),
            self._find(connection, row, "order_id", wanted.orders),
            self._find(connection, row, "hold_id", wanted.holds),
        )
        if now is not None and held:
            view.due = self._due(connection, row, now)
        if about.max_per_buyer is not None:
            buyers = {*wanted.buyers, *(each.buyer for each in view.holds.values() if each.buyer is not None)}
            view.bought.update(_bought(connection, row, buyers))
        view.hall = self.halls.of(about)
        if view.hall is not None:
            view.seats = bytearray(view.hall.size)
            wanted_seats = seats_wanted(view.hall, commands)
            wanted_seats.named.extend(seats_of(view.hall, view.holds.values()))
            self._show_seats(connection, view, wanted_seats)
        return view

    def _show_seats(self, connection: sqlite3.Connection, view: View, wanted: SeatsWanted) -> None:
        """Let a view see the states of seats. Those that have no row are free."""
        row = source_of(view, _Source).row
        found: list[tuple[int, int]] = []
        for first, end in wanted.spans:
            found += connection.execute(SEATS_BETWEEN, (row, first, end)).fetchall()
        if wanted.named:
            found += connection.execute(seats_at(len(wanted.named)), (row, *wanted.named)).fetchall()
        try:
            for seat, state in found:
                view.seats[seat] = state
        except (IndexError, ValueError, TypeError):
            raise damaged(
                self._path.name, f"a seat of {view.event.event!r} is at {seat!r}, in state {state!r}"
            ) from None

    def _due(self, connection: sqlite3.Connection, row: int, now: datetime) -> list[Held]:
        """The open holds that have ended by ``now``, in the order in which they expire."""
        rows = connection.execute(DUE, {"row": row, "now": microseconds(now)}).fetchall()
        records = [record_of(found, self._path) for found in rows]
        return [held for record in records if (held := hold_after(record, None)) is not None]

    def next_expiry(self, event: str) -> datetime | None:
        def find(connection: sqlite3.Connection) -> datetime | None:
            row, *_ = self._row(connection, event)
            asked = "SELECT min(expires_at) FROM open_holds WHERE event = ?"
            [ends] = connection.execute(asked, (row,)).fetchone()
            return None if ends is None else instant(ends)

        return self._connections.read(find)

    def _find(self, connection: sqlite3.Connection, row: int, column: str, values: Sequence[str]) -> Iterable[Record]:
        """The records of an event that have one of the values in a column with an index, as they were written."""
        if not values:
            return ()
        places = ",".join("?" * len(values))
        # With a plus, since SQLite would else read all records of the event to have them in this order.
        asked = f"SELECT {RECORD} FROM records WHERE event = ? AND {column} IN ({places}) ORDER BY +id"
        return [record_of(found, self._path) for found in connection.execute(asked, (row, *values)).fetchall()]

    @staticmethod
    def _write(connection: sqlite3.Connection, row: int, view: View) -> None:
        counters = "UPDATE events SET version = ?, sold = ?, held = ?, next_ticket = ? WHERE id = ?"
        if not connection.execute(counters, (view.version, view.sold, view.held, view.next_ticket, row)).rowcount:
            raise Problem("unknown_event")
        if any(record.about is not None for record in view.fresh):
            about = _encoder.encode(view.event).decode()
            connection.execute("UPDATE events SET about = ? WHERE id = ?", (about, row))
        insert(connection, row, view.fresh, view.hall)


def seats_at(count: int) -> str:
    """The question for the states of as many seats."""
    return f"SELECT seat, state FROM seats WHERE event = ? AND seat IN ({','.join('?' * count)})"


def _rows(query: str, parameters: Sequence[object], connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return connection.execute(query, parameters).fetchall()


def _refuse_changed(connection: sqlite3.Connection, source: _Source) -> None:
    """Raises ``Conflict`` where the event is not at the version that was read."""
    found = connection.execute("SELECT version FROM events WHERE id = ?", (source.row,)).fetchone()
    if found is None or found[0] != source.version:
        raise Conflict


def _bought(connection: sqlite3.Connection, row: int, buyers: set[str]) -> Iterator[tuple[str, int]]:
    """Tickets that each of the buyers has in open orders and open holds."""
    for buyer in buyers:
        yield buyer, connection.execute(f"SELECT {BOUGHT}", {"row": row, "buyer": buyer}).fetchone()[0]
