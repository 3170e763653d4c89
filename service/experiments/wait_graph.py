"""The wait-for graph of carts: which one waits for which lock while it holds others. It tells a deadlock.

A cart that holds locks and has to wait for another one writes both down, in a file of its own that is gone when the
wait is over. When its time is up it looks whether the lock it wants leads, from its holder to the lock that this one
waits for, and so on, back to a lock that it holds itself: then no patience would have helped. No other purchase needs
this, so it costs them nothing. The writer of a file keeps it locked (flock): the file of a killed process is known by
its free lock.

It prevents nothing and chooses no victim: the lock time-out ends a deadlock, and this says that it was one.
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


class WaitGraph:
    """The carts that wait on one host. Any thread or greenlet may write down its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory

    @contextlib.contextmanager
    def written_down(self, who: str, holds: Sequence[str], wants: str) -> Iterator[None]:
        """``who`` waits for ``wants`` inside this block. If that cannot be written it waits all the same."""
        # Never a name that was used before: whoever removes a dead wait must not remove the next one of this cart.
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
        """The events of a deadlock, from ``wants`` on: the holder of each waits for the next. Empty if none."""
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
                    path.unlink()  # its writer was killed


def _write_locked(path: Path, content: bytes) -> int:
    """Make a file that is whole and locked when it gets its name. Returns the descriptor that has the lock."""
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
