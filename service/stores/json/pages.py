"""The older records of an event, sealed: ``<event>.pages/<SHA-256>.jsonl``, files that never change.

A page is named by the hash of its content, so ``sha256sum`` tells whether one was damaged:

    {"page":2,"event":"show","before":"<SHA-256 of page 1>","records":128}
    {"version":129,"kind":"sold",…}
    …

Since each names the one before it, the newest one stands for all of them, in one order: two heads that name the same
page have the same past. Without a guard two writers may seal different pages; each head goes on with its own, and a
page that no head leads to is nobody's. Nothing is looked for in such a page, and it is removed at the next start, when
nobody writes.

A page, its name and the name of its folder are on the disk before a head names it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Literal

import msgspec

from service.errors import Problem
from service.rules.inventory import Event, Record
from service.runtime.files import commit_failed, open_directory, read_if_there, replace_durably, storage_problems
from service.stores.directory import Names
from service.stores.json.head import Sealed
from service.stores.json.index import MOST_LINES, Chain, Entries
from service.stores.json.lru_cache import LruCache

_INDEXES_BYTES = 128 << 20
_PAGES_BYTES = 4 << 20
_FOLDER = ".pages"

Name = Literal["key", "order", "hold", "buyer"]
"""By what a record can be looked for."""


class _Title(msgspec.Struct, omit_defaults=True):
    """The first line of a page."""

    page: int
    event: str
    records: int
    before: str = ""


class _Page(msgspec.Struct, frozen=True):
    before: str
    lines: bytes
    """Of the records, one each."""


_title = msgspec.json.Decoder(_Title)
_record = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()


class Pages:
    """The pages of all events of one store. Any number of threads or greenlets use it at once."""

    def __init__(self, directory: Path, names: Names) -> None:
        self._directory = directory
        self._names = names
        self._chains: LruCache[Chain] = LruCache(_INDEXES_BYTES)
        self._records: LruCache[list[Record]] = LruCache(_PAGES_BYTES)

    def seal(self, event: str, sealed: Sealed | None, lines: Sequence[bytes]) -> Sealed:
        """Write records behind those that are sealed, durably; nothing is sold or lost by it.

        Errors: ``storage_full``, ``storage_refused`` (definite); ``CommitFailed``.
        """
        folder = self._folder(event)
        # Opened before anything is written: where descriptors are scarce, nothing has happened.
        with storage_problems():
            folder.mkdir(exist_ok=True)
            fd = open_directory(folder)
        try:
            with storage_problems():
                for start in range(0, len(lines), MOST_LINES):
                    sealed = _write(folder, event, sealed, lines[start : start + MOST_LINES])
            with commit_failed(folder):
                os.fsync(fd)
        finally:
            os.close(fd)
        # Each time: whoever made the folder may have been killed before this.
        self._names.sync()
        if sealed is None:
            raise ValueError("there is nothing to seal")
        return sealed

    def chain(self, about: Event, sealed: Sealed | None) -> Chain:
        """All pages of a head, with their index. What this process has read of them before is not read again.

        Errors: ``corrupt_document``, ``unknown_event``.
        """
        tip = "" if sealed is None else sealed.page
        found = self._chains.get(tip) if tip else Chain()
        if found is not None:
            return found
        new: list[tuple[str, _Page]] = []
        known = None
        while tip and known is None:
            page = self._read(about.event, tip)
            new.append((tip, page))
            tip = page.before
            known = self._chains.get(tip)
        before = known or Chain()
        entries = Entries(buyers=about.max_per_buyer is not None)
        names = [name for name, _ in reversed(new)]
        for number, (name, page) in enumerate(reversed(new), len(before.pages)):
            try:
                entries.add(number, page.lines)
            except msgspec.DecodeError as error:
                raise self._damaged(about.event, name, f"cannot be read ({error})") from None
        chain = before.followed_by(names, entries)
        self._chains.put(names[-1], chain, chain.size)
        return chain

    def find(self, event: str, chain: Chain, by: Name, name: str) -> Iterator[Record]:
        """The records of a chain that have this name, in the order of writing. Errors: as of ``chain``."""
        name_of = attrgetter(by)
        for page, line in chain.find(name):
            record = self._page(event, page)[line]
            if name_of(record) == name:
                yield record

    def refuse_if_missing(self, event: str, chain: Chain) -> None:
        """Errors: ``corrupt_document``, ``unknown_event`` where a page of the chain is not there."""
        for page in chain.pages:
            if not self._path(event, page).exists():
                raise self._missing(event, page)

    def records(self, event: str, chain: Chain) -> Iterator[Record]:
        """All records of a chain, a page after the other, read as they are asked for. Errors: as of ``chain``."""
        for page in chain.pages:
            yield from self._decoded(event, page)

    def remove(self, event: str) -> None:
        """Remove all pages of an event that is gone."""
        shutil.rmtree(self._folder(event), ignore_errors=True)

    def events(self) -> list[str]:
        """Those that have a folder of pages, whether or not they are still there."""
        return [path.name.removesuffix(_FOLDER) for path in self._directory.glob(f"*{_FOLDER}")]

    def remove_orphans(self, event: str, sealed: Sealed | None) -> None:
        """Remove the pages that a head does not lead to; to be called while nobody writes. Where one that it leads to
        cannot be read, all stay."""
        kept: set[str] = set()
        tip = "" if sealed is None else sealed.page
        while tip:
            kept.add(self._path(event, tip).name)
            try:
                with self._path(event, tip).open("rb") as file:
                    tip = _title.decode(file.readline()).before
            except (OSError, msgspec.DecodeError, UnicodeDecodeError):
                return
        for path in self._folder(event).iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def _page(self, event: str, page: str) -> list[Record]:
        found = self._records.get(page)
        if found is None:
            found = self._decoded(event, page)
            self._records.put(page, found, 1024 * len(found))
        return found

    def _decoded(self, event: str, page: str) -> list[Record]:
        try:
            return _record.decode_lines(self._read(event, page).lines)
        except msgspec.DecodeError as error:
            raise self._damaged(event, page, f"cannot be read ({error})") from None

    def _read(self, event: str, page: str) -> _Page:
        content = read_if_there(self._path(event, page))
        if content is None:
            raise self._missing(event, page)
        if hashlib.sha256(content).hexdigest() != page:
            raise self._damaged(event, page, "is not what it was when it was written: its name is its SHA-256")
        title, _, lines = content.partition(b"\n")
        try:
            return _Page(_title.decode(title).before, lines)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._damaged(event, page, f"cannot be read ({error})") from None

    def _missing(self, event: str, page: str) -> Problem:
        if not (self._directory / f"{event}.json").exists():
            return Problem("unknown_event")  # it was deleted meanwhile
        return self._damaged(event, page, "is missing")

    def _damaged(self, event: str, page: str, how: str) -> Problem:
        path = self._path(event, page)
        return Problem(
            "corrupt_document",
            f"events/{path.parent.name}/{path.name} in the data directory {how}. It holds older sales of {event!r}. "
            "Nothing was written. Stop the service, keep a copy, and put a good copy back.",
        )

    def _folder(self, event: str) -> Path:
        return self._directory / f"{event}{_FOLDER}"

    def _path(self, event: str, page: str) -> Path:
        return self._folder(event) / f"{page}.jsonl"


def _write(folder: Path, event: str, sealed: Sealed | None, lines: Sequence[bytes]) -> Sealed:
    before = sealed or Sealed("", 0, 0)
    title = _Title(before.pages + 1, event, len(lines), before.page)
    content = b"%b\n%b\n" % (_encoder.encode(title), b"\n".join(lines))
    page = hashlib.sha256(content).hexdigest()
    # Also where it is there: whoever wrote it may have been killed before it was synced.
    replace_durably(folder / f"{page}.jsonl", content)
    return Sealed(page, title.page, before.records + len(lines))
