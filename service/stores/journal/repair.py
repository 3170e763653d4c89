"""Repairing a journal: what cannot be read is set aside, and the books go on from what is certain.

Of each damaged segment a copy is kept beside, and in its place comes one with every line that can be read, each as it
was, and a gap where one was lost. Behind them begins a segment of its own: its head says how many places are taken for
certain and which holds are open for certain (``journal_check``), so that whoever sells on reckons with that and never
with the sum of what is left.

One flipped bit is put right: a CRC-32 finds it, for no other line at a distance of one bit has the right checksum.

The new head comes first. Until the last damaged segment is replaced the office refuses the journal as it did before, so
a repair that is killed has made nothing worse, and is begun again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from service.errors import Problem
from service.rules.inventory import Event, Record
from service.runtime.files import replace_durably, sync_names
from service.stores.journal.index import place_of, split_place
from service.stores.journal.ledger import SEGMENT_RECORDS
from service.stores.journal.lines import (
    Counters,
    Damaged,
    Gap,
    Line,
    Seal,
    SegmentHead,
    decode,
    encode,
    head,
    may_be_torn,
)
from service.stores.journal.mark import set_mark
from service.stores.journal.segments import begin_segment, segment_numbers, segment_path
from service.stores.journal.verification import Books, lost_bytes, read_lines

_SHORTEST = 90
"""Bytes that the shortest record has."""
_LONGEST_PUT_RIGHT = 8192
"""Bytes in which a flipped bit is looked for: up to some 11,000 the checksum tells one flipped bit from two."""

Items = list[tuple[bytes, Line]]
"""Lines with their bytes."""


def repair_journal(directory: Path) -> list[str]:
    """Repair a journal that ``verify_journal`` finds damaged; returns what was done. To be called while ``appending``.

    Errors: ``Problem("corrupt_document")`` where nothing says what event it is: nothing was written; ``OSError``.
    """
    numbers = segment_numbers(directory)
    known = _known_head(directory, numbers)
    last = numbers[-1]
    books, anew, done = Books(directory), dict[int, bytes](), list[str]()
    following, gaps, end = _read(directory, 1, done)
    for number in range(1, last + 1):
        items = following + gaps
        if number == last:
            # Without one, what stands behind is what a crash left of a line that it tore.
            whole = [line for line, meaning in following if not isinstance(meaning, Gap)]
            sealed = any(isinstance(meaning, Seal) for _, meaning in following[-1:])
            lost = _lost_lines(directory, last, end, sum(map(len, whole)) - sum(map(len, set(whole))), sealed=sealed)
            items = following + (_gap(f"what stood behind byte {end} is gone", lost) if lost else [])
        else:
            following, gaps, end = _read(directory, number + 1, done)
        after = None if number == last else _head_of(number + 1, following)
        complete = number == last or any(isinstance(each, Seal) for _, each in items)
        content = _write_anew(number, known, items, books, after, complete=complete)
        path = segment_path(directory, number)
        if not path.exists() or content != path.read_bytes():
            anew[number] = content
    if books.pending:
        done.append(f"up to {books.lost} lines are gone at the end: what they may have taken stays taken")
        books.lost_at_the_end()
    if books.doubtful:
        done.append(
            f"up to version {books.doubtful} a cancellation or the end of a hold may be lost: no order from before is "
            "cancelled any more, and a hold from before is none; their places stay taken"
        )
    before = books.settled(at_last=True)
    if known.about.hall and books.gaps:
        done.append("nobody knows which seats the lost lines took: those that were free are not for sale any more")
    _replace(directory, _head_behind(books, known, last + 1, before), anew)
    return done + [f"{segment_path(directory, number).name} was written anew" for number in anew]


def _head_behind(books: Books, known: SegmentHead, number: int, before: Counters) -> SegmentHead:
    """The head of the segment that begins behind what the books have."""
    return head(
        known.id, books.about or known.about, number, before, books.holds.open(), doubtful=books.doubtful,
        seats=books.seats,
    )  # fmt: skip


def _replace(directory: Path, head: SegmentHead, anew: dict[int, bytes]) -> None:
    begin_segment(directory, head)
    for index in directory.glob("index-*"):
        index.unlink()
    for number, content in anew.items():
        path = segment_path(directory, number)
        if path.exists():
            os.link(path, _free_name(path))
        replace_durably(path, content)
    # The old mark speaks of bytes that stand elsewhere now. Without one nobody would miss the new head, and with it all
    # that is not in the lines.
    set_mark(directory / "durable", place_of(head.segment, len(encode(head))))
    # Else a power cut could bring a damaged segment back, without what is sold from now on.
    sync_names(directory)


def _free_name(path: Path) -> Path:
    """Where a copy is kept: one of an earlier repair stays."""
    names = (path.with_suffix(".damaged" + (f"-{again}" if again else "")) for again in range(10**6))
    return next(each for each in names if not each.exists())


def _known_head(directory: Path, numbers: Sequence[int]) -> SegmentHead:
    """A head that can be read: all of them say what event it is."""
    for number in reversed(numbers):
        items, *_ = _read(directory, number, [])
        for _, meaning in items:
            if isinstance(meaning, SegmentHead):
                return meaning
    raise Problem(
        "corrupt_document",
        f"no head of {directory.name} can be read, so nobody knows what event it is and how many places it has. "
        "Nothing was written. Put a good copy back.",
    )


def _head_of(number: int, items: Items) -> SegmentHead | None:
    return next((each for _, each in items if isinstance(each, SegmentHead) and each.segment == number), None)


def _read(directory: Path, number: int, done: list[str]) -> tuple[Items, Items, int]:
    """The lines of a segment up to the last readable one, what stands behind it, and where it ends.

    A flipped bit is put right; each line that cannot be read is a gap.
    """
    items: Items = []
    gaps: Items = []
    end, before = 0, b""
    path = segment_path(directory, number)
    if not path.exists():
        return [], [], 0
    for offset, line, meaning in read_lines(path):
        if isinstance(meaning, Damaged):
            found = _put_right(line)
            if not found and before:
                # The flipped bit may have made an end of line in the middle of one: then this is its other half.
                found = _put_right(before + line)
                gaps = gaps[:-1] if found else gaps
            if not found:
                before = line
                gaps += _gap(f"byte {offset}: {meaning.reason}", _lines_in(len(line)))
                continue
            done.append(f"{path.name}, byte {offset}: a flipped bit was put right")
        else:
            found = [(line, meaning)]
        items += [*gaps, *found]
        gaps, before, end = [], b"", offset + len(line)
    return items, gaps, end


def _put_right(unread: bytes) -> Items:
    """The line, or the two, that this was before one of its bits was flipped; none where there are none."""
    if len(unread) > _LONGEST_PUT_RIGHT:
        return []
    flipped = bytearray(unread)
    for at in range(len(unread)):
        for bit in range(8):
            flipped[at] ^= 1 << bit
            try:
                lines = [each + b"\n" for each in bytes(flipped).removesuffix(b"\n").split(b"\n")]
                if flipped.endswith(b"\n"):
                    return [(each, decode(each)) for each in lines]
            except Damaged:
                pass
            flipped[at] ^= 1 << bit
    return []


def _gap(why: str, lines: int) -> Items:
    gap = Gap(why, lines)
    return [(encode(gap), gap)]


def _lines_in(length: int) -> int:
    """How many lines so many bytes may have been, at most."""
    return length // _SHORTEST + 1


def _lost_lines(directory: Path, number: int, end: int, copies: int, *, sealed: bool) -> int:
    """How many lines may be gone, at most, behind the last readable one, where so many bytes before it are copies.

    ``sealed``: that one is the segment's seal, so only what later segments had can be gone.
    """
    tail = segment_path(directory, number).read_bytes()[end:]
    synced = lost_bytes(directory, number, end - copies)
    if not synced and (not tail or may_be_torn(tail)):
        return 0
    last, offset = split_place(place_of(number, end) + synced)
    if last == number:
        return min(_lines_in(max(synced, len(tail))), SEGMENT_RECORDS)
    return (last - number - sealed) * SEGMENT_RECORDS + min(_lines_in(offset), SEGMENT_RECORDS)


def _write_anew(
    number: int, known: SegmentHead, items: Items, books: Books, after: SegmentHead | None, *, complete: bool
) -> bytes:
    """What a segment shall have: its head, each of its records once and in order, gaps where one is gone, its seal.

    ``after``: the next one's head, which tells whether something is gone at the end, as it is where this one is not
    ``complete``.
    """
    lines: list[bytes] = []

    def put(meaning: Line, line: bytes = b"") -> None:
        lines.append(line or encode(meaning))
        if isinstance(meaning, SegmentHead):
            list(books.head(meaning))
        elif isinstance(meaning, Record):
            list(books.record(meaning))
        elif isinstance(meaning, Gap):
            books.gap(meaning.lines)

    head, earlier = _head_of(number, items), books.lost
    if head is not None:
        earlier = 0
        put(head, next(line for line, meaning in items if meaning is head))
    else:
        put(_head_behind(books, known, number, books.settled()))
        put(Gap("its head is gone, and what else stood here", earlier + (1 if items else SEGMENT_RECORDS)))
    behind = max((place for place, (_, meaning) in enumerate(items, 1) if isinstance(meaning, Record)), default=0)
    of_the_head = head is None and bool(items) and isinstance(items[0][1], Gap)
    unplaced = sum(isinstance(meaning, Gap) for _, meaning in items[:behind]) - of_the_head
    for line, record in _in_order(items, books.counters.version, known.about):
        if books.is_copy(record):
            continue
        missing = max(0, record.version - books.counters.highest - 1)
        if missing and not books.pending:
            put(Gap(f"what stood before version {record.version} is gone", missing))
        unplaced, earlier = unplaced - max(0, missing - earlier), 0
        put(record, line)
    for line, meaning in items[behind:]:
        if isinstance(meaning, Gap):
            put(meaning, line)
    if unplaced > 0:
        # A line that cannot be read, and no version is missing there: it may be a later one that changed places.
        put(Gap("what stood between is gone, and no line says where it belongs", unplaced))
    seal = next((item for item in items if isinstance(item[1], Seal)), None)
    if not complete:
        put(Gap("what stood at the end is gone", SEGMENT_RECORDS))
    elif not books.pending and after is not None and books.denies(after):
        put(Gap("what stood at the end is gone", max(1, after.before.version - books.counters.version)))
    lines.append(seal[0] if seal is not None else encode(Seal(number)))
    return b"".join(lines)


def _in_order(items: Items, version: int, about: Event) -> list[tuple[bytes, Record]]:
    """The records, and those that changed places are put back: in the order of their versions. Of a lab event, which
    may have been sold without a guard, only if fewer of those are missing then."""
    records = [(line, meaning) for line, meaning in items if isinstance(meaning, Record)]
    ordered = sorted(records, key=lambda item: item[1].version)
    return ordered if not about.lab or _missing(ordered, version) < _missing(records, version) else records


def _missing(records: Iterable[tuple[bytes, Record]], version: int) -> int:
    """Before how many records one is missing."""
    found = 0
    for _, record in records:
        found += record.version > version + 1
        version = max(version, record.version)
    return found
