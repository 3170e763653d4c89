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
from service.rules.inventory import Record
from service.runtime.files import replace_durably, sync_names
from service.stores.journal.ledger import SEGMENT_RECORDS
from service.stores.journal.lines import REPAIRED, Damaged, Gap, Head, Line, Seal, decode, encode, may_be_torn
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
    books, anew, done, lost = Books(), dict[int, bytes](), list[str](), 0
    following, gaps, end = _read(directory, 1, done)
    for number in range(1, last + 1):
        items = following + gaps
        if number == last:
            lost = _lost_lines(directory, last, end)
            if not lost:
                items = following  # what stands behind is what a crash left of a line that it tore
        else:
            following, gaps, end = _read(directory, number + 1, done)
        after = None if number == last else _head_of(number + 1, following)
        complete = not lost if number == last else any(isinstance(each, Seal) for _, each in items)
        content = _write_anew(number, known, items, books, after, complete=complete)
        path = segment_path(directory, number)
        if not path.exists() or content != path.read_bytes():
            anew[number] = content
    if books.pending:
        books.lost_at_the_end(max(lost, 1))
        done.append(f"up to {max(lost, 1)} lines are gone at the end: what they may have taken stays taken")
    if books.doubtful:
        done.append(
            f"up to version {books.doubtful} a cancellation or the end of a hold may be lost: no order from before is "
            "cancelled any more, and a hold from before is none; their places stay taken"
        )
    head = Head(REPAIRED, known.id, known.about, last + 1, books.settled(), books.holds.open(), books.doubtful)
    _replace(directory, head, anew)
    return done + [f"{segment_path(directory, number).name} was written anew" for number in anew]


def _replace(directory: Path, head: Head, anew: dict[int, bytes]) -> None:
    begin_segment(directory, head)
    for index in directory.glob("index-*"):
        index.unlink()
    for number, content in anew.items():
        path = segment_path(directory, number)
        if path.exists():
            os.link(path, _free_name(path))
        replace_durably(path, content)
    # The mark speaks of bytes that stand elsewhere now.
    (directory / "durable").unlink(missing_ok=True)
    # Else a power cut could bring a damaged segment back, without what is sold from now on.
    sync_names(directory)


def _free_name(path: Path) -> Path:
    """Where a copy is kept: one of an earlier repair stays."""
    names = (path.with_suffix(".damaged" + (f"-{again}" if again else "")) for again in range(10**6))
    return next(each for each in names if not each.exists())


def _known_head(directory: Path, numbers: Sequence[int]) -> Head:
    """A head that can be read: all of them say what event it is."""
    for number in reversed(numbers):
        items, *_ = _read(directory, number, [])
        for _, meaning in items:
            if isinstance(meaning, Head):
                return meaning
    raise Problem(
        "corrupt_document",
        f"no head of {directory.name} can be read, so nobody knows what event it is and how many places it has. "
        "Nothing was written. Put a good copy back.",
    )


def _head_of(number: int, items: Items) -> Head | None:
    return next((each for _, each in items if isinstance(each, Head) and each.segment == number), None)


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
                gap = Gap(f"byte {offset}: {meaning.reason}")
                gaps.append((encode(gap), gap))
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


def _lost_lines(directory: Path, number: int, end: int) -> int:
    """How many lines may be gone, at most, behind the last readable one."""
    tail = segment_path(directory, number).read_bytes()[end:]
    synced = lost_bytes(directory, number, end)
    if not synced and (not tail or may_be_torn(tail)):
        return 0
    segments = (synced >> 40) + 1
    return min(max(synced, len(tail)) // _SHORTEST + 1, segments * SEGMENT_RECORDS)


def _write_anew(number: int, known: Head, items: Items, books: Books, after: Head | None, *, complete: bool) -> bytes:
    """What a segment shall have: its head, each of its records once and in order, gaps where one is gone, its seal.

    ``after``: the next one's head, which tells whether something is gone at the end, as it is where this one is not
    ``complete``.
    """
    lines: list[bytes] = []

    def put(meaning: Line, line: bytes = b"") -> None:
        lines.append(line or encode(meaning))
        if isinstance(meaning, Head):
            list(books.head(meaning))
        elif isinstance(meaning, Record):
            list(books.record(meaning))
        elif isinstance(meaning, Gap):
            books.gap()

    head = _head_of(number, items)
    if head is not None:
        put(head, next(line for line, meaning in items if meaning is head))
    else:
        pending, before = books.pending, books.settled()
        put(Head(REPAIRED, known.id, known.about, number, before, books.holds.open(), books.doubtful))
        if pending or not items:
            put(Gap("what stood here, or at the end before, is gone"))
    for line, meaning in _in_order(items, books.counters.version):
        if isinstance(meaning, Record):
            if books.is_copy(meaning):
                continue
            if not books.pending and meaning.version > books.counters.highest + 1:
                put(Gap(f"what stood before version {meaning.version} is gone"))
        if isinstance(meaning, Record | Gap):
            put(meaning, line)
    seal = next((item for item in items if isinstance(item[1], Seal)), None)
    if not books.pending and (not complete or (after is not None and books.denies(after))):
        put(Gap("what stood at the end is gone"))
    lines.append(seal[0] if seal is not None else encode(Seal(number)))
    return b"".join(lines)


def _in_order(items: Items, version: int) -> Items:
    """Lines that changed places are put back: in the order of their versions, if fewer of those are missing then."""
    ordered = sorted(items, key=lambda item: item[1].version if isinstance(item[1], Record) else 0)
    return ordered if _missing(ordered, version) < _missing(items, version) else items


def _missing(items: Iterable[tuple[bytes, Line]], version: int) -> int:
    """Before how many records one is missing."""
    found = 0
    for _, meaning in items:
        if isinstance(meaning, Record):
            found += meaning.version > version + 1
            version = max(version, meaning.version)
    return found
