"""Where the combiner of one configuration is: a directory whose flock the combiner holds, and a socket in it.

The flock is on the directory, which cannot be replaced while the socket is in it, and not on a file. Whoever has it is
the combiner, or is about to start it: the descriptor that has the lock is handed to the new process. So a socket is
never judged by its name: nobody listens on it whose flock is free.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from service.runtime.files import close_directory, open_directory
from service.settings import Settings

_NAME = "socket"
_FOLDER = "combiner"


class Place:
    """The directory of one combiner."""

    def __init__(self, data: Path, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self._path = data / _FOLDER / fingerprint

    def connect(self, timeout_s: float) -> socket.socket | None:
        """A connection to the combiner; None where nobody listens."""
        try:
            fd = open_directory(self._path)
        except OSError:
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.settimeout(timeout_s)
            connection.connect(_in_directory(fd))
        except OSError:
            connection.close()
            return None
        finally:
            close_directory(fd)
        return connection

    def lock(self) -> int | None:
        """A descriptor that has the flock, to be handed to a new combiner; None where somebody has it.

        Errors: ``OSError``, also where the disk has no room for the directory.
        """
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = open_directory(self._path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(self._path.stat(), os.fstat(fd)):
                return fd
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None


def listen(lock_fd: int) -> socket.socket:
    """The combiner's socket in the directory that it has locked; one that a dead combiner left is replaced."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_NAME, dir_fd=lock_fd)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(_in_directory(lock_fd))
    os.chmod(_NAME, 0o600, dir_fd=lock_fd)
    listener.listen(1024)
    return listener


def leave(lock_fd: int) -> None:
    """Remove the socket and its directory; the flock is free when the descriptor is closed."""
    with contextlib.suppress(OSError):
        os.unlink(_NAME, dir_fd=lock_fd)
        Path(f"/proc/self/fd/{lock_fd}").resolve(strict=True).rmdir()


def _in_directory(fd: int) -> str:
    """A path of a few bytes: an address of a socket has room for 108, and a data directory may have a longer name."""
    return f"/proc/self/fd/{fd}/{_NAME}"


def peer(connection: socket.socket) -> tuple[int, int]:
    """The process at the other end, or that listened there, and its user."""
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid


def remove_what_is_left(data: Path) -> None:
    """Remove the directories of combiners that are gone; to be called when a master starts."""
    for path in (data / _FOLDER).glob("*"):
        with contextlib.suppress(OSError):
            fd = open_directory(path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(fd)


def fingerprint_of(settings: Settings, master: str, processes: int) -> str:
    """Two processes have the same combiner only if all of this is the same: the store and its address, the settings,
    the master and its number of processes, and the code, which a reload (HUP) may change under one master."""
    code = hashlib.blake2b()
    for path in _sources():
        code.update(path.read_bytes())
    told = repr((dataclasses.astuple(settings), master, processes, code.hexdigest()))
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def _sources() -> Iterator[Path]:
    yield from sorted(Path(__file__).parents[2].rglob("*.py"))
