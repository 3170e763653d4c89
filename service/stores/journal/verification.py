"""A whole journal read with suspicion: what of it is damaged, and what is certain all the same.

A line that cannot be read took or gave back places, and nobody knows which. Where a readable line follows, that one
tells how many places were left after it (``remaining``, or what a head says of all that is before it), so the sum is
certain again. What became of single orders and holds is not, unless one line alone is gone and places were taken by
it: of an order from before nobody knows whether it was cancelled, and of a hold whether it is still one. So up to
there the journal is *doubtful*: such a hold is none any more, such an order cannot be cancelled, and both keep their
places. Nobody can have lost a place by that, and nobody can get one twice.

Versions that grow by one prove that each record was decided on what the one before had left: then everything must add
up. Where two records have one version, somebody wrote without a guard, and then nothing has to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from service.errors import Problem
from service.rules.halls import FREE, SOLD, Hall, unpacked
from service.rules.inventory import Event, Record, seat
from service.stores.halls import halls_in
from service.stores.journal.holds import Holds
from service.stores.journal.index import entries_of, open_indexes, place_of, split_place
from service.stores.journal.ledger import MAY_BE_TWINS
from service.stores.journal.lines import (
    ANY_VERSION,
    HEAD_INSIDE,
    NO_SEAL,
    NOT_TORN,
    SYNCED,
    Counters,
    Damaged,
    Gap,
    Line,
    Seal,
    SegmentHead,
    count_in,
    decode,
    may_be_torn,
)
from service.stores.journal.mark import place_in
from service.stores.journal.segments import segment_numbers, segment_path


@dataclass
class Report:
    """What a reading of a whole journal found."""

    event: str
    segments: int = 0
    records: int = 0
    sold: int = 0
    held: int = 0
    capacity: int = 0
    torn: int = 0
    """Bytes of an unfinished line at the very end, as a crash leaves it."""
    gaps: int = 0
    """Lines that a repair set aside."""
    damages: list[str] = field(default_factory=list)


def read_lines(path: Path) -> Iterator[tuple[int, bytes, Line | Damaged]]:
    """Every line of a segment: where it begins, its bytes, and its meaning or the ``Damaged`` that it is."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            try:
                yield offset, line, decode(line)
            except Damaged as damage:
                yield offset, line, damage
            offset += len(line)


class Books:
    """What the lines of a journal add up to, each told in its order; every method says what is wrong with its line."""

    def __init__(self, directory: Path) -> None:
        """``directory``: of the journal."""
        self._halls = halls_in(directory.parent.parent)
        self._hall: Hall | None = None
        self.seats = bytearray()
        """With a hall: the state of each seat. Where lines are lost, nobody knows which seats they took: whatever was
        free is not for sale any more."""
        self.about: Event | None = None
        self.counters = Counters()
        self.holds = Holds(())
        """Those that are open for certain."""
        self.doubtful = 0
        self.lost = 0
        """How many lines, at most, stood before the next one that could not be read."""
        self.gaps = 0
        self._given = 1
        """The number behind those that were given out for certain: ``counters.next_ticket`` is behind those, too, that
        lost lines may have given out."""
        self._open: dict[str, int] = {}
        """The places of orders and holds that readable lines made, and that no readable line gave back."""
        self._unsure: set[str] = set()
        """Those of them that a lost line may have given back."""
        self._seen: dict[str, int] = {}
        self._serial = True
        self._agree = True

    @property
    def pending(self) -> bool:
        """Whether something stood before the next line that could not be read."""
        return self.lost > 0

    def head(self, head: SegmentHead) -> Iterator[str]:
        """A segment begins."""
        before, counters = head.before, self.counters
        if self.about is not None:
            if self.pending:
                self._settle(before.sold + before.held, before.version)
            elif before.version != counters.version:
                yield f"it says that version {before.version} stands before it, and that is {counters.version}"
            elif not self.gaps:
                # Of a journal that was repaired only the head behind it is true, and it knows more than the lines.
                if before.count != counters.count:
                    yield f"it says {before.count} records stand before"
                elif self.denies(head):
                    what = "holds are open" if head.open != self.holds.open() else "sums are sold and held"
                    yield f"it says other {what} than stood before"
                elif unpacked(head.seats)[: len(self.seats)] != self.seats:
                    yield "it says other seats are taken than stood before"
        backed = sum(places for name, places in self._open.items() if name not in self._unsure)
        if self.gaps and before.sold + before.held < backed:
            yield f"it says {before.sold + before.held} places are taken, and {backed} are"
        self.about = head.about
        try:
            self._hall = self._halls.of(head.about)
        except Problem as problem:
            yield problem.detail
        self.seats = bytearray(unpacked(head.seats)[: head.about.capacity])
        self.counters = msgspec.structs.replace(before)
        if not self.gaps:
            self._given = before.next_ticket
        self.holds = Holds(head.open)
        self.doubtful = max(self.doubtful, head.doubtful)
        self._agree = True
        yield from self._impossible()

    def denies(self, head: SegmentHead) -> bool:
        """Whether a head says other things of what stands before it."""
        before, counters = head.before, self.counters
        said = (before.sold, before.held, before.version, head.open)
        return said != (counters.sold, counters.held, counters.version, self.holds.open())

    def gap(self, lines: int = 1) -> None:
        """So many lines, at most, stood here that cannot be read."""
        self.gaps += 1
        self.lost += lines

    def is_copy(self, record: Record) -> bool:
        """Whether this very line was read before."""
        if self.about is not None and self.about.lab and record.kind in MAY_BE_TWINS:
            return False
        return self._seen.get(_name(record)) == record.version

    def record(self, record: Record) -> Iterator[str]:
        """A record that is no copy."""
        about = record.about or self.about
        counters, capacity = self.counters, about.capacity if about is not None else 0
        if self.pending or record.version > counters.highest + 1:
            if not self.pending:
                yield f"version {record.version} follows {counters.version}: what stood between is gone"
            self._settle(capacity - record.remaining - record.taken, record.version - 1)
        elif record.version <= counters.highest:
            self._serial = False
            if self.about is not None and not self.about.lab:
                yield f"version {record.version} was there already: somebody wrote it without a guard"
        if self._serial:
            yield from self._out_of_order(record)
        self._count(record)
        if self._serial and self._agree and counters.sold + counters.held != capacity - record.remaining:
            self._agree = False
            yield f"it says {record.remaining} places are left, and {capacity - counters.sold - counters.held} are"
        yield from self._impossible()

    def lost_at_the_end(self) -> None:
        """Nothing tells what ``lost`` lines did. Each may have taken as much as an order may have, or given back."""
        counters, about, lines = self.counters, self.about, self.lost
        if about is None:
            raise ValueError("a journal without a head has no counters")
        taken = counters.sold + counters.held
        after = max(taken, min(about.capacity, taken + lines * about.max_per_order))
        self._settle(after, counters.version + lines, certain=False)
        counters.version += lines
        counters.highest = counters.version

    def settled(self, *, at_last: bool = False) -> Counters:
        """What a head says that comes here. ``at_last``: one from which everything goes on; then never fewer places are
        taken than readable lines back. They back more than there are where a cancellation was lost."""
        counters = msgspec.structs.replace(self.counters)
        taken = counters.sold + counters.held
        if at_last and self.about is not None:
            taken = max(taken, min(sum(self._open.values()), self.about.capacity))
        counters.held = sum(each.quantity for each in self.holds.open())
        counters.sold = max(0, taken - counters.held)
        if counters.highest == ANY_VERSION:
            counters.highest = counters.version
        return counters

    def _settle(self, taken: int, version: int, *, certain: bool = True) -> None:
        """Behind what could not be read so many places are taken; go on from there."""
        counters, about = self.counters, self.about
        lines, more = version - counters.version, taken - counters.sold - counters.held
        self.seats = self.seats.replace(bytes((FREE,)), bytes((SOLD,)))
        one_took = certain and lines == 1 and more > 0
        if about is not None:
            # Without a guard several lines may have had one version.
            most = max(lines, self.lost) if about.lab else lines
            counters.next_ticket += more if one_took and most == 1 else max(0, most) * about.max_per_order
        if not (one_took or (lines == 0 and more == 0)):
            self.doubtful = max(self.doubtful, version)
            self._unsure = set(self._open)
            self.holds = Holds(())
            counters.sold, counters.held = counters.sold + counters.held, 0
        counters.sold += more
        counters.highest = ANY_VERSION
        self.lost = 0
        self._agree = True

    def _out_of_order(self, record: Record) -> Iterator[str]:
        """What nobody decided who saw the lines before."""
        if record.kind in ("sold", "held"):
            if record.tickets[:1] < (self._given,):
                yield f"its ticket number {record.tickets[0]} was given out before"
            if self._hall is not None and not self.gaps:
                yield from self._impossible_seats(record, self._hall)
        elif (
            record.kind != "amended"
            and _made(record) not in self._open
            and not self.gaps
            and self.counters.highest != ANY_VERSION
        ):
            yield f"it is {record.kind} and was not open"

    def _impossible_seats(self, record: Record, hall: Hall) -> Iterator[str]:
        for each in record.seats:
            index = hall.index(each)
            if index is None or self.seats[index] != FREE:
                yield f"seat {each} is not in the hall" if index is None else f"seat {each} was not free"

    def _count(self, record: Record) -> None:
        counters = self.counters
        if record.about is not None:
            self.about = record.about
        if self._hall is not None:
            seat(self._hall, self.seats, record)
        if record.kind in ("confirmed", "released", "expired") and self.holds.get(record.hold) is None:
            # It was counted among what is sold, where nobody knew of it.
            counters.held += record.quantity
            counters.sold -= record.quantity
        count_in(counters, record)
        self._seen[_name(record)] = record.version
        if record.kind in ("sold", "held"):
            self._given = max(self._given, record.tickets[-1] + 1)
            if self._serial and self.about is not None and not self.about.lab:
                # All before it gave out smaller ones: so much for what lost lines may have given out.
                counters.next_ticket = self._given
            self._open[_made(record)] = record.quantity
        else:
            self._open.pop(_made(record), None)
        if record.kind == "confirmed":
            self._open[f"o{record.order}"] = record.quantity
        if record.hold:
            self.holds.take_in(record, self.holds.get(record.hold))

    def _impossible(self) -> Iterator[str]:
        counters = self.counters
        if not self._serial or self.about is None:
            return
        if counters.sold < 0 or counters.held < 0:
            yield f"{counters.sold} are sold and {counters.held} held behind it, fewer than none"
        if counters.sold + counters.held > self.about.capacity:
            yield f"{counters.sold + counters.held} of {self.about.capacity} are taken behind it"


class Places:
    """Where the indexes say that records stand, compared with where they do: a line that changed places without making
    its segment longer is no longer found through them, and its key would be sold a second time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._indexes = open_indexes(directory)
        self._entries: dict[Path, int] = {}
        self._wrong: dict[Path, int] = {}

    def noted(self, number: int) -> Iterator[tuple[int, bytes, Line | Damaged]]:
        """The lines of a segment, as of ``read_lines``; the records among them are compared with its index."""
        index = next((each for each in self._indexes if each.first <= number <= each.last), None)
        for offset, line, meaning in read_lines(segment_path(self._directory, number)):
            if index is not None and isinstance(meaning, Record):
                place = place_of(number, offset)
                entries = list(entries_of(meaning, place))
                self._entries[index.path] = self._entries.get(index.path, 0) + len(entries)
                if any(place not in index.find(name) for name, _ in entries):
                    self._wrong.setdefault(index.path, place)
            yield offset, line, meaning

    def damages(self) -> Iterator[str]:
        """What is wrong, when all segments have been read."""
        for index in self._indexes:
            if index.path in self._wrong:
                yield damage(*split_place(self._wrong[index.path]), f"{index.path.name} has another place for it")
            elif self._entries.get(index.path, 0) != index.size:
                yield f"{index.path.name} names records that are not there"


def _name(record: Record) -> str:
    """What there is one of: the end of a hold or of an order, or its beginning."""
    return f"{record.kind} {record.order or record.hold}"


def _made(record: Record) -> str:
    """The order or hold that a record makes, or ends."""
    ends_hold = record.kind in ("held", "confirmed", "released", "expired")
    return f"h{record.hold}" if ends_hold else f"o{record.order}"


def verify_journal(directory: Path) -> Report:
    """Read a whole journal, every line of every segment."""
    report, books, places = Report(directory.name), Books(directory), Places(directory)
    numbers = segment_numbers(directory)
    last = max(numbers, default=0)
    doubt_told = 0
    if not numbers:
        report.damages.append("it has no segment any more")
    for number in range(1, last + 1):
        if number not in numbers:
            report.damages.append(f"{number:08d}.jsonl is missing")
            books.gap()
            continue
        report.segments += 1
        doubt_told = _verify_segment(directory, number, books, places, report, last=number == last)
    if not report.damages:
        # Else they are of segments that are damaged themselves.
        report.damages += places.damages()
    if books.doubtful > doubt_told:
        report.damages.append(
            f"{last:08d}.jsonl: lines are gone, up to version {books.doubtful}, and what was repaired does not reckon "
            "with a cancellation among them"
        )
    if books.about is not None:
        report.capacity = books.about.capacity
    report.records, report.sold, report.held = books.counters.count, books.counters.sold, books.counters.held
    return report


def _verify_segment(directory: Path, number: int, books: Books, places: Places, report: Report, *, last: bool) -> int:
    """Returns the ``doubtful`` of its head."""
    path = segment_path(directory, number)
    found, unread, doubtful, sealed, end = report.damages, list[tuple[int, str]](), 0, False, 0
    for offset, line, meaning in places.noted(number):
        if isinstance(meaning, Damaged):
            unread.append((offset, meaning.reason))
            continue
        if unread:
            found += [damage(number, at, why) for at, why in unread]
            unread = []
            books.gap()
        wrong: Iterator[str] = iter(())
        if sealed:
            wrong = iter(["it stands behind the seal"])
        elif isinstance(meaning, SegmentHead) != (offset == 0):
            wrong = iter(["it has no head" if offset == 0 else HEAD_INSIDE])
        elif isinstance(meaning, SegmentHead):
            doubtful = meaning.doubtful
            wrong = books.head(meaning) if meaning.segment == number else iter(["it is the head of another segment"])
        elif isinstance(meaning, Record) and books.about is not None:
            wrong = (
                iter([f"version {meaning.version} is there twice"]) if books.is_copy(meaning) else books.record(meaning)
            )
        elif isinstance(meaning, Gap):
            report.gaps += 1
            books.gap(meaning.lines)
            if last:
                wrong = iter(["an older repair left a gap here, and did not count what it may have taken"])
        found += [damage(number, offset, why) for why in wrong]
        sealed = isinstance(meaning, Seal)
        end = offset + len(line)
    if last:
        _verify_end(directory, path, number, end, report)
    elif unread or not sealed:
        found += [damage(number, at, why) for at, why in unread]
        if not sealed:
            found.append(damage(number, path.stat().st_size, NO_SEAL))
            books.gap()
    return doubtful


def _verify_end(directory: Path, path: Path, number: int, end: int, report: Report) -> None:
    tail = path.read_bytes()[end:]
    if lost_bytes(directory, number, end):
        report.damages.append(damage(number, end, SYNCED))
    elif end == 0:
        report.damages.append(damage(number, 0, "its head cannot be read"))
    elif tail and not may_be_torn(tail):
        report.damages.append(damage(number, end, NOT_TORN))
    else:
        report.torn = len(tail)


def lost_bytes(directory: Path, number: int, end: int) -> int:
    """How many bytes behind the last readable line had been synced."""
    return max(0, place_in(directory / "durable") - place_of(number, end))


def damage(number: int, offset: int, why: str) -> str:
    """A damage with its place."""
    return f"{number:08d}.jsonl, byte {offset}: {why}"
