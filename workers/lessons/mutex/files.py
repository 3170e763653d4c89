"""The file that a sale reads and writes, in place or by replacing it; and ``Flock``, a lock on a file."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any, Protocol

_POLL_S = 0.001


class LockLike(Protocol):
    """The methods of ``multiprocessing.Lock`` and of ``Flock``."""

    def acquire(self, *, timeout: float | None = None) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(self, *error: Any) -> None: ...


class Flock:
    """``flock`` on a file. The kernel keeps it with the open file and takes it back when that is closed, by a kill too.

    Built before a process starts and opened only in ``acquire``: an open file that two processes inherit is one lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def acquire(self, *, timeout: float | None = None) -> bool:
        """Waits for the lock; with a ``timeout`` it tries again and again. True if it was acquired."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if timeout is None:
            fcntl.flock(fd, fcntl.LOCK_EX)
        elif not _try_until(fd, time.monotonic() + timeout):
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


def _try_until(fd: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def read(path: Path) -> dict[str, Any]:
    """The document. Raises ``ValueError`` if the file has only a part of one."""
    with path.open(encoding="utf-8") as file:
        document: dict[str, Any] = json.load(file)
    return document


def write(path: Path, document: dict[str, Any], *, in_place: bool) -> None:
    """In place it empties the file, then fills it. A reader in between finds nothing, or half a document."""
    if not in_place:
        return replace(path, document)
    with path.open("w", encoding="utf-8") as file:
        json.dump(document, file)


def replace(path: Path, document: dict[str, Any]) -> None:
    """Writes another file and renames it: a reader finds the whole old document or the whole new one."""
    other = path.with_name(f"{path.name}.{os.getpid()}")
    write(other, document, in_place=True)
    other.replace(path)


def write_half(path: Path, document: dict[str, Any], *, in_place: bool) -> None:
    """Writes what a writer leaves behind that is killed half-way through."""
    whole = json.dumps(document)
    target = path if in_place else path.with_name(f"{path.name}.{os.getpid()}")
    target.write_text(whole[: len(whole) // 2], encoding="utf-8")


def readable(path: Path) -> bool:
    try:
        read(path)
    except ValueError:
        return False
    return True
