"""Folders in memory, for files of tests that are about no disk.

A disk makes each write that is kept wait for milliseconds, and thousands of tests write. What a killed process leaves
is the same in both. What is left when the power goes is not, and no folder of a test says anything about that.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

_MEMORY = Path("/dev/shm")
GIB = 1 << 30


def _place(room_bytes: int) -> str | None:
    """Where such a folder is made; None for the disk, where this machine has not so much memory to spare."""
    if not _MEMORY.is_dir():
        return None
    free = min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available)
    return str(_MEMORY) if free > room_bytes else None


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """A new folder, removed at the end."""
    made = Path(tempfile.mkdtemp(prefix="lastseat-", dir=_place(GIB)))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextlib.contextmanager
def temporary_folders(room_bytes: int) -> Iterator[None]:
    """Inside, whoever makes a temporary folder in this process gets one in memory."""
    before = tempfile.tempdir
    tempfile.tempdir = _place(room_bytes) or before
    try:
        yield
    finally:
        tempfile.tempdir = before
