"""The head of an event: the small document that every write replaces.

    {"format":2,
    "about":{"event":"show","name":"Show","capacity":100},
    "version":131,
    "sold":131,
    "held":0,
    "next_ticket":132,
    "sealed":{"page":"<SHA-256>","pages":1,"records":128},
    "open":[],
    "seats":"",
    "recent":[
    {"version":129,"kind":"sold",…},
    …
    ]}

``recent`` are the newest records, ``open`` all holds that can still become due, and ``sealed`` names the newest page
of the older records; each page names the one before it (``pages``). So a head stays small, and is one writer's whole
truth. Of an event with a hall ``format`` is 3, and ``seats`` the state of each seat, two bits each in base64.

**Fields to come.** A reader passes over a field that it does not know, and its next write leaves it out. So a field
that may be lost is added as it is; one that must not be lost comes with a higher ``format``, in the heads that need it,
and a reader refuses a format that it does not know. Under HUP the processes of two versions serve at once.

**The format before** had no ``format`` and all records in ``records``. It is read, and the next write makes a head of
it. A head has no ``records``, so that a process of that version refuses it, instead of finding nothing sold.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Literal

import msgspec

from service.rules.halls import packed, unpacked
from service.rules.inventory import Event, Held, Record, View, hold_after, replay


class Sealed(msgspec.Struct, frozen=True):
    """The older records: the newest page of theirs, and how many pages and records there are."""

    page: str
    pages: int
    records: int


class _Stored(msgspec.Struct):
    format: Literal[2, 3]
    about: Event
    version: int
    sold: int
    held: int
    next_ticket: int
    open: msgspec.Raw
    recent: list[msgspec.Raw]
    sealed: Sealed | None = None
    seats: bytes = b""


class _StoredBefore(msgspec.Struct):
    about: Event
    sold: int
    records: list[msgspec.Raw]
    held: int = 0


class _Which(msgspec.Struct):
    format: int = 1


_decoder = msgspec.json.Decoder(_Stored)
_decoder_before = msgspec.json.Decoder(_StoredBefore)
_which = msgspec.json.Decoder(_Which)
_open = msgspec.json.Decoder(list[Held])
_record = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()
_texts = msgspec.json.Decoder(list[msgspec.Raw])
_ends = attrgetter("ends")
_RECENT, _BETWEEN, _END = b'"recent":[\n', b",\n", b"\n]}\n"
"""What stands before the recent records, between two of them, and behind them."""


class Head(msgspec.Struct, frozen=True):
    """A head as it was read or is to be written. Nobody changes it: it is shared by all who read the same bytes."""

    about: Event
    version: int
    sold: int
    held: int
    next_ticket: int
    sealed: Sealed | None
    open: tuple[Held, ...]
    """All holds that are open, in the order in which they expire."""
    open_text: bytes
    recent: tuple[Record, ...]
    recent_text: bytes
    """The recent records as they are written, each in one line."""
    seats: bytes = b""
    """With a hall: the state of each seat, and up to three zeros behind them."""
    packed_seats: bytes = b""
    """``seats`` as it is written."""

    @property
    def lines(self) -> list[bytes]:
        """The recent records as they are written: no JSON has a line break within a string."""
        return self.recent_text.split(_BETWEEN) if self.recent else []

    @property
    def count(self) -> int:
        """How many records the event has."""
        return len(self.recent) + (self.sealed.records if self.sealed else 0)

    @property
    def next_expiry(self) -> datetime | None:
        """When the first of the open holds ends; None where none is open."""
        return self.open[0].expires_at if self.open else None

    def due(self, now: datetime | None) -> list[Held]:
        """The open holds that have ended by ``now``, in the order in which they expire; none without a ``now``."""
        ends = self.next_expiry
        if now is None or ends is None or ends > now:
            return []
        return [each for each in self.open if each.expires_at <= now]


def begin(event: Event) -> Head:
    """The head of an event that has nothing sold."""
    seats = bytes(event.capacity if event.hall else 0)
    return Head(event, 0, 0, 0, 1, None, (), b"[]", (), b"", seats, packed(seats))


def read(content: bytes, known: Head | None = None) -> Head:
    """The head that was written so. What the ``known`` one, read before, has too is not read again.

    Errors: ``msgspec.DecodeError``, ``UnicodeDecodeError``.
    """
    if known is not None and (split := _split(content, known.recent_text)):
        with contextlib.suppress(msgspec.DecodeError):  # a person may have written it in another order
            front, rest = split
            recent, text = _records_in(_texts.decode(rest), known.recent, known.recent_text)
            return _head(_decoder.decode(front), recent, text, known)
    try:
        stored = _decoder.decode(content)
    except msgspec.ValidationError:
        if _which.decode(content).format != 1:
            raise
        return _read_before(content)
    return _head(stored, *_records_in(stored.recent), known)


def _head(stored: _Stored, recent: tuple[Record, ...], text: bytes, known: Head | None) -> Head:
    open_text = bytes(stored.open)
    if known is not None and known.open_text == open_text:
        holds = known.open
    else:
        holds = tuple(sorted(_open.decode(open_text), key=_ends))
    seats = known.seats if known is not None and known.packed_seats == stored.seats else unpacked(stored.seats)
    return Head(
        stored.about, stored.version, stored.sold, stored.held, stored.next_ticket, stored.sealed, holds, open_text,
        recent, text, seats, stored.seats,
    )  # fmt: skip


def _split(content: bytes, known: bytes) -> tuple[bytes, bytes] | None:
    """A head without its recent records, and an array of those that it has after the known ones, both as JSON; None
    where it does not begin with these."""
    start = content.find(_RECENT) + len(_RECENT)
    end = start + len(known)
    if not known or start < len(_RECENT) or not content.startswith(known, start) or not content.endswith(_END):
        return None
    rest = content[end : -len(_END)]
    if rest and not rest.startswith(_BETWEEN):
        return None
    return content[:start] + _END, b"[%b]" % rest[len(_BETWEEN) :]


def _read_before(content: bytes) -> Head:
    stored = _decoder_before.decode(content)
    recent, text = _records_in(stored.records)
    view = replay(stored.about, recent)
    holds, open_text = _open_holds(view.holds)
    return Head(
        stored.about, view.version, view.sold, view.held, view.next_ticket, None, holds, open_text, recent, text
    )


def after(head: Head, view: View, sealed: Sealed | None) -> Head:
    """The head with the view's fresh records behind it. ``sealed``: where its recent records were sealed, as far as
    that page and none of them stays in it; else as it was."""
    holds, open_text = head.open, head.open_text
    if any(record.hold for record in view.fresh):
        found = {each.hold: each for each in holds}
        for record in view.fresh:
            left = hold_after(record, found.pop(record.hold, None)) if record.hold else None
            if left is not None:
                found[left.hold] = left
        holds, open_text = _open_holds(found)
    recent, texts = tuple(view.fresh), list(map(_encoder.encode, view.fresh))
    if sealed == head.sealed and head.recent:
        recent, texts = head.recent + recent, [head.recent_text, *texts]
    return Head(
        view.event, view.version, view.sold, view.held, view.next_ticket, sealed, holds, open_text, recent,
        _BETWEEN.join(texts), bytes(view.seats), packed(view.seats),
    )  # fmt: skip


def write(head: Head) -> bytes:
    """JSON with a line a record, so that a person can read the head and compare two."""
    return (
        b'{"format":%d,\n"about":%b,\n"version":%d,\n"sold":%d,\n"held":%d,\n"next_ticket":%d,\n"sealed":%b,\n'
        b'"open":%b,\n%b%b%b%b'
    ) % (
        3 if head.about.hall else 2, _encoder.encode(head.about), head.version, head.sold, head.held, head.next_ticket,
        _encoder.encode(head.sealed), head.open_text,
        b'"seats":%b,\n' % _encoder.encode(head.packed_seats) if head.about.hall else b"",
        _RECENT, head.recent_text, _END,
    )  # fmt: skip


def _records_in(
    texts: Sequence[msgspec.Raw], before: tuple[Record, ...] = (), text: bytes = b""
) -> tuple[tuple[Record, ...], bytes]:
    """The records behind those ``before``, and the text of all. What people wrote over several lines is one line from
    now on."""
    records = tuple(map(_record.decode, texts))
    lines = [
        _encoder.encode(record) if b"\n" in line else line
        for record, line in zip(records, map(bytes, texts), strict=True)
    ]
    return before + records, _BETWEEN.join([text, *lines] if before else lines)


def _open_holds(holds: dict[str, Held]) -> tuple[tuple[Held, ...], bytes]:
    still = sorted((each for each in holds.values() if each.status == "held"), key=_ends)
    return tuple(still), b"[%b]" % b",\n".join(map(_encoder.encode, still))
