"""Store ``json``: documents that a person can read, one an event, replaced atomically and durably.

Each purchase reads and rewrites the event's *head* alone (``head``): its counters, its open holds, its newest records.
When these are many they are sealed in *pages* behind it (``pages``), which are never rewritten. So a purchase costs
the same after many orders. Taken alone a head always looks right, even after a lost update: it was one writer's
whole truth.

Guarantees: readers see one writer's whole head, and the pages that it leads to; what ``make_durable`` returned for
survives a power cut as far as the device honours a flush. Does not guarantee: that a head which was replaced is the one
that was read before; that takes a guard.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec

from service.errors import Problem
from service.rules.inventory import Command, Event, Record, View
from service.runtime.files import commit_failed, replace_durably, storage_problems, temporary_beside, write_durably
from service.settings import Settings
from service.stores.base import Store
from service.stores.directory import Names
from service.stores.halls import halls_in
from service.stores.intents import Intents, Part, intent_of
from service.stores.json import head as heads
from service.stores.json.head import Head
from service.stores.json.lru_cache import LruCache
from service.stores.json.pages import Name, Pages
from service.stores.reading import Records, Wanted, damaged, show, source_of, wanted_by, with_hall

RECENT = 256
"""Most records in a head. A transaction's own are never divided: they come into the head together."""
_HEADS_BYTES = 32 << 20


class _File(NamedTuple):
    """Which of all the files that had an event's name. The size belongs to it: the number of a file that is gone is
    used again at once, and the clock of a file system may stand still for milliseconds."""

    number: int
    changed_ns: int
    size: int


class _Source(msgspec.Struct, frozen=True):
    """Where a view came from: the head, to be written on, and which file it was."""

    head: Head
    file: _File


class JsonDocuments(Store):
    name = "json"

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.data / "events"
        self._names = Names(self._directory)
        self._durable: dict[str, _File] = {}
        self._ends: dict[str, tuple[_File, datetime | None]] = {}
        self._intents = Intents(settings.data / "carts")
        self._pages = Pages(self._directory, self._names)
        self._heads: LruCache[tuple[bytes, Head]] = LruCache(_HEADS_BYTES)
        self.halls = halls_in(settings.data)

    def create(self, event: Event) -> None:
        path = self._path(event.event)
        content = heads.write(heads.begin(event))
        temporary = temporary_beside(path)
        with storage_problems():
            write_durably(temporary, content)
            try:
                # A link fails where the name is taken; a rename would replace an event with its sales.
                os.link(temporary, path)
            except FileExistsError:
                raise Problem("event_exists", f"Nothing was changed in {event.event!r}.") from None
            finally:
                temporary.unlink()
        self._names.sync()

    def delete(self, event: str) -> None:
        # Before: what is left of a cart would else come into another event of this name.
        self._intents.finish_all(self._bring)
        with storage_problems():
            try:
                self._path(event).unlink()
            except FileNotFoundError:
                raise Problem("unknown_event") from None
        self._durable.pop(event, None)
        self._ends.pop(event, None)
        self._heads.forget(event)
        self._names.sync()
        # After: what is left of them belongs to nobody, and is removed at the next start.
        self._pages.remove(event)

    def names(self) -> list[str]:
        with storage_problems():
            return sorted(path.stem for path in self._directory.iterdir() if path.suffix == ".json")

    def view(
        self, event: str, commands: Sequence[Command] = (), now: datetime | None = None, *, order: str | None = None
    ) -> View:
        if now is not None and self._intents.is_unfinished(event):
            # This caller decides, so it has the lock: the writer of that cart was killed.
            self._intents.finish(event, self._bring)
        view, head = self._view(event)
        view.due = head.due(now)
        self._show(view, head, wanted_by(commands, order))
        return view

    def seats(self, event: str) -> View:
        return with_hall(self._view(event)[0])

    def _view(self, event: str) -> tuple[View, Head]:
        """The counters and the seats, and the head that they are of."""
        head, file = self._read(event)
        view = View(head.about, head.version, head.sold, head.held, head.next_ticket, source=_Source(head, file))
        if head.about.hall:
            view.hall = self.halls.of(head.about)
            view.seats = bytearray(head.seats[: head.about.capacity])
        return view, head

    def _show(self, view: View, head: Head, wanted: Wanted) -> None:
        """Let the view have what was asked for: what the head has, and the pages that it leads to. These are indexed
        also where nothing was asked for: else a buyer does it who has the guard."""
        find = self._finder(head)
        show(view, find("key", wanted.keys), find("order", wanted.orders), find("hold", wanted.holds))
        if head.about.max_per_buyer is not None:
            buyers = {*wanted.buyers, *(hold.buyer for hold in view.holds.values() if hold.buyer is not None)}
            for record in find("buyer", buyers):
                if record.buyer is not None:
                    view.bought[record.buyer] = view.bought.get(record.buyer, 0) + record.taken

    def next_expiry(self, event: str) -> datetime | None:
        try:
            file = _file(self._path(event).stat())
        except FileNotFoundError:
            raise Problem("unknown_event") from None
        known = self._ends.get(event)
        if known is None or known[0] != file:
            head, file = self._read(event)
            # One assignment: two threads that look at once both leave a pair that belongs together.
            known = self._ends[event] = (file, head.next_expiry)
        return known[1]

    def append(self, views: Sequence[View]) -> Sequence[object]:
        if len(views) > 1:
            return self._append_cart(views)
        [view] = views
        return [self._replace(self._moved(view))]

    def _append_cart(self, views: Sequence[View]) -> Sequence[object]:
        written: list[tuple[Path, Path, _File]] = []
        try:
            # All that takes room comes first: a full disk is met before anything has happened.
            for view in views:
                content = heads.write(self._moved(view))
                path = self._path(view.event.event)
                temporary = temporary_beside(path)
                with storage_problems():
                    written.append((temporary, path, _file(write_durably(temporary, content))))
            intent = intent_of(views)
            self._intents.write(intent)
        except BaseException:
            for temporary, _, _ in written:
                temporary.unlink(missing_ok=True)
            raise
        # Where that fails it is sold, and not everywhere to be seen; what is left is finished by the next start.
        with commit_failed(self._directory):
            for temporary, path, _ in written:
                temporary.rename(path)
        self._names.sync()
        self._intents.end(intent)
        self._durable.update((path.stem, file) for _, path, file in written)
        return [file for _, _, file in written]

    def is_unfinished(self, event: str) -> bool:
        return self._intents.is_unfinished(event)

    def _bring(self, cart: str, part: Part) -> None:
        try:
            view, head = self._view(part.event)
        except Problem as problem:
            if problem.code == "unknown_event":
                return
            raise
        # A sale is told by its order, which nobody else gave a name to.
        orders = [record.order for record in part.records if record.cart == cart]
        if next(self._finder(head)("order", orders), None) is None:
            for record in part.records:
                view.apply(record)
            view.fresh = part.records
            self._replace(self._moved(view))
        self._names.sync()

    def make_durable(self, event: str, position: object) -> None:
        file = position.file if isinstance(position, _Source) else position
        if not isinstance(file, _File):
            raise TypeError("make_durable takes what append returned or a view's source")
        # The content was synced before it got its name; what is left is the name. A file known to be durable under
        # its name needs nothing: a later one that replaces it was synced too.
        if self._durable.get(event) != file:
            self._names.sync()
            self._durable[event] = file

    def audit(self, event: str) -> tuple[Event, Records, object]:
        head, file = self._read(event)
        chain = self._pages.chain(head.about, head.sealed)
        self._pages.refuse_if_missing(event, chain)
        records = Records(head.count, lambda: itertools.chain(self._pages.records(event, chain), head.recent))
        return head.about, records, file

    def tidy(self) -> None:
        self._intents.finish_at_start(self._bring)
        for leftover in self._directory.glob("*.tmp"):
            leftover.unlink(missing_ok=True)
        for event in self._pages.events():
            try:
                head, _ = self._read(event)
            except Problem as problem:
                if problem.code == "unknown_event":
                    self._pages.remove(event)
                continue  # damaged: whoever asks for this event is told so, and its pages stay
            self._pages.remove_orphans(event, head.sealed)

    def close(self) -> None:
        self._names.close()
        self._intents.close()

    def _path(self, event: str) -> Path:
        return self._directory / f"{event}.json"

    def _read(self, event: str) -> tuple[Head, _File]:
        path = self._path(event)
        try:
            with storage_problems():
                content, file = _content(path)
            known_content, known = self._heads.get(event) or (b"", None)
            if known is not None and known_content == content:
                return known, file
            head = heads.read(content, known)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise damaged(f"events/{path.name}", error) from None
        self._remember(event, content, head)
        return head, file

    def _remember(self, event: str, content: bytes, head: Head) -> None:
        self._heads.put(event, (content, head), 4 * len(content))

    def _finder(self, head: Head) -> Callable[[Name, Collection[str]], Iterator[Record]]:
        """What finds the records of some names in the pages that a head leads to and in the head, in the order of
        writing."""
        chain = self._pages.chain(head.about, head.sealed)

        def find(by: Name, names: Collection[str]) -> Iterator[Record]:
            for name in names:
                yield from self._pages.find(head.about.event, chain, by, name)
            if names:
                name_of, wanted = attrgetter(by), frozenset(names)
                yield from (record for record in head.recent if name_of(record) in wanted)

        return find

    def _moved(self, view: View) -> Head:
        """The head that the view was made of, with the view's fresh records after it. Where it would have too many,
        those that it had are sealed first.

        Errors: ``storage_full``, ``storage_refused`` (definite): no head leads to what was written; ``CommitFailed``.
        """
        head = source_of(view, _Source).head
        sealed = head.sealed
        if head.recent and len(head.recent) + len(view.fresh) > RECENT:
            sealed = self._pages.seal(view.event.event, sealed, head.lines)
        return heads.after(head, view, sealed)

    def _replace(self, head: Head) -> _File:
        event, content = head.about.event, heads.write(head)
        with storage_problems():
            stat = replace_durably(self._path(event), content)
        self._remember(event, content, head)
        return _file(stat)


def _content(path: Path) -> tuple[bytes, _File]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Problem("unknown_event") from None
    try:
        stat = os.fstat(fd)
        pieces = [os.read(fd, stat.st_size + 1)]
        while pieces[-1]:
            pieces.append(os.read(fd, stat.st_size + 1))
        return b"".join(pieces), _file(stat)
    finally:
        os.close(fd)


def _file(stat: os.stat_result) -> _File:
    return _File(stat.st_ino, stat.st_mtime_ns, stat.st_size)
