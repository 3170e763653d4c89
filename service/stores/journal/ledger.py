"""One event's journal as one process knows it: the counters, what the active segment holds, indexes for the rest.

What other processes appended is read from the tail before every view. So the state in memory is that of the active
segment only, and the open holds, which the segment's head has from before; a key, an order, a closed hold or a buyer
from before is found through an index and read from its place.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from service.errors import Problem
from service.rules.halls import unpacked
from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Held,
    Order,
    Record,
    Release,
    View,
    hold_after,
    order_after,
    seat,
)
from service.runtime.files import commit_failed, sync_data
from service.runtime.gevent import call_blocking
from service.stores.base import Conflict
from service.stores.halls import halls_in
from service.stores.journal.closed import ClosedSegments
from service.stores.journal.holds import Holds
from service.stores.journal.index import place_of
from service.stores.journal.lines import (
    FORMAT,
    HEAD_INSIDE,
    NOT_TORN,
    SYNCED,
    Counters,
    Damaged,
    Gap,
    Line,
    Seal,
    SegmentHead,
    count_in,
    encode,
    head,
    may_be_torn,
)
from service.stores.journal.mark import DurableMark
from service.stores.journal.segments import (
    Appending,
    Position,
    Segment,
    append,
    begin_segment,
    cut_torn_tail,
    read_head,
    segment_numbers,
    segment_path,
)

SEGMENT_RECORDS = 16_384
MAY_BE_TWINS = frozenset({"cancelled", "released", "expired"})
"""What two processes without a guard may both write of one order or hold, letter by letter: their ids are older."""
_OF_A_HOLD = (Confirm, Release)  # not a union: building one costs as much as the rest of the look

log = logging.getLogger("lastseat")


class Ledger:
    """Any number of threads or greenlets use it at once."""

    def __init__(self, directory: Path, segment_records: int | None = None) -> None:
        """Open a journal, ``journal/<event>`` of a data directory. Errors: ``unknown_event``, ``corrupt_document``."""
        self._directory = directory
        self._halls = halls_in(directory.parent.parent)
        self._segment_records = segment_records or SEGMENT_RECORDS
        self._mutex = threading.RLock()
        self._syncing = threading.Lock()
        self._closed = ClosedSegments(directory)
        self._sealed = False
        try:
            numbers = segment_numbers(directory)
            if not numbers:
                raise Problem(
                    "corrupt_document",
                    f"journal/{directory.name} in the data directory has no segment any more. Nothing was written. "
                    "Stop the service and put a good copy back, or remove that directory.",
                )
            self._appending = Appending(directory)
            self._mark = DurableMark(directory / "durable")
            self._open(numbers[-1])
        except FileNotFoundError:
            raise Problem("unknown_event") from None
        self._closed.indexes = self._closed.indexes_before(self._segment.number)
        with self._appending:
            self._read_on()
            self._mark.begin(place_of(self._segment.number, self._offset))

    # -- reading --------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Take in what was appended since."""
        with self._mutex:
            size = self._segment.size_unless_replaced(self._offset)
            if self._sealed or size > self._offset:
                # While nobody writes: of records that are written together the first may be there already and be taken
                # back yet, when there is no room for the last.
                with self._appending:
                    self._read_on()

    def _read_on(self) -> None:
        """To be called while ``appending``."""
        while True:
            if self._segment.size() > self._offset:
                # Ends before a line that is being written, or that a crash left torn.
                for offset, line in self._segment.lines(self._offset):
                    if isinstance(line, Record) and self._stands_already(line):
                        raise self._segment.damaged(self._offset, f"version {line.version} stands there twice")
                    self._take_in(line, offset)
            if not (self._sealed and self._open_successor()):
                self._refuse_what_no_crash_leaves()
                return

    def _refuse_what_no_crash_leaves(self) -> None:
        """What was read ends here. A crash may have torn what was being written; what was answered for was synced."""
        lost = self._mark.place - place_of(self._segment.number, self._offset)
        if lost > 0:
            raise self._segment.damaged(
                self._offset,
                f"{SYNCED}. If an older copy is to count, stop the service and remove {self._directory.name}/durable",
            )
        tail = self._segment.behind(self._offset) if self._segment.size() > self._offset else b""
        if tail and not may_be_torn(tail):
            raise self._segment.damaged(self._offset, NOT_TORN)

    def view(self, commands: Sequence[Command], order: str | None, now: datetime | None = None) -> View:
        """The counters, what the commands need to see, and the holds that are due ``now``."""
        with self._mutex:
            self.refresh()
            counters = self._counters
            view = View(self.about, counters.version, counters.sold, counters.held, counters.next_ticket)
            if self._hall is not None:
                view.hall, view.seats = self._hall, self._seats.copy()
            view.source = Position(self._segment.number, self._offset)
            if now is not None and self._holds.may_be_due(now):
                view.due = self._holds.due(now)
            for command in commands:
                record = self._keys.get(command.key) or self._find_key(command.key)
                if record is not None:
                    view.keys[command.key] = record
                buyer = getattr(command, "buyer", None)
                if isinstance(command, Cancel):
                    self._show_order(view, command.order, to_cancel=True)
                elif isinstance(command, _OF_A_HOLD):
                    buyer = self._show_hold(view, command.hold)
                if buyer is not None and self.about.max_per_buyer is not None and buyer not in view.bought:
                    view.bought[buyer] = self._bought(buyer)
            if order is not None:
                self._show_order(view, order)
            return view

    def next_expiry(self) -> datetime | None:
        """When the first of the open holds ends; None where there is none."""
        with self._mutex:
            self.refresh()
            return self._holds.next_expiry()

    def active_path(self) -> str:
        """The segment that is appended to, as far as this process has read."""
        return self._segment.name

    @property
    def count(self) -> int:
        """How many records this process has seen."""
        return self._counters.count

    def audit(self) -> tuple[int, Position]:
        """How many records there are, and where they end."""
        with self._mutex:
            self.refresh()
            return self._counters.count, Position(self._segment.number, self._offset)

    def records(self, until: Position) -> Iterator[Record]:
        """All records before a place, in the order in which they were written, read as they are asked for."""
        for number in range(1, until.segment + 1):
            for _, line in self._closed.lines(number, until.offset if number == until.segment else None):
                if isinstance(line, Record):
                    yield line

    # -- writing --------------------------------------------------------------------------------------------------

    def append(
        self,
        records: Sequence[Record],
        *,
        unchanged_since: Position | None = None,
        halfway: Callable[[], None] | None = None,
    ) -> Position:
        """Write records behind what is there. With ``unchanged_since``, only if nothing was written after that place.

        Errors: ``Conflict``; ``storage_full``, ``storage_refused``, ``lock_timeout`` (definite); ``CommitFailed``;
        ``OSError``, with nothing written.
        """
        lines = [encode(record) for record in records]
        with self._mutex, self._appending:
            self._catch_up()
            if unchanged_since is not None and unchanged_since != (self._segment.number, self._offset):
                raise Conflict
            if self._sealed or self._in_segment >= self._segment_records or self._format < FORMAT:
                self._begin_next_segment()
            for record in records:
                # Before the write: once it is there, nothing may fail any more.
                self._holds.remember(self._before(record))
            append(self._segment, self._offset, b"".join(lines), halfway)
            for record, line in zip(records, lines, strict=True):
                self._take_in(record, self._offset + len(line))
            position = Position(self._segment.number, self._offset)
            self._mark.wrote(place_of(*position))
            return position

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Nobody else writes to this journal inside this block, whatever the guard, and all that stands in it is known.

        Errors: ``lock_timeout``, ``storage_refused``, ``unknown_event``, ``corrupt_document`` (definite).
        """
        with self._mutex, self._appending:
            self._segment.size_unless_replaced(self._offset)
            self._catch_up()
            yield

    def end(self) -> Position:
        """Where it ends, as far as this process has read."""
        return Position(self._segment.number, self._offset)

    def bring(self, records: Sequence[Record]) -> None:
        """Let the journal have the records of a cart, those that are not there yet, and sync it. Idempotent, also where
        it was interrupted.

        Errors: as of ``append`` and ``writing``, definite: the rest is still to be brought.
        """
        with self.writing():
            missing = [record for record in records if not self._has(record)]
            if missing:
                self._refuse_what_does_not_follow(missing[0])
                self.append(missing)
            self.sync(self.end())

    def sync(self, position: Position) -> None:
        """Return when everything before ``position`` survives a power cut. Errors: ``CommitFailed``."""
        wanted = place_of(*position)
        if self._mark.place >= wanted:
            return
        with self._syncing:
            # While this thread waited, the sync before it often covered its place.
            if self._mark.place >= wanted:
                return
            segment = self._segment
            if position.segment < segment.number:
                return  # a sealed segment was synced before its successor got its first record
            covered = max(wanted, min(self._mark.written, place_of(segment.number + 1, 0)))
            with commit_failed(segment.path):
                call_blocking(lambda: sync_data(segment.fd))
            self._mark.advance(covered)

    # -- within ---------------------------------------------------------------------------------------------------

    def _open(self, number: int) -> None:
        """Make a segment the active one, with nothing of it taken in but its head."""
        segment = Segment(self._directory, number)
        self._offset, begun = read_head(segment)
        self._segment = segment
        self.id, self.about, self._format = begun.id, begun.about, begun.journal
        self._hall = self._halls.of(self.about)
        self._seats = bytearray(unpacked(begun.seats)[: self.about.capacity])
        self._doubtful = begun.doubtful
        self._sealed = False
        self._counters: Counters = begun.before
        self._in_segment = 0
        self._keys: dict[str, Record] = {}
        self._orders: dict[str, Order] = {}
        self._holds = Holds(begun.open)
        self._of_buyer: dict[str, int] = {}

    def _take_in(self, line: Line, offset: int) -> None:
        if isinstance(line, Record):
            # First what has to look into other segments, and may fail: else the record would be counted now, read again
            # later, and what it gave back would be given back twice.
            hold = self._before(line)
            try:
                count_in(self._counters, line)
            except Damaged as damage:
                raise self._segment.damaged(self._offset, damage.reason) from None
            self._in_segment += 1
            if line.about is not None:
                self.about = line.about
            if line.key:
                self._keys[line.key] = line
            if line.order:
                self._orders[line.order] = order_after(line, None)
            if line.hold:
                self._holds.take_in(line, hold)
            if self._hall is not None:
                seat(self._hall, self._seats, line)
            if line.buyer is not None:
                self._of_buyer[line.buyer] = self._of_buyer.get(line.buyer, 0) + line.taken
        elif isinstance(line, Gap):
            # What stood there is not in the counters. Behind a repair a segment begins whose head has them right.
            raise self._segment.damaged(self._offset, "an older repair left a gap here and did not count what was lost")
        elif isinstance(line, Seal):
            self._sealed = True
        elif isinstance(line, SegmentHead):
            raise self._segment.damaged(self._offset, HEAD_INSIDE)
        self._offset = offset

    def _before(self, record: Record) -> Held | None:
        """The hold that a record ends, as it stood."""
        return self._hold(record.hold) if record.hold and record.kind != "held" else None

    def _stands_already(self, record: Record) -> bool:
        """Whether this very record was read before: somebody copied the line."""
        if record.version > self._counters.highest:
            return False
        if self.about.lab and record.kind in MAY_BE_TWINS:
            return False
        if record.key:
            return (self._keys.get(record.key) or self._find_key(record.key)) == record
        hold = self._hold(record.hold)
        return hold is not None and hold.status == record.kind

    def _has(self, record: Record) -> bool:
        """Whether a record of a cart was brought. A sale is told by its order, which nobody else gave a name to; an
        expiry is to be brought only while the hold is open, for it gives the places back."""
        if record.order:
            return self._order(record.order) is not None
        hold = self._hold(record.hold)
        return hold is not None and hold.status != "held"

    def _refuse_what_does_not_follow(self, record: Record) -> None:
        """A cart was decided on what stood here, and nobody decides anything before it is finished. Where that is not
        so, files were replaced; a record that follows nothing would make the journal unreadable."""
        counters = self._counters
        if record.version > counters.highest + 1 or (record.version <= counters.version and not self.about.lab):
            raise self._segment.damaged(
                self._offset, f"a cart is to go on here at version {record.version}, and this is {counters.version}"
            )

    def _catch_up(self) -> None:
        """Take in what others appended, and cut what a crash left unfinished; to be called while ``appending``."""
        if self._sealed or self._segment.size() != self._offset:
            self._read_on()
            self._cut_torn_tail()

    def _cut_torn_tail(self) -> None:
        length = cut_torn_tail(self._segment, self._offset)
        if length:
            log.warning(
                "%s: %d bytes that a crash left unfinished were cut at byte %d and kept beside it",
                self._segment.path.name,
                length,
                self._offset,
            )

    def _open_successor(self) -> bool:
        """Go on in the segment after a sealed one; whether it is there yet."""
        following = self._segment.number + 1
        if not segment_path(self._directory, following).exists():
            return False  # its writer was killed in between; the next writer makes it
        # First: where there is no room for an index this one stays as it is, instead of forgetting what it has not.
        indexes = self._closed.indexes_before(following)
        self._open(following)
        self._closed.indexes = indexes
        return True

    def _begin_next_segment(self) -> None:
        """Seal the active segment, sync it, and go on in a new one; nobody else writes meanwhile."""
        number = self._segment.number
        if not self._sealed:
            append(self._segment, self._offset, encode(Seal(number)))
            self._sealed = True
            self._offset = self._segment.size()
        with commit_failed(self._segment.path):
            sync_data(self._segment.fd)
        begin_segment(
            self._directory,
            head(
                self.id, self.about, number + 1, self._counters, self._holds.open(), doubtful=self._doubtful or None,
                seats=self._seats,
            ),
        )  # fmt: skip
        self._mark.advance(place_of(number + 1, 0))
        self._read_on()

    def _find_key(self, key: str) -> Record | None:
        return next(self._closed.records("key", key), None)

    def _order(self, order: str, *, to_cancel: bool = False) -> Order | None:
        found = self._orders.get(order)
        if found is not None:
            return found
        for record in self._closed.records("order", order):
            found = order_after(record, found)
            if to_cancel and record.version <= self._doubtful:
                found = msgspec.structs.replace(found, status="cancelled")
        return found

    def _show_order(self, view: View, order: str, *, to_cancel: bool = False) -> None:
        """Let the view have an order. Whoever wants ``to_cancel`` one that may have been cancelled, by a line that a
        repair could not read, finds that it was: it would give its places back a second time."""
        found = self._order(order, to_cancel=to_cancel)
        if found is not None:
            view.orders[order] = found

    def _hold(self, hold: str) -> Held | None:
        found = self._holds.get(hold)
        if found is not None:
            return found
        for record in self._closed.records("hold", hold):
            found = hold_after(record, found)
        if found is not None and found.status == "held":
            # All that are open are known here: a repair does not know what became of this one. Its places stay taken,
            # and its buyer may have others.
            found = msgspec.structs.replace(found, status="expired")
        return found

    def _show_hold(self, view: View, hold: str) -> str | None:
        """Let the view have a hold; returns its buyer."""
        found = self._hold(hold)
        if found is None:
            return None
        view.holds[hold] = found
        return found.buyer

    def _bought(self, buyer: str) -> int:
        earlier = sum(record.taken for record in self._closed.records("buyer", buyer))
        return earlier + self._of_buyer.get(buyer, 0)
