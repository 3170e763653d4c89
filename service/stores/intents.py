"""Intents: they bring a cart into several files, all or none. An intent is synced before the first file is written.

One file can be written all or nothing: store ``json`` replaces a document by one rename, store ``journal`` appends a
line with a checksum. Several files cannot. So what is to be written stands first in ``<cart>.json``, with all records
of all events. From the moment it has that name the cart is sold, and whoever comes after its writer has to finish it.
In this order, while nobody else writes to any of its events:

1. the store makes sure of all that the cart builds on: ``json`` writes the new documents beside the old ones and syncs
   them; ``journal`` syncs what others appended and have not synced yet, for a cart that outlives the record before it
   would leave a gap in the versions;
2. the intent is written under a temporary name and synced; for each event it gets a second name,
   ``<event>.pending`` (a link);
3. it is renamed to ``<cart>.json``: if this process is killed, this is the commit;
4. the directory of the intents is synced: if the power goes, this is;
5. the store writes: ``json`` gives the documents their names and syncs their directory; ``journal`` appends each
   event's records to its ledger and syncs the ledgers;
6. the intent is removed, then the links.

Nobody has an answer before 6. Killed before 3, the cart was never sold; killed after it, it is. A link that is found
while nobody else can write to the event was left by a writer that is dead or has given up, for writers exclude others
until 6. ``json`` leaves that to the guard; ``journal`` holds the lock for appending to each ledger from 1 to 6, so it
is true there under every guard. If the intent has its name, the records of this event, and of this event alone (to the
others somebody else may be writing), are brought into it unless they are there; then its link is removed, and by
whoever removes the last link the intent. If it has not, or not any more, there is nothing to do: before 3 nothing was
sold, and in 6 everything is in its place. Whoever finishes may be killed as well: the next one brings what is missing.

After a power cut any of the names that were not synced may be missing. Before 4 returned, no event had anything of the
cart, so it is whole or absent by the intent alone; after it the intent is there until it is removed, which comes after
5 was synced. An intent that comes back afterwards says what is already true. The links may be gone: so the first
process of a new master finishes all intents, before anybody buys.

No room before 3 is a definite refusal, and nothing is left. ``json`` has taken all its room by then. ``journal`` may
find none in 5: the cart is sold, its buyer is told that the outcome is unknown, and the next who decides finishes it.

Looking for a link costs each decision one system call that finds nothing, a few microseconds where a purchase takes
milliseconds.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from service.errors import Problem, RefusedToStart
from service.rules.inventory import View
from service.rules.records import Record
from service.runtime.files import read_if_there, storage_problems, temporary_beside, write_durably
from service.stores.directory import Names


class Part(msgspec.Struct, frozen=True):
    """What a cart writes into one event: its sale, and the holds that expired before it."""

    event: str
    records: list[Record]


class Intent(msgspec.Struct, frozen=True):
    """A cart that is to be in all of its events."""

    cart: str
    parts: list[Part]


def intent_of(views: Sequence[View]) -> Intent:
    """Of the cart that was decided on these views."""
    cart = next(record.cart for view in views for record in view.fresh if record.cart)
    return Intent(cart, [Part(view.event.event, view.fresh) for view in views])


_decoder = msgspec.json.Decoder(Intent)
_encoder = msgspec.json.Encoder()

Bring = Callable[[str, Part], None]
"""Let an event have a part of a cart, unless it has it, and sync that. An event that is gone needs nothing."""


class Intents:
    """The intents of one store. What is said of an event is to be called while nobody else can write to it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._links = f"{directory}/"
        self._names = Names(directory)

    def close(self) -> None:
        """Let go of the directory. Idempotent."""
        self._names.close()

    def write(self, intent: Intent) -> None:
        """Commit to a cart: after this it is sold, and the caller or somebody after it writes it to all of its events.

        Errors: ``storage_full``, ``storage_refused`` (definite): nothing was written; ``CommitFailed``.
        """
        path = self._path(intent.cart)
        links = [self._link(part.event) for part in intent.parts]
        temporary = temporary_beside(path)
        with storage_problems():
            try:
                write_durably(temporary, _encoder.encode(intent) + b"\n")
                for link in links:
                    _link_anew(temporary, link)
                temporary.rename(path)
            except BaseException:
                # A worker may be told to end at any moment, also just after the rename: then the cart is sold.
                if not path.exists():
                    _remove([temporary, *links])
                raise
        self._names.sync()

    def end(self, intent: Intent) -> None:
        """All events have it, on the disk: the intent is not needed any more."""
        _remove([self._path(intent.cart), *(self._link(part.event) for part in intent.parts)])

    def is_unfinished(self, event: str) -> bool:
        """Whether somebody began a cart in this event, and has not ended it."""
        # Every decision asks this: no Path, and no exception.
        return os.access(f"{self._links}{event}.pending", os.F_OK)

    def finish(self, event: str, bring: Bring) -> None:
        """Bring what a killed writer left into this event.

        Errors: ``storage_full``, ``storage_refused``, ``corrupt_document`` (definite): it is still to be done, and
        nothing else may be; ``CommitFailed``.
        """
        link = self._link(event)
        intent = _read(link)
        if intent is None:
            return
        if self._path(intent.cart).exists():
            for part in intent.parts:
                if part.event == event:
                    bring(intent.cart, part)
        _remove([link])
        # Each removes its own link before it looks for the others: so the last one sees none.
        if not any(self._still_has(part.event, intent.cart) for part in intent.parts):
            _remove([self._path(intent.cart)])

    def finish_at_start(self, bring: Bring) -> None:
        """``finish_all``, by the first process of a new master. Errors: ``RefusedToStart``."""
        try:
            self.finish_all(bring)
        except Problem as problem:
            raise RefusedToStart(f"a cart that a crash interrupted cannot be finished: {problem.detail}") from None

    def finish_all(self, bring: Bring) -> None:
        """Finish every cart, in all of its events; to be called while nobody else reads or writes. Errors: as of
        ``finish``."""
        for path in sorted(self._directory.glob("*.json")):
            intent = _read(path)
            for part in () if intent is None else intent.parts:
                bring(path.stem, part)
            _remove([path])
        leftovers = [*self._directory.glob("*.pending"), *self._directory.glob("*.tmp")]
        _remove(leftovers)
        self._names.sync()

    def _still_has(self, event: str, cart: str) -> bool:
        found = _read(self._link(event))
        return found is not None and found.cart == cart

    def _path(self, cart: str) -> Path:
        return self._directory / f"{cart}.json"

    def _link(self, event: str) -> Path:
        return self._directory / f"{event}.pending"


def _link_anew(path: Path, link: Path) -> None:
    """Without a guard another cart may be under way in the same event; its link is then lost, as its sale may be."""
    try:
        link.hardlink_to(path)
    except FileExistsError:
        other = temporary_beside(link)
        other.hardlink_to(path)
        other.rename(link)


def _read(path: Path) -> Intent | None:
    content = read_if_there(path)
    try:
        return None if content is None else _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(
            "corrupt_document",
            f"{path.parent.name}/{path.name} in the data directory cannot be read ({error}): a cart was being written "
            "when a process was killed. Nothing was written. Stop the service, keep a copy, and put a good copy back.",
        ) from None


def _remove(paths: Iterable[Path]) -> None:
    """What cannot be removed is found again, and says what is already true."""
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
