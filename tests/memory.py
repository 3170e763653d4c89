"""Folders in memory, for tests that only this process writes in.

A disk makes each write that is kept wait for milliseconds, and thousands of tests write. What a killed process leaves
is the same in both. What is left when the power goes is not, and no folder of a test says anything about that.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 1 << 30


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A new folder, removed at the end; on the disk where this machine has no memory to give to files."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    made = Path(tempfile.mkdtemp(prefix="lastseat-", dir=_MEMORY if roomy else None))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
