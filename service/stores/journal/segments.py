"""The segments of one event's journal on the disk: reading what was appended, appending, sealing, syncing.

A segment is a file of lines (``journal_lines``), named after its number. The last one is *active*; a line is appended
to it in one write, under a short lock of its own that lets one writer in at a time whatever guard there is: it keeps
lines whole, it does not make a decision right.

What survives a power cut: a segment's content once ``sync`` has returned for it; a sealed segment, the directory and
the head of the next one are synced before the first record goes into the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from service.errors import Problem
from service.runtime.files import (
    commit_failed,
    open_directory,
    replace_durably,
    storage_problems,
    sync_data,
    try_flock,
    unlock_directory,
    write_all,
)
from service.stores.journal.lines import FORMAT, READABLE, Damaged, Line, SegmentHead, decode, encode

_CHUNK = 1 << 20
_POLL_S = 0.0002
_APPEND_PATIENCE_S = 10.0


class Position(NamedTuple):
    """A place in a journal: everything before it."""

    segment: int
    offset: int


class Segment:
    """One segment, opened for reading and appending."""

    def __init__(self, directory: Path, number: int) -> None:
        self.fd = -1
        self.number = number
        self.path = segment_path(directory, number)
        self.name = os.fspath(self.path)  # a Path is made into one anew each time
        self.fd = os.open(self.name, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self.inode = os.fstat(self.fd).st_ino

    def __del__(self) -> None:
        self.close()

    def size(self) -> int:
        return os.fstat(self.fd).st_size

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def size_unless_replaced(self, seen: int) -> int:
        """Its size; raises the problem where the file is another one, or shorter than what this process has read."""
        try:
            found = os.stat(self.name)
        except FileNotFoundError:
            if not self.path.parent.exists():
                raise Problem("unknown_event") from None
            found = None
        if found is None or found.st_ino != self.inode or found.st_size < seen:
            raise Problem(
                "corrupt_document",
                f"{self.path.name} was replaced by an older copy, or cut, while the service runs: it had {seen} bytes. "
                "Nothing was written. Stop the service; start it again only if the older copy is to count.",
            )
        return found.st_size

    def lines(self, offset: int, end: int | None = None) -> Iterator[tuple[int, Line]]:
        """The whole lines from ``offset`` on, each with the offset after it; ends before what may be a torn tail.

        Raises ``Problem("corrupt_document")`` at a damaged line that has a readable one behind it.
        """
        rest = b""
        while True:
            wanted = _CHUNK if end is None else min(_CHUNK, end - offset - len(rest))
            chunk = os.pread(self.fd, wanted, offset + len(rest)) if wanted > 0 else b""
            if not chunk:
                return
            block = rest + chunk
            whole = block.rfind(b"\n") + 1
            for line in block[:whole].splitlines(keepends=True):
                try:
                    meaning = decode(line)
                except Damaged as damage:
                    if self._readable_behind(offset + len(line)):
                        raise self.damaged(offset, damage.reason) from None
                    return
                offset += len(line)
                yield offset, meaning
            rest = block[whole:]

    def behind(self, offset: int) -> bytes:
        """All that stands behind ``offset``."""
        return os.pread(self.fd, max(0, self.size() - offset), offset)

    def damaged(self, offset: int, reason: str) -> Problem:
        """The problem for a line that cannot be read."""
        return Problem(
            "corrupt_document",
            f"{self.path.parent.name}/{self.path.name} is damaged at byte {offset}: {reason}. Nothing was written. "
            "`lastseat journal verify` says more; put a good copy back, or see `lastseat journal repair --help`.",
        )

    def _readable_behind(self, offset: int) -> bool:
        """Whether any whole line stands behind ``offset``: then what is before it is no torn tail."""
        rest = b""
        while chunk := os.pread(self.fd, _CHUNK, offset):
            offset += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                with contextlib.suppress(Damaged):
                    decode(line + b"\n")
                    return True
        return False


def segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:08d}.jsonl"


def missing(directory: Path, number: int) -> Problem:
    """The problem for a segment that is not there."""
    return Problem(
        "corrupt_document",
        f"{directory.name}/{segment_path(directory, number).name} is missing. Nothing was written. "
        "Stop the service and put a good copy back, or see `lastseat journal repair --help`.",
    )


def segment_numbers(directory: Path) -> list[int]:
    """The numbers of the segments that are there, ascending."""
    return sorted(int(name[:8]) for name in os.listdir(directory) if name.endswith(".jsonl") and name[:8].isdigit())


def begin_segment(directory: Path, head: SegmentHead) -> None:
    """Make a segment with its head, durably, name and all.

    Errors: ``storage_full``, ``storage_refused`` (definite); ``CommitFailed``.
    """
    # Opened before anything is written: where descriptors are scarce, nothing has happened.
    with storage_problems():
        fd = open_directory(directory)
    try:
        with storage_problems():
            replace_durably(segment_path(directory, head.segment), encode(head))
        with commit_failed(directory):
            os.fsync(fd)
    finally:
        os.close(fd)


def read_head(segment: Segment) -> tuple[int, SegmentHead]:
    """The head of a segment and the offset after it."""
    for offset, line in segment.lines(0):
        if not isinstance(line, SegmentHead):
            break
        if line.journal not in READABLE:
            raise segment.damaged(0, f"it is of format {line.journal}, and this service reads up to {FORMAT}")
        return offset, line
    raise segment.damaged(0, "it has no head")


class Appending:
    """One writer of a journal at a time, for as long as a write lasts: a flock on the journal's own directory, which
    nobody can remove or replace without all that it protects. Whoever has it may enter it again; to be used by one
    thread at a time.

    Errors: ``FileNotFoundError`` where it is opened; ``lock_timeout``, ``storage_refused`` (definite).
    """

    __slots__ = ("_depth", "_fd")

    def __init__(self, directory: Path) -> None:
        self._fd = -1
        self._depth = 0
        self._fd = open_directory(directory)

    def __enter__(self) -> None:
        deadline = 0.0
        while not self._depth and not self._try():
            now = time.monotonic()
            deadline = deadline or now + _APPEND_PATIENCE_S
            if now > deadline:
                raise Problem("lock_timeout", "Another writer does not come to an end.", retry_after_s=1)
            time.sleep(_POLL_S)
        self._depth += 1

    def _try(self) -> bool:
        with storage_problems():
            return try_flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            unlock_directory(self._fd)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def cut_torn_tail(segment: Segment, end: int) -> int:
    """Remove what stands behind ``end``, a line that a crash left unfinished; it is kept beside. Returns its length.

    To be called while ``appending``: then nobody is still writing it. Errors: as of ``append``.
    """
    torn = segment.behind(end)
    if not torn:
        return 0
    beside = segment.path.with_name(f"{segment.path.stem}.torn-{end}")
    with storage_problems():
        beside.write_bytes(torn)
        os.ftruncate(segment.fd, end)
    with commit_failed(segment.path):
        sync_data(segment.fd)
    return len(torn)


def append(segment: Segment, end: int, content: bytes, halfway: Callable[[], None] | None = None) -> None:
    """Write whole lines behind ``end``, or nothing. To be called while ``appending``.

    ``halfway`` is called between two halves of the write: an experiment kills the writer there.
    Errors: ``storage_full``, ``storage_refused`` (definite): what was written of it is taken back; ``CommitFailed``
    where that fails too.
    """
    pieces = [content] if halfway is None else [content[: len(content) // 2], content[len(content) // 2 :]]
    try:
        with storage_problems():
            for number, piece in enumerate(pieces):
                if number and halfway is not None:
                    halfway()
                write_all(segment.fd, piece)
    except BaseException:
        # Durably: of several records the first may be whole, and its buyer is told that nothing was written.
        with commit_failed(segment.path):
            if segment.size() > end:
                os.ftruncate(segment.fd, end)
                sync_data(segment.fd)
        raise
