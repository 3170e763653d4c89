"""Numbers in a mapped file, in the format of prometheus_client's multiprocess mode, which reads them.

prometheus_client writes such files too; this module reserves their room on the disk beforehand (see ``reserve``) and
changes a number by one assignment of eight bytes, which another process that reads meanwhile sees whole. The numbers
outlive the process, though not a power cut.

The format: the bytes in use (int32, padded to eight); then for each number the length of its key (int32), the key in
UTF-8 filled with blanks up to a multiple of eight bytes, its value and a timestamp (two doubles).
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict

from service.runtime.files import reserve

_HEAD = 8


class Number:
    """One number. Its callers see to it that no two threads change it at once."""

    __slots__ = ("_doubles", "_place", "value")

    def __init__(self, doubles: memoryview[float], place: int, value: float) -> None:
        self._doubles = doubles
        self._place = place
        self.value = value

    def add(self, amount: float) -> None:
        self._doubles[self._place] = self.value = self.value + amount

    def put(self, value: float) -> None:
        self._doubles[self._place] = self.value = value


class Book:
    """The numbers of one file, by their keys."""

    def __init__(self, path: Path, room: int) -> None:
        """Opens the file, or makes it with ``room`` bytes. Errors: ``OSError`` where the disk has no room."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            reserve(fd, room)
            self._page = mmap.mmap(fd, room)
        finally:
            os.close(fd)
        # Every value stands at a multiple of its own eight bytes.
        self._doubles = memoryview(self._page).cast("d")
        self._room = room
        self._used = max(_HEAD, struct.unpack_from("=i", self._page)[0])
        struct.pack_into("=i", self._page, 0, self._used)
        found = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
        self._numbers = {key: Number(self._doubles, at // 8, value) for key, value, _, at in found}

    def number(self, key: str) -> Number:
        """The number of this key; 0 if it is new. Without room it is one that no other process sees."""
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = self._write(key.encode())
        return found

    def _write(self, key: bytes) -> Number:
        entry = struct.pack("=i", len(key)) + key + b" " * (8 - (len(key) + 4) % 8)
        begin, end = self._used + len(entry), self._used + len(entry) + 16
        if end > self._room:
            return Number(memoryview(bytearray(8)).cast("d"), 0, 0.0)
        self._page[self._used : end] = entry + bytes(16)
        self._used = end
        # Last: a process that reads meanwhile must not take an unfinished entry for a number.
        self._page[0:4] = struct.pack("=i", end)
        return Number(self._doubles, begin // 8, 0.0)

    def close(self) -> None:
        """Nothing may be changed afterwards."""
        self._doubles.release()
        self._page.close()
