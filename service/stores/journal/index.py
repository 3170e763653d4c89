"""Where in the closed segments of a journal a key, an order, a hold or a buyer stands, without reading them.

An index covers some neighbouring closed segments. It is two sorted columns in one file: a 64-bit hash of the name, and
the place (segment and offset) of a record with that name. A lookup is a binary search in the memory-mapped file, so
processes share the pages and none of it is anybody's own memory; the record found is read and compared, since two names
may share a hash.

Indexes are derived: one that is missing is built again from its segments, and so is one whose checksum is wrong, or
that was made of segments of another length, since a key that it does not find would be sold a second time.

Small indexes are merged as in a log-structured merge tree: one is merged with its neighbour once it is as large, so
there are never more than a few, and each entry is rewritten a logarithmic number of times.
"""

from __future__ import annotations

import bisect
import hashlib
import logging
import mmap
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from service.rules.inventory import Record
from service.runtime.files import replace_durably
from service.stores.journal.segments import segment_path

log = logging.getLogger("lastseat")
_MAGIC = b"lastseat-index-2"
_COVERS = slice(len(_MAGIC), len(_MAGIC) + 8)
"""How many bytes its segments have."""
_SUM = slice(_COVERS.stop, _COVERS.stop + 8)
"""The CRC-32 of all the rest."""
_HEAD = _SUM.stop
_OFFSET_BITS = 40
_NAME = re.compile(r"index-(\d+)-(\d+)")


def place_of(segment: int, offset: int) -> int:
    """One number for a place in a journal; later places are larger."""
    return segment << _OFFSET_BITS | offset


def split_place(place: int) -> tuple[int, int]:
    return place >> _OFFSET_BITS, place & ((1 << _OFFSET_BITS) - 1)


def hash_of(kind: str, name: str) -> int:
    """``kind`` keeps a key and an order of the same name apart."""
    return int.from_bytes(hashlib.blake2b(f"{kind}:{name}".encode(), digest_size=8).digest(), "little")


def entries_of(record: Record, place: int) -> Iterator[tuple[int, int]]:
    """What an index has of a record."""
    if record.key:
        yield hash_of("key", record.key), place
    if record.order:
        yield hash_of("order", record.order), place
    if record.hold:
        yield hash_of("hold", record.hold), place
    if record.buyer is not None:
        yield hash_of("buyer", record.buyer), place


class Index:
    """One index file, opened. ``first`` and ``last`` are the segments that it covers."""

    def __init__(self, path: Path) -> None:
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path.name} is no index")
        self.path = path
        self.first, self.last = int(match[1]), int(match[2])
        with path.open("rb") as file:
            self.inode = os.fstat(file.fileno()).st_ino
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        view = memoryview(self._map)
        self.size = (len(view) - _HEAD) // 16
        self.covers = int.from_bytes(view[_COVERS], "little")
        if view[: len(_MAGIC)] != _MAGIC or view[_SUM] != _sum(view[_COVERS], view[_HEAD:]):
            raise ValueError("it is damaged, or of an older version")
        if self.covers != bytes_of(path.parent, self.first, self.last):
            raise ValueError("it was made of other segments than are there")
        self._hashes = view[_HEAD : _HEAD + 8 * self.size].cast("Q")
        self._places = view[_HEAD + 8 * self.size :].cast("Q")

    def find(self, wanted: int) -> list[int]:
        """The places of a hash, in order."""
        at = bisect.bisect_left(self._hashes, wanted)
        found = []
        while at < self.size and self._hashes[at] == wanted:
            found.append(self._places[at])
            at += 1
        return sorted(found)


def write_index(directory: Path, first: int, last: int, entries: Iterable[tuple[int, int]]) -> Index:
    """Make the index of some segments; it replaces one of the same segments."""
    import numpy as np

    table = np.array(list(entries), dtype=np.uint64).reshape(-1, 2)
    return _write(directory, first, last, table[:, 0], table[:, 1])


def merge(directory: Path, left: Index, right: Index) -> Index:
    """One index of two neighbours, which are removed."""
    import numpy as np

    columns = [
        np.concatenate([np.asarray(getattr(each, name)) for each in (left, right)]) for name in ("_hashes", "_places")
    ]
    merged = _write(directory, left.first, right.last, columns[0], columns[1])
    # Another process may have them open: a mapped file lives on without its name.
    for each in (left, right):
        each.path.unlink(missing_ok=True)
    return merged


def _write(directory: Path, first: int, last: int, hashes: object, places: object) -> Index:
    import numpy as np

    order = np.lexsort((np.asarray(places), np.asarray(hashes)))
    covers = bytes_of(directory, first, last).to_bytes(8, "little")
    columns = b"".join(np.asarray(column)[order].astype("<u8").tobytes() for column in (hashes, places))
    content = b"".join([_MAGIC, covers, _sum(covers, columns), columns])
    path = directory / f"index-{first}-{last}"
    replace_durably(path, content)
    return Index(path)


def _sum(*parts: bytes | memoryview) -> bytes:
    total = 0
    for part in parts:
        total = zlib.crc32(part, total)
    return total.to_bytes(8, "little")


def bytes_of(directory: Path, first: int, last: int) -> int:
    """How many bytes these segments have. Errors: ``FileNotFoundError``."""
    return sum(segment_path(directory, number).stat().st_size for number in range(first, last + 1))


def open_indexes(directory: Path, opened: Iterable[Index] = ()) -> list[Index]:
    """The indexes that are there and whole, widest first where several cover a segment, in order.

    Those which are ``opened`` already are not looked through again. Errors: ``OSError``.
    """
    known = {each.path.name: each for each in opened}
    found: list[Index] = []
    for name in os.listdir(directory):
        if _NAME.fullmatch(name):
            path = directory / name
            try:
                index = known.get(name)
                found.append(index if index is not None and path.stat().st_ino == index.inode else Index(path))
            except FileNotFoundError:
                continue  # merged meanwhile; or of a segment that is missing, and whoever builds it again says so
            except ValueError as error:
                log.warning("%s is not used: %s. It is built again from its segments", path, error)
    found.sort(key=lambda index: (index.first, -index.last))
    kept: list[Index] = []
    for index in found:
        if not kept or index.first > kept[-1].last:
            kept.append(index)
    return kept
