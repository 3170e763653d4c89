"""Fault ``slow-disk``: every write to a file and every sync takes long, as on a disk that others keep busy."""

from __future__ import annotations

from typing import ClassVar

from loadtests.lab.faults.disk.calls import WRITES, CallsFault
from loadtests.lab.faults.disk.tracing import SYNCS

DELAY_MS = 50


class SlowDisk(CallsFault):
    name: ClassVar[str] = "slow-disk"
    says: ClassVar[str] = f"Every write and every sync of a file takes {DELAY_MS} ms longer."
    calls: ClassVar[str] = f"{WRITES},{SYNCS}"
    how: ClassVar[str] = f"delay_exit={DELAY_MS}000"
    words: ClassVar[str] = f"writes and syncs took {DELAY_MS} ms longer"
