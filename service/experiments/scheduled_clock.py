"""The clock of an experiment: the scheduler moves it, and between two moves it stands still.

It is a file beside the scheduler's socket, mapped by every process: eight bytes, the nanoseconds since 1970. So a hold
ends when the scheduler says so, before, between or after any gates, and for all processes at once.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

_1970 = datetime.fromtimestamp(0, UTC)


def scheduled_clock(gates: Path, otherwise: Callable[[], datetime]) -> Callable[[], datetime]:
    """The clock beside this socket; where there is none, ``otherwise``."""
    try:
        fd = os.open(gates.with_name("clock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return otherwise
    try:
        page = mmap.mmap(fd, 8, access=mmap.ACCESS_READ)
    finally:
        os.close(fd)
    # Exact: a float of so many nanoseconds is not, and an instant is compared with others.
    return lambda: _1970 + timedelta(microseconds=int.from_bytes(page[:8], "little") // 1000)
