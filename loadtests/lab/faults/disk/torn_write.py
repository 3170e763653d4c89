"""Fault ``torn-write``: the power is cut, and the last write that was not synced is on the disk in part.

There has to be such a write, also on a disk that syncs at once: so each sync waits before it begins. If everything was
synced all the same, everything is started again, and the power is cut again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import msgspec

from loadtests.lab.faults.base import NotInjected
from loadtests.lab.faults.disk.power_cut import PowerCut
from loadtests.lab.faults.disk.traced_disk import SECTOR, Disk, File, Image, Write
from loadtests.lab.faults.disk.tracing import prefix

SYNC_WAITS_MS = 5
_TRIES = 3


class NothingToTear(NotInjected):
    """Everything was synced. No file was changed."""


class TornWrite(PowerCut):
    name: ClassVar[str] = "torn-write"
    says: ClassVar[str] = (
        "The power is cut in the middle of a sync: the last write is on the disk in part, and the office is started "
        "again."
    )

    sync: ClassVar[str] = "fdatasync"
    """Stores sync files by this one; ``fsync`` they ask for directories, which have no write to tear."""
    sync_within_s: ClassVar[float] = 3.0

    def adapt(self, service: Any) -> Any:
        return msgspec.structs.replace(super().adapt(service), under=prefix(sync_waits_ms=SYNC_WAITS_MS))

    def begin(self, server: Any) -> str:
        for _ in range(_TRIES - 1):
            with contextlib.suppress(NothingToTear):
                return super().begin(server)
            server.restart()
        return super().begin(server)

    def _cut(self, disk: Disk) -> tuple[str, Image]:
        path, _, write = _last_write(disk)
        there = len(_beginning(write).data)
        text, image = super()._cut(disk)
        return f"{there} of the {len(write.data)} bytes of the last write to {path} are there; {text}", image

    def _kept(self, disk: Disk) -> Callable[[int, Any], Sequence[Any]]:
        """All before that write."""
        _, last, _ = _last_write(disk)
        return lambda place, change: [change] if place < last else [_beginning(change)] if place == last else []


def _last_write(disk: Disk) -> tuple[str, int, Write]:
    """The last write that was not synced, with its file's path and its place in the trace. Raises ``NothingToTear``."""
    writes = [
        (path.lstrip("/"), place, change)
        for path, node in disk.nodes()
        if isinstance(node, File) and not node.mapped
        for place, change in node.changes
        if isinstance(change, Write) and len(change.data) > 1
    ]
    if not writes:
        raise NothingToTear("everything was synced when the power was cut: there was no write to tear")
    return max(writes, key=lambda each: each[1])


def _beginning(write: Write) -> Write:
    """What is there of it: its first sector; of one that lies in one sector, its first half."""
    first = SECTOR - write.offset % SECTOR
    return Write(write.offset, write.data[: first if first < len(write.data) else len(write.data) // 2])
