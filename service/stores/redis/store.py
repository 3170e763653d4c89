"""Store ``redis``: a Valkey, or a Redis from version 7 on, for the offices of many hosts.

An event is a hash of counters, a stream of records as JSON, hashes that lead from keys, orders and holds to their
records, the open holds sorted by their end, and the sums of its buyers; with a hall, which has a key of its own, also a
string of a byte a seat. All keys of an office begin with one tag in braces (``{lastseat}``), so they sit in one slot of
a cluster, and the switch that every script compares sits there with them. Whatever reads more than one of them, and
whatever writes, is one script (``scripts``): nobody sees half of it, and a purchase is one round trip or two.

Guarantees, where the engine has ``appendonly yes`` and ``appendfsync always``: it answers only when what it wrote, and
whatever the same turn of its loop let others read, is synced; so nothing is left for ``make_durable``. An engine that
shows fewer records of an event, an older epoch or another office than this process has seen is refused.

Does not guarantee: that nobody else wrote between a view and an append; that takes a guard, and no condition stands in
for it: counters are written as the view had them, versions and ticket numbers collide freely. Nor that a failover to
a replica keeps what was acknowledged: replication is asynchronous, and ``WAIT`` only makes the loss less likely. A
process that has seen more notices; one that starts later does not.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from service.errors import Problem
from service.rules.halls import Hall
from service.rules.inventory import Cancel, Command, Confirm, Event, Hold, Outcome, Release, Sell, Sweep, View
from service.runtime.epoch import Mode, Switched, taking_part
from service.runtime.notifications import Blocked, ignore
from service.settings import Settings
from service.stores.base import (
    CommitsAtomically,
    ComparesAndSets,
    Conflict,
    GrantsLeases,
    LateToken,
    SharesSwitch,
    Store,
)
from service.stores.columns import instant, microseconds
from service.stores.halls import Halls
from service.stores.reading import Records, Wanted, source_of, wanted_by, with_hall
from service.stores.redis import scripts
from service.stores.redis.engine import Engine
from service.stores.redis.records import (
    amended_fields,
    bought_by,
    command_of,
    encode,
    fields_of,
    outcome_of,
    rows_asked,
    rows_of,
)
from service.stores.redis.scripts import Script
from service.stores.redis.setup import check, set_up
from service.stores.redis.views import Ranges, Source, about_in, asked_for, ranges_of, records_in, view_of
from service.stores.watermark import went_back

PARTS = ("records", "keys", "orders", "bought", "lease", "holds", "open")
"""What an event consists of besides its hash, in the order in which every script has their keys."""
SEATS = "seats"
"""What an event with a hall has besides."""
MOST_LOOKS = 5
"""How often in a row an event may have another hall than the one that it was taken for."""


class LastSeen(NamedTuple):
    """What this process has seen of an event: which one of that name, how many records, under which generation."""

    born: str = ""
    records: int = 0
    generation: int = 0


class Redis(Store, ComparesAndSets, GrantsLeases, CommitsAtomically, SharesSwitch):
    name = "redis"
    translates = frozenset({Sell, Cancel, Hold, Confirm, Release, Sweep})

    def __init__(self, settings: Settings) -> None:
        self._engine = Engine(settings.store_url, settings.pool, settings.lock_timeout_s)
        self._made = ""
        """Which office this process sells for; empty until it has met it."""
        self._latest = (0, 0)
        self._seen: dict[str, LastSeen] = {}
        self._seated: dict[str, Event] = {}
        """Events with a hall, as this process saw them last: which hall it was is compared in every script."""
        self.halls = Halls(self._read_hall, self._write_hall)

    # -- the switch -----------------------------------------------------------------------------------------------

    def set_up(self) -> str:
        """Make the office in the engine, or bring it to this version; says what was done."""
        return set_up(self._engine)

    def check(self) -> list[str]:
        return check(self._engine)

    def mode(self) -> Mode | None:
        how, mode, _ = self._ask(scripts.LOOK, "", b"[]", with_mode=False)
        self._sure(how)
        return mode if mode.epoch else None

    def begin_epoch(self, guard: str, timeout_s: float) -> Mode:
        """Nobody has to be waited for: a script of an older epoch ran before this one, or finds the mode changed."""
        how, mode, _ = self._ask(scripts.BEGIN_EPOCH, "", encode([guard]), with_mode=False)
        self._sure(how)
        return mode

    # -- events ---------------------------------------------------------------------------------------------------

    def create(self, event: Event) -> None:
        seated = bool(event.hall)
        asked: list[object] = [event.event, fields_of(event, secrets.token_hex(8))]
        if seated:
            asked.append(event.capacity)
        how, _, _ = self._ask(scripts.CREATE, event.event, encode(asked), with_mode=False, seated=seated)
        if how == b"exists":
            raise Problem("event_exists", f"Nothing was changed in {event.event!r}.")
        self._sure(how)

    def delete(self, event: str) -> None:
        self.delete_at(event, None)

    def delete_at(self, event: str, version: int | None) -> None:
        asked = encode([event, "" if version is None else version])
        how, _, _ = self._ask(scripts.DELETE, event, asked, with_mode=False, seated=True)
        if how == b"moved":
            raise Problem("contention", retry_after_s=1)
        self._sure(how)
        self._seen.pop(event, None)
        self._seated.pop(event, None)

    def names(self) -> list[str]:
        self.mode()
        return sorted(name.decode() for name in self._engine.ask("SMEMBERS", self._key("events")))

    # -- reading and writing --------------------------------------------------------------------------------------

    def view(
        self, event: str, commands: Sequence[Command] = (), now: datetime | None = None, *, order: str | None = None
    ) -> View:
        return self._view(event, wanted_by(commands, order), now, lambda hall: ranges_of(hall, commands))

    def seats(self, event: str) -> View:
        return with_hall(self._view(event, wanted_by(()), None, lambda hall: [(0, hall.size - 1)]))

    def _view(self, event: str, wanted: Wanted, now: datetime | None, ranges: Callable[[Hall], Ranges]) -> View:
        """One script, with the states of the seats in the ``ranges`` of the hall; twice where this process does not
        know yet which hall the event has."""
        for _ in range(MOST_LOOKS):
            hall = self._hall_of(event)
            seats = () if hall is None else ranges(hall)
            asked = encode(asked_for(wanted, now, hall, seats))
            how, mode, said = self._ask(scripts.VIEW, event, asked, seated=hall is not None)
            self._sure(how)
            self._note(event, said[0], said[1], mode)
            about = about_in(said)
            if about.hall == ("" if hall is None else hall.name):
                return view_of(wanted, said, about, hall, seats)
            self._note_hall(about)
        raise Problem("contention", retry_after_s=1)

    def next_expiry(self, event: str) -> datetime | None:
        how, mode, said = self._ask(scripts.NEXT_EXPIRY, event, b"[]")
        self._sure(how)
        born, count, ends_us = said
        self._note(event, born, count, mode)
        return instant(int(ends_us)) if ends_us else None

    def append(self, views: Sequence[View]) -> Sequence[object]:
        return self.append_fenced(views, [""] * len(views))

    def append_fenced(self, views: Sequence[View], tokens: Sequence[str]) -> Sequence[object]:
        """``append`` is this with empty tokens, which are not compared."""
        if len(views) > 1:
            return self._append_cart(views, tokens)
        [view], [token] = views, tokens
        event = view.event.event
        seated = view.hall is not None
        return self._wrote(event, self._ask(scripts.APPEND, event, encode(_moved(view, token)), seated=seated))

    def append_if_unchanged(self, views: Sequence[View]) -> Sequence[object]:
        if len(views) > 1:
            return self._append_cart(views, [""] * len(views), if_unchanged=True)
        return self._append_watching(views[0])

    def _append_watching(self, view: View) -> Sequence[object]:
        """As in any Redis: ``WATCH`` what was read, see whether it still is so, and write in ``MULTI`` … ``EXEC``,
        which the engine refuses where somebody has written to it since."""
        event, source = view.event.event, source_of(view, Source)
        latest, watched = self._latest, (self._key("office"), self._key("event", event))
        # Its text and not its digest: in a transaction there is no asking again for what the engine has forgotten.
        asked = self._arguments(event, encode(_moved(view, "")), seated=view.hall is not None)
        write = ("EVAL", scripts.APPEND.text, *asked)
        with self._engine.connection() as connection:
            looked = ("HMGET", watched[1], "born", "count")
            _, found = self._engine.exchange_all(connection, [("WATCH", *watched), looked], writes=False)
            if found != [source.born.encode(), b"%d" % source.records]:
                self._engine.exchange(connection, ("UNWATCH",), writes=False)
                written = None
            else:
                written = self._engine.exchange_all(connection, [("MULTI",), write, ("EXEC",)], writes=True)[-1]
        if written is None:
            raise Conflict
        [answer] = written
        if isinstance(answer, Exception):
            raise self._engine.problem(answer)
        return self._wrote(event, self._parts(answer, latest))

    def commit_atomically(
        self, event: str, commands: Sequence[Command], now: datetime, deadline: float, blocked: Blocked = ignore
    ) -> tuple[list[Outcome], object]:
        for _ in range(MOST_LOOKS):
            hall = self._hall_of(event)
            asked: list[object] = [str(microseconds(now)), [command_of(each, now, hall) for each in commands]]
            if hall is not None:
                asked += [hall.name, rows_asked(hall, commands)]
            how, mode, said = self._ask(scripts.DECIDE, event, encode(asked), seated=hall is not None)
            if how != b"hall":
                break
            self._note_hall(self.view(event).event)
        else:
            raise Problem("contention", retry_after_s=1)
        self._sure(how)
        born, count, opens, *told = said
        self._note(event, born, count, mode)
        opens_us = int(opens) if opens else None
        if len(told) != len(commands):
            raise RuntimeError(f"{len(commands)} commands, and {len(told)} outcomes")
        return [
            outcome_of(each, command, hall=hall, opens_us=opens_us, now=now)
            for each, command in zip(told, commands, strict=True)
        ], None

    def make_durable(self, event: str, position: object) -> None:
        """Nothing is left to do: the engine answered after it had synced."""

    def audit(self, event: str) -> tuple[Event, Records, object]:
        view = self.view(event)
        stream, count = self._key("event", event, "records"), source_of(view, Source).records
        return view.event, records_in(self._engine, stream, count, view.hall), None

    def close(self) -> None:
        self._engine.close()

    # -- leases ---------------------------------------------------------------------------------------------------

    def take_lease(self, event: str, owner: str, lease_ms: int) -> bool:
        key = self._key("event", event, "lease")
        return self._engine.ask("SET", key, owner, "NX", "PX", lease_ms) is not None

    def take_fenced_lease(self, event: str, lease_ms: int) -> str | None:
        how, _, said = self._ask(scripts.TAKE_FENCED, event, encode([lease_ms]))
        if how == b"taken":
            return None
        self._sure(how)
        return said[0].decode()

    def give_lease_back(self, event: str, owner: str) -> bool:
        return bool(self._engine.run(scripts.GIVE_BACK, [self._key("event", event, "lease")], owner))

    # -- within ---------------------------------------------------------------------------------------------------

    def _wrote(self, event: str, parts: tuple[bytes, Mode, list[bytes]]) -> Sequence[object]:
        how, mode, said = parts
        if how == b"fenced":
            raise LateToken(said[0].decode())
        self._sure(how)
        self._note(event, said[0], said[1], mode)
        return (None,)

    def _append_cart(
        self, views: Sequence[View], tokens: Sequence[str], *, if_unchanged: bool = False
    ) -> Sequence[object]:
        """One script over all of the events, which are in one slot."""
        latest, keys, seats = self._latest, [self._key("office")], []
        parts: list[list[object]] = []
        for view, token in zip(views, tokens, strict=True):
            event, still = view.event.event, source_of(view, Source).records if if_unchanged else None
            keys += self._keys(event)
            part = ["", "", *self._seen.get(event, LastSeen()), *_moved(view, token), still]
            if view.hall is not None:
                seats.append(self._key("event", event, SEATS))
                part.append(1 + len(views) * (1 + len(PARTS)) + len(seats))
            parts.append(part)
        asked = encode([self._made, _told(taking_part.get()), parts])
        how, mode, said = self._parts(self._engine.run(scripts.APPEND_CART, keys + seats, asked), latest)
        if how == b"conflict":
            raise Conflict
        if how == b"fenced":
            raise LateToken(said[0].decode())
        try:
            self._sure(how)
        except Problem as problem:
            if said:
                problem.extra.setdefault("event", views[int(said[-1]) - 1].event.event)
            raise
        for view, told in zip(views, said, strict=True):
            born, count = told.split(b" ")
            self._note(view.event.event, born, count, mode)
        return [None] * len(views)

    def _ask(
        self, script: Script, event: str, more: bytes, *, with_mode: bool = True, seated: bool = False
    ) -> tuple[bytes, Mode, list[bytes]]:
        """How a script went, the engine's mode, and what else it said."""
        latest = self._latest
        count, *rest = self._arguments(event, more, with_mode=with_mode, seated=seated)
        return self._parts(self._engine.run(script, rest[:count], *rest[count:]), latest)

    def _arguments(self, event: str, more: bytes, *, with_mode: bool = True, seated: bool = False) -> list[Any]:
        """The number of keys, the keys, with that of the seats or without, and the question: a list that ends with
        ``more``."""
        mode = taking_part.get() if with_mode else None
        asked = encode([self._made, _told(mode), *self._seen.get(event, LastSeen())])
        keys = [self._key("office"), *self._keys(event), self._key("events")]
        if seated:
            keys.append(self._key("event", event, SEATS))
        return [len(keys), *keys, asked[:-1] + b"," * (len(more) > 2) + more[1:]]

    def _parts(self, answer: bytes, latest: tuple[int, int]) -> tuple[bytes, Mode, list[bytes]]:
        """An answer, taken apart. ``latest`` is what had been seen when it was asked for: of two answers that are under
        way at once, the older one may come last."""
        how, made, epoch, generation, guard, *said = answer.split(b"\n")
        mode = Mode(guard.decode(), int(epoch), int(generation))
        if how != b"replaced":
            self._made = self._made or made.decode()
            if mode.epoch < latest[0] or mode.generation < latest[1]:
                raise went_back("its switch is in an older epoch")
            self._latest = max(self._latest, (mode.epoch, mode.generation))
        return how, mode, said

    def _sure(self, how: bytes) -> None:
        """Raise what an answer means that is not ``ok``. Nothing was written then."""
        if how == b"ok":
            return
        if how == b"switched":
            raise Switched
        if how == b"unknown":
            raise Problem("unknown_event")
        if how == b"behind":
            raise went_back("it has fewer sales of this event, or has lost it")
        raise went_back("it has another office of this name, or none")

    def _note(self, event: str, born: bytes, count: bytes, mode: Mode) -> None:
        """Remember the most that was seen; of two answers the later one may come first."""
        before = self._seen.get(event)
        seen = LastSeen(born.decode(), int(count), mode.generation)
        if before is None or before.born != seen.born or before.records <= seen.records:
            self._seen[event] = seen

    def _hall_of(self, event: str) -> Hall | None:
        """The hall that an event had when this process saw it last."""
        about = self._seated.get(event)
        return None if about is None else self.halls.of(about)

    def _note_hall(self, about: Event) -> None:
        if about.hall:
            self._seated[about.event] = about
        else:
            self._seated.pop(about.event, None)

    def _read_hall(self, name: str) -> bytes | None:
        found: bytes | None = self._engine.ask("GET", self._key("hall", name))
        return found

    def _write_hall(self, name: str, content: bytes) -> None:
        self._engine.ask("SET", self._key("hall", name), content, writes=True)

    def _keys(self, event: str) -> list[str]:
        return [self._key("event", event), *(self._key("event", event, part) for part in PARTS)]

    def _key(self, *parts: str) -> str:
        return ":".join((self._engine.tag, *parts))


def _moved(view: View, token: str) -> list[object]:
    """What ``APPEND`` is asked: the view as it was moved on, and the records that moved it."""
    bought = bought_by(view.fresh) if view.event.max_per_buyer is not None else {}
    amended = any(record.about is not None for record in view.fresh)
    counters = (view.version, view.sold, view.held, view.next_ticket)
    return [source_of(view, Source).born, token, *counters, rows_of(view.fresh, view.hall), bought,
            amended_fields(view.event) if amended else ""]  # fmt: skip


def _told(mode: Mode | None) -> str:
    """The mode that a script compares with the engine's; empty for any."""
    return "" if mode is None else f"{mode.epoch} {mode.generation} {mode.guard}"
