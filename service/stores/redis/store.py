"""Store ``redis``: a Valkey, or a Redis from version 7 on, for the offices of many hosts.

An event is a hash of counters, a stream of records as JSON, hashes that lead from keys, orders and holds to their
records, the open holds sorted by their end, and the sums of its buyers. All keys of an office begin with one tag in
braces (``{lastseat}``), so they sit in one slot of a cluster, and the switch that every script compares sits there with
them. Whatever reads more than one of them, and whatever writes, is one script (``redis_scripts``), so nobody sees half
of it and a purchase is one round trip or two.

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
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from service.errors import Problem
from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Event,
    Hold,
    Outcome,
    Release,
    Sell,
    Sweep,
    View,
)
from service.runtime.epoch import Mode, Switched, taking_part
from service.settings import Settings
from service.stores.base import (
    Blocked,
    CommitsAtomically,
    ComparesAndSets,
    Conflict,
    GrantsLeases,
    LateToken,
    SharesSwitch,
    Store,
    ignore,
)
from service.stores.reading import Records, source_of, wanted_by
from service.stores.redis import scripts
from service.stores.redis.engine import Engine
from service.stores.redis.records import (
    bought_by,
    command_of,
    encode,
    instant,
    microseconds,
    outcome_of,
    rows_of,
)
from service.stores.redis.scripts import Script
from service.stores.redis.setup import check, set_up
from service.stores.redis.views import Source, asked_for, records_in, view_of
from service.stores.watermark import went_back

PARTS = ("records", "keys", "orders", "bought", "lease", "holds", "open")
"""What an event consists of besides its hash, in the order in which every script has their keys."""


class LastSeen(NamedTuple):
    """What this process has seen of an event: which one of that name, how many records, under which generation."""

    born: str = ""
    records: int = 0
    generation: int = 0


class Redis(Store, ComparesAndSets, GrantsLeases, CommitsAtomically, SharesSwitch):
    name: ClassVar[str] = "redis"
    translates: ClassVar[frozenset[type[Command]]] = frozenset({Sell, Cancel, Hold, Confirm, Release, Sweep})

    def __init__(self, settings: Settings) -> None:
        self._engine = Engine(settings.store_url, settings.pool, settings.lock_timeout_s)
        self._made = ""
        """Which office this process sells for; empty until it has met it."""
        self._latest = (0, 0)
        self._seen: dict[str, LastSeen] = {}

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
        fields = {
            "about": encode(event).decode(), "born": secrets.token_hex(8), "count": 0, "version": 0, "sold": 0,
            "held": 0, "next": 1, "fence": 0, "capacity": event.capacity, "per_order": event.max_per_order,
        }  # fmt: skip
        if event.max_per_buyer is not None:
            fields["per_buyer"] = event.max_per_buyer
        if event.max_held is not None:
            fields["max_held"] = event.max_held
        if event.max_hold_s is not None:
            fields["max_hold_s"] = repr(event.max_hold_s)
        if event.opens_at is not None:
            fields["opens"] = str(microseconds(event.opens_at))
        flat = [part for pair in fields.items() for part in pair]
        how, _, _ = self._ask(scripts.CREATE, event.event, encode([event.event, flat]), with_mode=False)
        if how == b"exists":
            raise Problem("event_exists", f"Nothing was changed in {event.event!r}.")
        self._sure(how)

    def delete(self, event: str) -> None:
        self._delete(event, "")

    def delete_at(self, event: str, version: int) -> None:
        self._delete(event, version)

    def _delete(self, event: str, version: int | str) -> None:
        how, _, _ = self._ask(scripts.DELETE, event, encode([event, version]), with_mode=False)
        if how == b"moved":
            raise Problem("contention", retry_after_s=1)
        self._sure(how)
        self._seen.pop(event, None)

    def names(self) -> list[str]:
        self.mode()
        return sorted(name.decode() for name in self._engine.ask("SMEMBERS", self._key("events")))

    # -- reading and writing --------------------------------------------------------------------------------------

    def view(
        self, event: str, commands: Sequence[Command] = (), now: datetime | None = None, *, order: str | None = None
    ) -> View:
        wanted = wanted_by(commands, order)
        how, mode, said = self._ask(scripts.VIEW, event, encode(asked_for(wanted, now)))
        self._sure(how)
        self._note(event, said[0], said[1], mode)
        return view_of(wanted, said)

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
        return self._wrote(event, self._ask(scripts.APPEND, event, encode(_moved(view, token))))

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
        write = ("EVAL", scripts.APPEND.text, *self._arguments(event, encode(_moved(view, ""))))
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
        asked = encode([str(microseconds(now)), [command_of(command, now) for command in commands]])
        how, mode, said = self._ask(scripts.DECIDE, event, asked)
        self._sure(how)
        born, count, opens, *told = said
        self._note(event, born, count, mode)
        opens_us = int(opens) if opens else None
        if len(told) != len(commands):
            raise RuntimeError(f"{len(commands)} commands, and {len(told)} outcomes")
        return [outcome_of(each, opens_us, now) for each in told], None

    def make_durable(self, event: str, position: object) -> None:
        """Nothing is left to do: the engine answered after it had synced."""

    def audit(self, event: str) -> tuple[Event, Records, object]:
        view = self.view(event)
        return (
            view.event,
            records_in(self._engine, self._key("event", event, "records"), source_of(view, Source).records),
            None,
        )

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
        latest, keys, parts = self._latest, [self._key("office")], []
        for view, token in zip(views, tokens, strict=True):
            event, still = view.event.event, source_of(view, Source).records if if_unchanged else None
            keys += self._keys(event)
            parts.append(["", "", *self._seen.get(event, LastSeen()), *_moved(view, token), still])
        asked = encode([self._made, _told(taking_part.get()), parts])
        how, mode, said = self._parts(self._engine.run(scripts.APPEND_CART, keys, asked), latest)
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
        self, script: Script, event: str, more: bytes, *, with_mode: bool = True
    ) -> tuple[bytes, Mode, list[bytes]]:
        """How a script went, the engine's mode, and what else it said."""
        latest = self._latest
        count, *rest = self._arguments(event, more, with_mode=with_mode)
        return self._parts(self._engine.run(script, rest[:count], *rest[count:]), latest)

    def _arguments(self, event: str, more: bytes, *, with_mode: bool = True) -> list[Any]:
        """The number of keys, the keys, and the question: a list that ends with ``more``."""
        mode = taking_part.get() if with_mode else None
        asked = encode([self._made, _told(mode), *self._seen.get(event, LastSeen())])
        keys = [self._key("office"), *self._keys(event), self._key("events")]
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

    def _keys(self, event: str) -> list[str]:
        return [self._key("event", event), *(self._key("event", event, part) for part in PARTS)]

    def _key(self, *parts: str) -> str:
        return ":".join((self._engine.tag, *parts))


def _moved(view: View, token: str) -> list[object]:
    """What ``APPEND`` is asked: the view as it was moved on, and the records that moved it."""
    bought = bought_by(view.fresh) if view.event.max_per_buyer is not None else {}
    counters = (view.version, view.sold, view.held, view.next_ticket)
    return [source_of(view, Source).born, token, *counters, rows_of(view.fresh), bought]


def _told(mode: Mode | None) -> str:
    """The mode that a script compares with the engine's; empty for any."""
    return "" if mode is None else f"{mode.epoch} {mode.generation} {mode.guard}"
