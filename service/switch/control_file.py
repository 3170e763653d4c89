"""The file ``control``, small and memory-mapped, which all processes of a data directory read on every request.

It has words of eight aligned bytes, so that no process sees half of one, and two *slots* for what belongs to an epoch
(its guard, its master, its store), used in turn. A process that begins an epoch writes all of the slot that is not in
use and then commits it with the epoch's word: if it is killed in between, it has changed nothing.

All processes that have mapped the *same* file share the words, and somebody may remove or replace its name. So the file
names itself (its device and number): a copy, an empty file and one that was given up can be recognized.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

from service.runtime.files import reserve, temporary_beside, try_flock

LAST = 2**62  # a counter beyond this was not counted
EPOCH, GENERATION, WISH, CLOSED, LOCK_SERIES, _DEVICE, _NUMBER = range(7)
_SLOTS, _NAME_SIZE = 56, 32
_SLOT_SIZE = 16 + _NAME_SIZE
SIZE = _SLOTS + 2 * _SLOT_SIZE


class Slot(NamedTuple):
    """What belongs to an epoch; the master and the store are fingerprints."""

    master: int
    store: int
    guard: str


class Words:
    """The words of one file. ``Words()`` has no file: all words are 0, and no other process sees them."""

    def __init__(self, fd: int = -1, *, fresh: bool = False) -> None:
        """``fresh``: the file has no room yet. The object owns the descriptor and closes it. Errors: ``OSError``."""
        self.fd = fd
        if fresh:
            reserve(fd, SIZE)
        self._map = mmap.mmap(fd, SIZE)
        self._words = memoryview(self._map).cast("q")

    def __del__(self) -> None:
        # Not earlier than with the last reference: another thread may still read.
        self.close()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def counted(self) -> tuple[int, int, int]:
        """The epoch, the generation and the series of lock files."""
        words = self._words
        return words[EPOCH], words[GENERATION], words[LOCK_SERIES]

    def __getitem__(self, word: int) -> int:
        value: int = self._words[word]
        return value

    def __setitem__(self, word: int, value: int) -> None:
        self._words[word] = value

    def slot(self, epoch: int) -> Slot:
        start = _SLOTS + epoch % 2 * _SLOT_SIZE
        master, store = struct.unpack_from("=qq", self._map, start)
        return Slot(master, store, self._map[start + 16 : start + _SLOT_SIZE].rstrip(b"\0").decode())

    def begin_epoch(self, epoch: int, slot: Slot) -> None:
        """Commit an epoch and all that belongs to it; to be called while no transaction runs."""
        start = _SLOTS + epoch % 2 * _SLOT_SIZE
        struct.pack_into("=qq", self._map, start, slot.master, slot.store)
        self._map[start + 16 : start + _SLOT_SIZE] = slot.guard.encode().ljust(_NAME_SIZE, b"\0")
        self[EPOCH] = epoch

    def is_at(self, path: str) -> bool:
        """Whether this file has that name, and was not given up."""
        try:
            there = os.stat(path)
        except OSError:
            return False
        return there.st_ino == self._words[_NUMBER] and there.st_dev == self._words[_DEVICE]

    def give_up(self) -> None:
        """Mark this file as replaced by another one, for every process that has mapped it."""
        self[_NUMBER] = self[_DEVICE] = 0

    @property
    def given_up(self) -> bool:
        return self[_NUMBER] == 0

    def is_shared(self) -> bool:
        """Whether another process is here (see ``be_here``). A process may ask only before it is here itself.

        Errors: ``OSError``.
        """
        if not try_flock(self.fd, fcntl.LOCK_EX):
            return True
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        return False

    def be_here(self) -> bool:
        """Let ``is_shared`` see this process for as long as it lives; False while another process is asking."""
        return try_flock(self.fd, fcntl.LOCK_SH)


def open_words(path: str) -> Words | None:
    """The words of the file of that name; None if it is missing, or if ``write_words`` did not make it there."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if os.fstat(fd).st_size != SIZE:
        os.close(fd)
        return None
    words, itself = Words(fd), os.fstat(fd)
    its_own = (words[_NUMBER], words[_DEVICE]) == (itself.st_ino, itself.st_dev)
    return words if its_own and all(0 <= words[word] <= LAST for word in (EPOCH, GENERATION, LOCK_SERIES)) else None


def write_words(path: str, like: Words) -> Words:
    """Give the name to a new file with these words; to be called while no transaction runs. Errors: ``OSError``."""
    temporary = temporary_beside(Path(path))
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        words, itself = Words(fd, fresh=True), os.fstat(fd)
        for word in range(SIZE // 8):
            words[word] = like[word]
        words[_NUMBER], words[_DEVICE] = itself.st_ino, itself.st_dev
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return words


def fingerprint(text: str) -> int:
    """A number for a name of any length; 0 for none."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest()) if text else 0
