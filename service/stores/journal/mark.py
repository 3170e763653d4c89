"""The durable mark of a journal: up to where some process has seen it synced. All processes share it.

One fdatasync covers all earlier appends to a file, also those of other processes. A process that finds the mark beyond
its own place needs no sync of its own. The mark is a lower bound: it may lag behind (when two set it at once), and it
never runs ahead. The mark of an earlier boot saves nobody a sync: the files may have been replaced since.

It has a second use, for which every boot's counts: it was set after the sync had returned, so all before it was on the
disk before the mark could be. What is missing or unreadable there was answered for, and is no torn tail of a crash.

How far a sync reaches is told by ``written``, the end of the last append that was finished, and not by the size of the
file: behind that end may stand half a line, which is cut or taken back, and a record that then comes into its place
would be held for durable before it was synced.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from pathlib import Path

from service.runtime.files import replace_durably

_BOOT, _PLACE, _WRITTEN = 0, 1, 2
_SIZE = 24


class DurableMark:
    """One small memory-mapped file of three aligned words: the boot it belongs to, the place, what is written."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(fd).st_size < _SIZE:
                os.write(fd, bytes(_SIZE))
            self._map = mmap.mmap(fd, _SIZE)
        finally:
            os.close(fd)
        self._words = memoryview(self._map).cast("q")

    def begin(self, end: int) -> None:
        """To be called once by each process that opens the journal, while appending: forget what an earlier boot knew.

        ``end`` is the place where the last whole line ends; who finds the mark beyond it does not come here.
        """
        boot = _this_boot()
        if self._words[_BOOT] != boot:
            self._words[_PLACE] = 0
            self._words[_BOOT] = boot
        self.wrote(end)

    @property
    def place(self) -> int:
        place: int = self._words[_PLACE]
        return place

    @property
    def written(self) -> int:
        """Where the last finished append ended; a lower bound, for a writer may be killed before it says so."""
        written: int = self._words[_WRITTEN]
        return written

    def wrote(self, place: int) -> None:
        """Everything before ``place`` is whole lines; to be called while appending."""
        self._words[_WRITTEN] = place

    def advance(self, place: int) -> None:
        """Everything before ``place`` was synced. A larger mark stays."""
        if place > self.place:
            self._words[_PLACE] = place

    def close(self) -> None:
        self._words.release()
        self._map.close()


def set_mark(path: Path, place: int) -> None:
    """Make a mark anew, durably: everything before ``place`` was synced, in this boot. Errors: ``OSError``."""
    replace_durably(path, struct.pack("=qqq", _this_boot(), place, place))


def _this_boot() -> int:
    """A number that is another one after a reboot. Where the system does not tell, another one for each process."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        name = f"{os.getpid()}:{os.urandom(8).hex()}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=7).digest())


def place_in(path: Path) -> int:
    """The place that the mark in this file has; 0 where there is none."""
    try:
        words = path.read_bytes()
    except FileNotFoundError:
        return 0
    return struct.unpack_from("=qq", words)[_PLACE] if len(words) >= _SIZE else 0
