"""The lines of a journal: JSON, one a line, each with a checksum of its own text.

    {"journal":2,"id":"…","about":{…},"segment":2,"before":{"count":16384,"sold":…},"open":[…],"crc":"09f1c2aa"}
    {"version":16385,"kind":"sold","key":"…","order":"…","quantity":2,"tickets":[31,32],…,"crc":"7d5e01b3"}
    {"sealed":2,"crc":"51c09e77"}

A segment begins with a *head*, which says of what event it is, what all segments before it add up to, and which holds
were open behind them; it ends with a *seal* once the next one has begun. Format 1 had no holds: such segments are read,
and what is written goes into a new one, so that a service which knows only format 1 says so instead of meeting a line
that it cannot read. Format 3 is format 2 behind a repair: its heads have ``doubtful``. Format 4 is of an event with a
hall: its heads have ``seats``. ``crc`` is the CRC-32 of everything before it in the line. A line that a crash left half
written fails it, and so does one with a flipped bit.

Which of the two it was shows in what is left. A crash loses the end of what was being written, or sectors out of it,
which then hold zeros. A line that has its end and no zeros, and does not fit its checksum, is damage.
"""

from __future__ import annotations

import zlib

import msgspec

from service.rules.halls import packed
from service.rules.inventory import Event, Held, Record
from service.rules.records import CHANGES

FORMAT = 2
REPAIRED = 3
SEATED = 4
READABLE = frozenset({1, FORMAT, REPAIRED, SEATED})
NO_SEAL = "it ends without its seal, so what stood there is gone"
HEAD_INSIDE = "a head in the middle"
NOT_TORN = "the last line cannot be read, and is not as a crash leaves one"
SYNCED = "what stands behind, or stood, cannot be read, and it had been synced"
_TAIL = len(b',"crc":"00000000"}\n')
_encoder = msgspec.json.Encoder()
_records = msgspec.json.Decoder(Record)


ANY_VERSION = 1 << 62
"""The highest version behind a gap: whatever comes next is believed."""


class Counters(msgspec.Struct):
    """What the records up to some place add up to."""

    count: int = 0
    version: int = 0
    """Of the last record; under an unsafe guard not always the highest."""
    highest: int = 0
    sold: int = 0
    next_ticket: int = 1
    held: int = 0


class SegmentHead(msgspec.Struct, frozen=True):
    """The first line of a segment."""

    journal: int
    id: str
    """Made with the event: another event of the same name has another one."""
    about: Event
    segment: int
    before: Counters
    open: tuple[Held, ...] = ()
    """The holds that stood open at its beginning, in the order in which they expire."""
    doubtful: int = 0
    """Up to this version a line was lost that may have been a cancellation: an order from before it is not cancelled
    any more, for its places may have been given back, and sold, already. 0 in a journal that was never repaired."""
    seats: bytes = b""
    """With a hall: the state of each seat at its beginning, packed."""


def head(
    name: str,
    about: Event,
    segment: int,
    before: Counters,
    holds: tuple[Held, ...] = (),
    *,
    doubtful: int | None = None,
    seats: bytes | bytearray = b"",
) -> SegmentHead:
    """The head of a segment, in the format that it needs. ``doubtful``: None where nothing was repaired. ``seats``: the
    state of each; by default all are free."""
    form = SEATED if about.hall else FORMAT if doubtful is None else REPAIRED
    seats = seats or bytes(about.capacity if about.hall else 0)
    return SegmentHead(form, name, about, segment, before, holds, doubtful or 0, packed(seats))


class Seal(msgspec.Struct, frozen=True):
    """The last line of a segment that has a successor."""

    sealed: int


class Gap(msgspec.Struct, frozen=True):
    """Left by ``repair``: lines that could not be read stood here, so versions may jump."""

    gap: str
    lines: int = 1
    """How many, at most, where no line behind it tells."""


Line = Record | SegmentHead | Seal | Gap


class Damaged(Exception):
    """A line that is none, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode(line: Line) -> bytes:
    """A line with its checksum and its end."""
    text = _encoder.encode(line)[:-1]
    return b'%b,"crc":"%08x"}\n' % (text, zlib.crc32(text))


def decode(line: bytes) -> Line:
    """The meaning of a line with its end. Raises ``Damaged`` in words."""
    if not line.endswith(b'"}\n') or line[-_TAIL : -_TAIL + 8] != b',"crc":"':
        raise Damaged("it breaks off")
    text = line[:-_TAIL]
    if b"%08x" % zlib.crc32(text) != line[-11:-3]:
        raise Damaged("its checksum is wrong")
    try:
        if text.startswith(b'{"version"'):
            return _records.decode(line)
        for prefix, kind in _OTHERS.items():
            if text.startswith(prefix):
                found: Line = msgspec.json.decode(line, type=kind)
                return found
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(str(error)) from None
    raise Damaged("it is of no known kind")


def may_be_torn(tail: bytes) -> bool:
    """Whether a crash can have left this behind the last whole line, of a write whose buyers have no answer yet."""
    line, end, _ = tail.partition(b"\n")
    if b"\0" in line:
        return True
    if end:
        return False
    try:
        decode(line[:-1] + b"\n")
    except Damaged:
        return True
    return False  # all of a line, and in the place of its end another byte


_OTHERS: dict[bytes, type[SegmentHead] | type[Seal] | type[Gap]] = {
    b'{"journal"': SegmentHead,
    b'{"sealed"': Seal,
    b'{"gap"': Gap,
}


def count_in(counters: Counters, record: Record) -> None:
    """Add a record. Raises ``Damaged`` where a version is missing before it: nobody can have written that."""
    if record.version > counters.highest + 1:
        raise Damaged(f"version {record.version} follows {counters.highest}: what stood between is gone")
    counters.count += 1
    counters.version = record.version
    counters.highest = record.version if counters.highest == ANY_VERSION else max(counters.highest, record.version)
    sold, held, numbered = CHANGES[record.kind]
    counters.sold += sold * record.quantity
    counters.held += held * record.quantity
    if numbered:
        counters.next_ticket = max(counters.next_ticket, record.tickets[-1] + 1)
