"""Store ``json``: one JSON document an event, read whole, written whole, replaced atomically and durably.

The simplest thing that can be right. Every purchase reads and rewrites the document, so it costs more with every
order. Taken alone a document always looks right, even after a lost update: it was one writer's whole truth.

Guarantees: readers see one writer's whole document, never half of one; what ``make_durable`` returned for survives a
power cut as far as the device honours a flush. Does not guarantee: that a document which was replaced is the one
that was read before; that takes a guard.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import ClassVar, NamedTuple

import msgspec

from service.errors import Problem
from service.rules.inventory import Command, Event, Record, View, due_at, replay
from service.runtime.files import (
    commit_failed,
    replace_durably,
    storage_problems,
    temporary_beside,
    write_durably,
)
from service.settings import Settings
from service.stores.base import FOREVER, Store
from service.stores.directory import Names
from service.stores.intents import Intents, Part, intent_of
from service.stores.reading import source_of


class _Document(msgspec.Struct):
    """What a file holds: the event and the records of everything that was committed."""

    about: Event
    sold: int
    records: list[Record]
    held: int = 0


_decoder = msgspec.json.Decoder(_Document)
_encoder = msgspec.json.Encoder()


class _File(NamedTuple):
    """Which of all the files that had an event's name. The size belongs to it: the number of a file that is gone is
    used again at once, and the clock of a file system may stand still for milliseconds."""

    number: int
    changed_ns: int
    size: int


class _Source(msgspec.Struct, frozen=True):
    """Where a view came from: the document, to be written on, and which file it was."""

    document: _Document
    file: _File


class JsonDocuments(Store):
    name: ClassVar[str] = "json"

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.data / "events"
        self._names = Names(self._directory)
        self._durable: dict[str, _File] = {}
        self._ends: dict[str, tuple[_File, datetime | None]] = {}
        self._intents = Intents(settings.data / "carts")

    def create(self, event: Event) -> None:
        path = self._path(event.event)
        content = _encode(_Document(event, 0, []))
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
        self._names.sync()

    def names(self) -> list[str]:
        with storage_problems():
            return sorted(path.stem for path in self._directory.iterdir() if path.suffix == ".json")

    def view(
        self, event: str, commands: Sequence[Command] = (), now: datetime | None = None, *, order: str | None = None
    ) -> View:
        if now is not None and self._intents.is_unfinished(event):
            # This caller decides, so it has the lock: the writer of that cart was killed.
            self._intents.finish(event, self._bring)
        document, file = self._read(event)
        view = replay(document.about, document.records)
        view.due = due_at(view.holds.values(), now)
        view.source = _Source(document, file)
        return view

    def next_expiry(self, event: str) -> datetime | None:
        try:
            file = _file(self._path(event).stat())
        except FileNotFoundError:
            raise Problem("unknown_event") from None
        known = self._ends.get(event)
        if known is None or known[0] != file:
            document, file = self._read(event)
            due = due_at(replay(document.about, document.records).holds.values(), FOREVER)
            # One assignment: two threads that look at once both leave a pair that belongs together.
            known = self._ends[event] = (file, due[0].expires_at if due else None)
        return known[1]

    def append(self, views: Sequence[View]) -> Sequence[object]:
        if len(views) > 1:
            return self._append_cart(views)
        [view] = views
        content = _moved(view)
        with storage_problems():
            stat = replace_durably(self._path(view.event.event), content)
        return [_file(stat)]

    def _append_cart(self, views: Sequence[View]) -> Sequence[object]:
        written: list[tuple[Path, Path, _File]] = []
        try:
            # All that takes room comes first: a full disk is met before anything has happened.
            with storage_problems():
                for view in views:
                    path = self._path(view.event.event)
                    temporary = temporary_beside(path)
                    written.append((temporary, path, _file(write_durably(temporary, _moved(view)))))
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
            document, _ = self._read(part.event)
        except Problem as problem:
            if problem.code == "unknown_event":
                return
            raise
        if not any(record.cart == cart for record in reversed(document.records)):
            document.records.extend(part.records)
            document.sold += sum(record.sold for record in part.records)
            document.held += sum(record.held for record in part.records)
            with storage_problems():
                replace_durably(self._path(part.event), _encode(document))
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

    def audit(self, event: str) -> tuple[Event, list[Record], object]:
        document, file = self._read(event)
        return document.about, document.records, file

    def tidy(self) -> None:
        self._intents.finish_at_start(self._bring)
        for leftover in self._directory.glob("*.tmp"):
            leftover.unlink(missing_ok=True)

    def close(self) -> None:
        self._names.close()
        self._intents.close()

    def _path(self, event: str) -> Path:
        return self._directory / f"{event}.json"

    def _read(self, event: str) -> tuple[_Document, _File]:
        path = self._path(event)
        try:
            with storage_problems():
                content, file = _content(path)
            return _decoder.decode(content), file
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Problem(
                "corrupt_document",
                f"events/{path.name} in the data directory cannot be read ({error}). Nothing was written to it. Stop "
                "the service, keep a copy, and put a good copy back.",
            ) from None


def _content(path: Path) -> tuple[bytes, _File]:
    try:
        with path.open("rb") as file:
            return file.read(), _file(os.fstat(file.fileno()))
    except FileNotFoundError:
        raise Problem("unknown_event") from None


def _file(stat: os.stat_result) -> _File:
    return _File(stat.st_ino, stat.st_mtime_ns, stat.st_size)


def _moved(view: View) -> bytes:
    """The document that the view was made of, with its fresh records after it."""
    document = source_of(view, _Source).document
    document.records.extend(view.fresh)
    document.sold, document.held = view.sold, view.held
    return _encode(document)


def _encode(document: _Document) -> bytes:
    """JSON with a line a record, so that a person can read the document and compare two."""
    about = _encoder.encode(document.about)
    records = b",\n".join(map(_encoder.encode, document.records))
    return b'{"about":%b,\n"sold":%d,\n"held":%d,\n"records":[\n%b\n]}\n' % (
        about, document.sold, document.held, records,
    )  # fmt: skip
