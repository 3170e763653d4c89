"""Who waits for which lock while he holds others: so that a deadlock is known for what it is.

Whoever has to wait for an event's lock with others in his hands writes down both, in a file of its own that is gone
when the wait is over. When his time is up he looks whether the locks he wants lead, from holder to what that one waits
for, back to what he holds himself: then no patience would have helped. Nobody else needs this, so it costs nobody else
anything. A file is locked (flock) by whoever wrote it: one of a killed process is known by its free lock.

Prevents nothing and chooses no victim: the lock time-out ends a deadlock, and this says that it was one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from service.runtime.files import temporary_beside, unique


class _Wait(msgspec.Struct):
    holds: list[str]
    wants: str


class Waits:
    """Those who wait on one host. Any thread or greenlet may write itself down."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory

    @contextlib.contextmanager
    def written_down(self, who: str, holds: Sequence[str], wants: str) -> Iterator[None]:
        """``who`` waits for ``wants`` inside this block. Not being able to say so is no reason not to wait."""
        # Never a name that was used before: who tidies a dead wait away must not meet the next one of the same cart.
        path = self._directory / f"{who}.{unique()}.wait"
        fd = -1
        try:
            with contextlib.suppress(OSError):
                self._directory.mkdir(exist_ok=True)
                fd = _write_locked(path, msgspec.json.encode(_Wait(list(holds), wants)))
            yield
        finally:
            if fd >= 0:
                path.unlink(missing_ok=True)
                os.close(fd)

    def circle(self, holds: Sequence[str], wants: str) -> list[str]:
        """The events of a deadlock, each held by one who waits for the next, beginning with ``wants``; else nothing."""
        waiting = {event: wait.wants for wait in self._all() for event in wait.holds}
        path = [wants]
        while (following := waiting.get(path[-1])) is not None and following not in path:
            path.append(following)
            if following in holds:
                return path
        return []

    def _all(self) -> Iterator[_Wait]:
        for path in self._directory.glob("*.wait"):
            with contextlib.suppress(OSError, msgspec.DecodeError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield msgspec.json.decode(file.read(), type=_Wait)
                else:
                    path.unlink()  # whoever wrote it was killed


def _write_locked(path: Path, content: bytes) -> int:
    """Let there be a file that is whole and locked when it gets its name; the descriptor that has the lock."""
    temporary = temporary_beside(path)
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(fd, content)
        temporary.rename(path)
    except BaseException:
        os.close(fd)
        temporary.unlink(missing_ok=True)
        raise
    return fd
