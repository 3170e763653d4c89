"""Store ``postgres``: one PostgreSQL for the offices of many hosts.

The schema ``lastseat`` has a row an event with its counters, a row a record, and a row a seat that is held or sold;
keys, orders, buyers and seats are found by index. A view is one statement, so one snapshot, with the guard's switch in
it; what is written goes as one statement for a whole batch. Every transaction that writes holds a shared lock on the
table ``control`` from its beginning to its commit, and the switch the exclusive one: when a switch returns no older
transaction can still commit.

Guarantees, with the engine's own settings (``fsync``, ``synchronous_commit`` and ``full_page_writes`` on): what
anybody can read was flushed before, so there is nothing left for ``make_durable``. An engine that shows less than this
process has seen is refused (``watermark``). Does not guarantee: that nobody else wrote between a view and an append;
that takes a guard, and no constraint of the schema stands in for it. Nor anything after a failover to a standby that
replicates asynchronously: what was not yet there is lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import msgspec

from service.errors import Problem, RefusedToStart
from service.rules.halls import Hall, Plan
from service.rules.inventory import Command, Event, Outcome, Record, View
from service.runtime.epoch import Mode, Switched, taking_part
from service.runtime.notifications import Blocked, ignore
from service.settings import Settings
from service.stores.base import (
    CommitsAtomically,
    ComparesAndSets,
    Conflict,
    LockStatement,
    SharesSwitch,
    Store,
    Transactional,
)
from service.stores.halls import Halls
from service.stores.postgres.atomic import CALL, TRANSLATED, encoded, outcomes_of
from service.stores.postgres.connections import CONNECT_WITHIN_S, Connections, Patient
from service.stores.postgres.errors import reason_of
from service.stores.postgres.records import columns_of, instant, record_in
from service.stores.postgres.schema import check, set_up
from service.stores.postgres.seats import Spans, changes_of, spans_of
from service.stores.postgres.statements import (
    AMEND,
    AUDITED,
    COUNTERS,
    EPOCH,
    HALL,
    NEW,
    NEW_HALL,
    NEXT_EXPIRY,
    PAGE,
    SWITCHING,
    VIEW,
    VIEW_WITH_SEATS,
    WRITE,
    WRITE_WITH_HOLDS,
    WRITE_WITH_SEATS,
)
from service.stores.postgres.transactions import Then, Transactions
from service.stores.postgres.views import about_of, asked_for, fill
from service.stores.reading import Records, source_of, with_hall
from service.stores.watermark import Seen, Watermark

_ATTEMPTS = 10
AT_A_TIME = 2_000
_IDLE_LIMIT_S = 30.0
_encoder = msgspec.json.Encoder()
_plan = msgspec.json.Decoder(Plan)


class _Source(NamedTuple):
    """Where a view came from: the event's row, and what was read there."""

    row: int
    version: int
    appended: int
    generation: int


class Postgres(Store, ComparesAndSets, Transactional, CommitsAtomically, SharesSwitch):
    name = "postgres"
    translates = TRANSLATED

    def __init__(self, settings: Settings) -> None:
        if not settings.store_url:
            raise RefusedToStart("Store postgres needs an address: LASTSEAT_STORE=postgresql://user@host/database.")
        # A holder that is paused for longer than that, or whose host is cut off, is not waited for: the engine ends its
        # transaction. Whoever waits for its lock does so for no longer than the lock time-out, so neither does this.
        idle_limit_s = min(_IDLE_LIMIT_S, settings.lock_timeout_s) + settings.think.high_ms / 1e3
        idle_limit_s = 0.0 if settings.gates else idle_limit_s
        self._connections = Connections(settings.store_url, settings.pool, settings.lock_timeout_s, idle_limit_s)
        self._transactions = Transactions(self._connections, watched=bool(settings.gates))
        self._watermark = Watermark()
        self.halls = Halls(self._read_hall, self._write_hall)
        self._hall_of: dict[str, Hall] = {}
        """The hall that an event had when it was last looked at, so that its seats are asked for together with it."""

    # -- the engine and its switch --------------------------------------------------------------------------------

    def set_up(self) -> str:
        with contextlib.closing(self._connected()) as connection:
            return set_up(connection)

    def check(self) -> list[str]:
        with contextlib.closing(self._connected()) as connection:
            connection.until = min(connection.until, time.monotonic() + CONNECT_WITHIN_S)
            return check(connection)

    def _connected(self) -> Patient:
        try:
            return self._connections.connect()
        except Problem as problem:
            raise RefusedToStart(f"{problem.detail} ({reason_of(problem.__cause__)})") from None

    def mode(self) -> Mode | None:
        rows = self._transactions.ask("SELECT guard, epoch, generation FROM lastseat.control")
        mode = Mode(*rows[0]) if rows and rows[0][1] else None
        self._watermark.compare_mode(mode)
        return mode

    def begin_epoch(self, guard: str, timeout_s: float) -> Mode:
        with self._alone(timeout_s) as connection:
            [row] = connection.execute(EPOCH, (guard,)).fetchall()
        mode = Mode(*row)
        self._watermark.compare_mode(mode)
        return mode

    @contextlib.contextmanager
    def _alone(self, timeout_s: float) -> Iterator[Patient]:
        """A transaction beside which no other one that writes is under way."""
        deadline = time.monotonic() + timeout_s
        try:
            with self._transactions.transaction(deadline, control=SWITCHING) as connection:
                yield connection
        except Problem as problem:
            if problem.code != "lock_timeout":
                raise
            raise Problem("switch_timeout", f"They did not end within {timeout_s:g} s.", retry_after_s=1) from None

    # -- events ---------------------------------------------------------------------------------------------------

    def create(self, event: Event) -> None:
        about = _encoder.encode(event).decode()
        new = (
            event.event, about, event.capacity, event.opens_at, event.max_per_order, event.max_per_buyer,
            event.max_held, event.max_hold_s, event.hall, event.closes_at,
        )  # fmt: skip
        with self._transactions.transaction() as connection:
            if not connection.execute(NEW, new).rowcount:
                raise Problem("event_exists", f"Nothing was changed in {event.event!r}.")

    def delete(self, event: str) -> None:
        self.delete_at(event, None)

    def delete_at(self, event: str, version: int | None) -> None:
        with self._alone(self._connections.patience_s) as connection:
            removed = "DELETE FROM lastseat.events WHERE name = %s RETURNING id, version"
            rows = connection.execute(removed, (event,)).fetchall()
            if not rows:
                raise Problem("unknown_event")
            if version not in (None, rows[0][1]):
                raise Problem("contention", retry_after_s=1)
            connection.execute("UPDATE lastseat.control SET generation = generation + 1")
            connection.execute("DELETE FROM lastseat.records WHERE event + 0 = %s", rows[0][:1])
            connection.execute("DELETE FROM lastseat.open_holds WHERE event + 0 = %s", rows[0][:1])
            connection.execute("DELETE FROM lastseat.seats WHERE event = %s", rows[0][:1])

    def names(self) -> list[str]:
        # Sorted here: the database's own order is that of a language, and who reads on from a name takes this one.
        return sorted(name for (name,) in self._transactions.ask("SELECT name FROM lastseat.events"))

    def _read_hall(self, name: str) -> bytes | None:
        found = self._transactions.look(HALL, [name])
        return None if found is None else found[0]

    def _write_hall(self, name: str, content: bytes) -> None:
        firsts, sizes = zip(*Hall(_plan.decode(content)).rows(""), strict=True)
        with self._transactions.transaction() as connection:
            connection.execute(NEW_HALL, (name, content.decode(), list(firsts), list(sizes)))

    # -- reading --------------------------------------------------------------------------------------------------

    def view(
        self, event: str, commands: Sequence[Command] = (), now: datetime | None = None, *, order: str | None = None
    ) -> View:
        if not commands and order is None and now is None:
            return self._counters(event)
        return self._view(event, asked_for(event, commands, now, order), lambda hall: spans_of(hall, commands))

    def seats(self, event: str) -> View:
        return with_hall(self._view(event, asked_for(event, (), None, None), lambda hall: ([0], [hall.size])))

    def _counters(self, event: str) -> View:
        before = self._watermark.before(event)
        return self._view_of(event, self._transactions.look(COUNTERS, [event]), before)[0]

    def _view(self, event: str, asked: list[object], spans: Callable[[Hall], Spans]) -> View:
        """The view in one statement, so in one snapshot, whatever surrounds it. What is asked for depends on the hall:
        where the event has another one than when it was last looked at, it is asked for again."""
        while True:
            hall = self._hall_of.get(event)
            before = self._watermark.before(event)
            if hall is None:
                found = self._transactions.look(VIEW, asked)
            else:
                found = self._transactions.look(VIEW_WITH_SEATS, [*asked, *spans(hall)])
            view, shown = self._view_of(event, found, before)
            if view.hall is hall:
                fill(view, shown)
                return view
            if view.hall is None:
                self._hall_of.pop(event, None)
            else:
                self._hall_of[event] = view.hall

    def _view_of(
        self, event: str, found: Sequence[bytes | None] | None, before: Seen
    ) -> tuple[View, Sequence[bytes | None]]:
        """A view with its counters, all seats free; and the columns that say the rest."""
        if found is None:
            self._watermark.compare_mode(None, before)
            raise Problem("unknown_event")
        guard, epoch, generation, row, about, *rest = found
        mode = Mode((guard or b"").decode(), int(epoch or 0), int(generation or 0))
        version, sold, held, next_ticket, appended = (int(each or 0) for each in rest[:5])
        self._look_at_mode(mode)
        self._watermark.compare(event, before, mode, None if row is None else int(row), appended)
        if row is None or about is None:
            raise Problem("unknown_event")
        source = _Source(int(row), version, appended, mode.generation)
        made_as = about_of(about)
        hall = self.halls.of(made_as)
        seats = bytearray(0 if hall is None else hall.size)
        return View(made_as, version, sold, held, next_ticket, hall=hall, seats=seats, source=source), rest[5:]

    def next_expiry(self, event: str) -> datetime | None:
        for (ends,) in self._transactions.ask(NEXT_EXPIRY, (event,)):
            return None if ends is None else instant(ends)
        raise Problem("unknown_event")

    @staticmethod
    def _look_at_mode(found: Mode) -> None:
        taken = taking_part.get()
        if taken is not None and taken != found:
            raise Switched

    def audit(self, event: str) -> tuple[Event, Records, object]:
        self.view(event)  # refuses an engine that went back
        for row, about, count, last in self._transactions.ask(AUDITED, (event,)):
            made_as = about_of(about)
            hall = self.halls.of(made_as)
            return made_as, Records(count, partial(self._records, row, last, hall)), None
        raise Problem("unknown_event")

    def _records(self, row: int, last: int, hall: Hall | None) -> Iterator[Record]:
        """A page at a time: a cursor in the engine would keep a connection and a snapshot for as long as the slowest
        reader takes."""
        after = 0
        while page := self._transactions.ask(f"{PAGE} LIMIT {AT_A_TIME}", (row, after, last)):
            for number, record in page:
                yield record_in(record, hall)
                after = number

    # -- writing --------------------------------------------------------------------------------------------------

    def append(self, views: Sequence[View]) -> Sequence[object]:
        # What was decided is written whatever others did meanwhile, for nobody excludes here: after a deadlock again.
        for _ in range(_ATTEMPTS):
            try:
                with self._transactions.transaction(later=True):
                    self._write(views, if_unchanged=False)
                return [None] * len(views)
            except Conflict:
                if self._transactions.mine is not None:
                    raise
                # Another epoch, a deleted event, an engine that went back: looking again says which.
                for view in views:
                    self.view(view.event.event)
        raise Problem("contention", retry_after_s=1)

    def append_if_unchanged(self, views: Sequence[View]) -> Sequence[object]:
        with self._transactions.transaction(later=True):
            self._write(views, if_unchanged=True)
            # That somebody else was faster is nothing for the engine's log, as an error would be: so it is asked.
            if any(result.get_value(0, 0) == b"0" for result in self._transactions.answered()):
                raise Conflict
        return [None] * len(views)

    def _write(self, views: Sequence[View], *, if_unchanged: bool) -> None:
        # In one order for all, whatever was asked: a write locks its event's row until the commit.
        for view in sorted(views, key=lambda each: source_of(each, _Source).row):
            source, records, mode = source_of(view, _Source), view.fresh, taking_part.get()
            epoch, generation = (None, None) if mode is None else (mode.epoch, mode.generation)
            written, opened, closed = columns_of(records, view.hall)
            statement, parameters = WRITE, [
                view.version, view.sold, view.held, view.next_ticket, len(records), source.row, source.appended,
                epoch, generation, source.version if if_unchanged else None, not if_unchanged, *written,
            ]  # fmt: skip
            if view.hall is not None:
                statement = WRITE_WITH_SEATS
                parameters += [*opened, closed, *changes_of(view, view.hall)]
            elif closed or opened[0]:
                statement = WRITE_WITH_HOLDS
                parameters += [*opened, closed]
            seen = (view.event.event, source.generation, source.row, source.appended + len(records))
            self._transactions.write(statement, parameters, self._saw(*seen))
            if any(record.about is not None for record in records):
                about = view.event
                made_as = _encoder.encode(about).decode()
                amended = [source.row, made_as, about.capacity, about.opens_at, about.closes_at]
                self._transactions.write(AMEND, amended, lambda _result: None)

    def _saw(self, event: str, generation: int, row: int, appended: int) -> Then:
        """So many records have been seen, once this is committed."""
        return lambda _result: self._watermark.saw(event, generation, row, appended)

    def transaction(
        self, event: str, lock: LockStatement, deadline: float, blocked: Blocked = ignore
    ) -> contextlib.AbstractContextManager[object]:
        # An event's id has neither quotes nor backslashes.
        statement = lock.statement.format(event=event)
        return self._transactions.transaction(
            deadline, isolation=lock.isolation, lock=statement, blocked=blocked, later=True
        )

    @property
    def in_transaction(self) -> bool:
        return self._transactions.mine is not None

    def commit_atomically(
        self, event: str, commands: Sequence[Command], now: datetime, deadline: float, blocked: Blocked = ignore
    ) -> tuple[list[Outcome], object]:
        told: list[bytes | None] = []
        with self._transactions.transaction(deadline, blocked=blocked, later=True):
            view = self.view(event)
            source = source_of(view, _Source)
            call = [source.row, now, encoded(commands, now, view.hall)]
            self._transactions.write(CALL, call, lambda result: told.append(result.get_value(0, 0)))
        [answers] = told
        if answers is None:
            raise Problem("unknown_event")
        outcomes, appended = outcomes_of(answers, commands, view, now)
        self._watermark.saw(event, source.generation, source.row, appended)
        return outcomes, None

    def make_durable(self, event: str, position: object) -> None:
        """Nothing is left to do: what was committed, and whatever a reader can see, was flushed before."""

    def close(self) -> None:
        self._connections.close()
