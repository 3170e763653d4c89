"""Store ``journal``: an append-only JSON Lines ledger an event. The store for real sales on one host.

``<data>/journal/<event>/00000001.jsonl`` and so on hold every record once, with its version and a checksum, to be read
by people and by ``lastseat journal``. A purchase appends some hundred bytes, whether it is the first or the millionth.

Guarantees: readers and writers see whole records, in one order for all processes; what ``make_durable`` returned for
survives a crash of process and system if the device honours a flush; a line that a crash left half written is cut by
the next writer, kept beside, and reported. Does not guarantee: that nobody else wrote between a view and an append;
that takes a guard. Under a guard that does not exclude it keeps what was written, equal versions included.

A cart is committed by an intent (``intents``). Its writer holds the append locks of all its events meanwhile, taken in
the order of their ids: so none writes between, under whatever guard, and whoever finishes a cart knows that its writer
is gone.
"""

from __future__ import annotations

import contextlib
import os
import resource
import secrets
import shutil
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from errno import EEXIST, ENOTEMPTY
from typing import ClassVar, TypeVar

from service.errors import Problem
from service.experiments.gates import Gates
from service.rules.inventory import Command, Event, Record, View
from service.runtime.files import storage_problems, unique
from service.settings import Settings
from service.stores.base import ComparesAndSets, Conflict, Store
from service.stores.directory import Names
from service.stores.halls import halls_in
from service.stores.intents import Intents, Part, intent_of
from service.stores.journal.ledger import Ledger
from service.stores.journal.lines import Counters, head
from service.stores.journal.segments import Position, begin_segment
from service.stores.reading import Records, source_of, with_hall

T = TypeVar("T")
MOST_OPEN = 128
"""Journals that a process keeps open, with some four descriptors each; the one opened first is closed for another.

Fewer where that would be more than a quarter of the descriptors that it may have."""


class Journal(Store, ComparesAndSets):
    name: ClassVar[str] = "journal"

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.data / "journal"
        self._names = Names(self._directory)
        self.halls = halls_in(settings.data)
        self._intents = Intents(settings.data / "journal-carts")
        self._gates = Gates(settings.gates, settings.gates_patience_s) if settings.gates else None
        self._ledgers: dict[str, Ledger] = {}
        self._ends: dict[str, tuple[str, tuple[int, int, int] | None, datetime | None]] = {}
        """When the first open hold of an event ends, and of which active segment that is true."""
        self._opening = threading.Lock()
        self._most_open = max(1, min(MOST_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 16))

    def create(self, event: Event) -> None:
        fresh = self._directory / f".new-{unique()}"
        try:
            with storage_problems():
                fresh.mkdir()
            begin_segment(fresh, head(secrets.token_hex(8), event, 1, Counters()))
            with storage_problems():
                try:
                    # A rename fails where a directory of that name has anything in it.
                    fresh.rename(self._directory / event.event)
                except OSError as error:
                    if error.errno in (EEXIST, ENOTEMPTY):
                        raise Problem("event_exists", f"Nothing was changed in {event.event!r}.") from None
                    raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        self._names.sync()

    def delete(self, event: str) -> None:
        # Before: what is left of a cart would else come into another event of this name.
        self._intents.finish_all(self._bring)
        gone = self._directory / f".gone-{unique()}"
        with storage_problems():
            try:
                (self._directory / event).rename(gone)
            except FileNotFoundError:
                raise Problem("unknown_event") from None
        self._names.sync()
        shutil.rmtree(gone, ignore_errors=True)
        self._forget(event)

    def names(self) -> list[str]:
        with storage_problems():
            return sorted(name for name in os.listdir(self._directory) if not name.startswith("."))

    def view(
        self, event: str, commands: Sequence[Command] = (), now: datetime | None = None, *, order: str | None = None
    ) -> View:
        if now is not None and self._intents.is_unfinished(event):
            self._read(event, lambda ledger: self._finish(event, ledger))
        return self._read(event, lambda ledger: ledger.view(commands, order, now))

    def seats(self, event: str) -> View:
        return with_hall(self.view(event))

    def next_expiry(self, event: str) -> datetime | None:
        known = self._ends.get(event)
        if known is not None and _file(known[0]) == known[1]:
            return known[2]
        with storage_problems():
            path = self._ledger(event).active_path()
        # Looked at before it is read: what is written meanwhile is seen the next time.
        file = _file(path)
        ends, read = self._read(event, lambda ledger: (ledger.next_expiry(), ledger.active_path()))
        if file is not None and read == path:
            self._ends[event] = (path, file, ends)
        return ends

    def append(self, views: Sequence[View]) -> Sequence[object]:
        return [self._append(views[0])] if len(views) == 1 else self._append_cart(views, if_unchanged=False)

    def append_if_unchanged(self, views: Sequence[View]) -> Sequence[object]:
        if len(views) > 1:
            return self._append_cart(views, if_unchanged=True)
        [view] = views
        event, source = view.event.event, source_of(view, Position)
        with storage_problems(), self._ledger(event).writing():
            # A cart that is sold and not written is no change of the journal yet; who reads again finishes it.
            if self._intents.is_unfinished(event):
                raise Conflict
            return [self._append(view, source)]

    def is_unfinished(self, event: str) -> bool:
        return self._intents.is_unfinished(event)

    def make_durable(self, event: str, position: object) -> None:
        if not isinstance(position, Position):
            raise TypeError("make_durable takes what append returned or a view's source")
        try:
            ledger = self._ledger(event)
        except Problem as problem:
            if problem.code == "unknown_event":
                raise
            # Opened anew for this, and in vain. It is written, and nobody said that it would last.
            raise Problem("outcome_unknown", f"It cannot be synced now. {problem.detail}") from problem
        ledger.sync(position)

    def audit(self, event: str) -> tuple[Event, Records, object]:
        return self._read(event, self._audit)

    @staticmethod
    def _audit(ledger: Ledger) -> tuple[Event, Records, object]:
        count, end = ledger.audit()
        return ledger.about, Records(count, lambda: ledger.records(end)), end

    def tidy(self) -> None:
        self._intents.finish_at_start(self._bring)
        for pattern in (".new-*", ".gone-*"):
            for leftover in self._directory.glob(pattern):
                shutil.rmtree(leftover, ignore_errors=True)

    def close(self) -> None:
        self._names.close()
        self._intents.close()

    def _append(self, view: View, unchanged_since: Position | None = None, ledger: Ledger | None = None) -> Position:
        event, records = view.event.event, view.fresh
        halfway = self._halfway(event, records) if self._gates is not None else None
        # Whatever fails besides the write itself, which takes back what it wrote, fails before it.
        with storage_problems():
            ledger = ledger or self._ledger(event)
            return ledger.append(records, unchanged_since=unchanged_since, halfway=halfway)

    def _append_cart(self, views: Sequence[View], *, if_unchanged: bool) -> Sequence[Position]:
        # All are opened before the first is locked: opening one takes its lock.
        ledgers = {event: self._ledger(event) for event in sorted(view.event.event for view in views)}
        intent = intent_of(views)
        with contextlib.ExitStack() as held:
            with storage_problems():
                for event, ledger in ledgers.items():
                    held.enter_context(ledger.writing())
                    if self._intents.is_unfinished(event):
                        # Of a writer that was killed since the view was read, under a guard that does not exclude.
                        self._finish(event, ledger)
            if if_unchanged and any(view.source != ledgers[view.event.event].end() for view in views):
                raise Conflict
            for ledger in ledgers.values():
                ledger.sync(ledger.end())
            self._intents.write(intent)
            try:
                positions = [self._append(view, ledger=ledgers[view.event.event]) for view in views]
            except Problem as problem:
                raise Problem(
                    "outcome_unknown",
                    "The cart is sold, and stands in all of its events as soon as they can be written. Ask again with "
                    f"the same key. What failed: {problem}",
                ) from problem
            for view, position in zip(views, positions, strict=True):
                ledgers[view.event.event].sync(position)
            self._intents.end(intent)
        return positions

    def _finish(self, event: str, ledger: Ledger) -> None:
        """Finish the cart that a killed writer left half written in this event."""
        with ledger.writing():
            self._intents.finish(event, lambda _, part: ledger.bring(part.records))

    def _bring(self, _: str, part: Part) -> None:
        try:
            self._read(part.event, lambda ledger: ledger.bring(part.records))
        except Problem as problem:
            if problem.code != "unknown_event":
                raise

    def _halfway(self, event: str, records: Sequence[Record]) -> Callable[[], None]:
        """A gate in the middle of the write, where an experiment kills the writer."""
        gates, keys = self._gates, [record.key for record in records]
        return lambda: gates.reach("half", event, keys) if gates is not None else None

    def _ledger(self, event: str) -> Ledger:
        """As it was opened by this process; whether it is still the one on the disk shows when it is read."""
        ledger = self._ledgers.get(event)
        if ledger is None:
            with self._opening:
                ledger = self._ledgers.get(event)
                if ledger is None:
                    ledger = self._ledgers[event] = self._opened(event)
                    while len(self._ledgers) > self._most_open:
                        # Not closed: another thread may just be reading. It goes with the last reference.
                        del self._ledgers[next(iter(self._ledgers))]
        return ledger

    def _read(self, event: str, read: Callable[[Ledger], T]) -> T:
        """What ``read`` finds in the journal of that name; another event that took its name meanwhile is opened."""
        with storage_problems():
            ledger = self._ledger(event)
            try:
                return read(ledger)
            except Problem:
                with self._opening:
                    if self._ledgers.get(event) is ledger:
                        self._replace(event, ledger)
                return read(self._ledger(event))

    def _replace(self, event: str, known: Ledger) -> None:
        """Let another event of this name take the place of the known one. Raises what is wrong where it is the same."""
        try:
            found = self._opened(event)
        except Problem as problem:
            if problem.code == "unknown_event":
                self._forget(event)
            raise
        if found.id != known.id:
            self._ledgers[event] = found

    def _opened(self, event: str) -> Ledger:
        with storage_problems():
            return Ledger(self._directory / event)

    def _forget(self, event: str) -> None:
        # Not closed: another thread may just be reading. Its descriptors go with the last reference.
        self._ledgers.pop(event, None)
        self._ends.pop(event, None)


def _file(path: str) -> tuple[int, int, int] | None:
    """Which of all the files that had this name; every record makes it longer, and so does the seal."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)
