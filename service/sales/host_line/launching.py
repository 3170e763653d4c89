"""Starting a combiner: a fresh interpreter, which gevent has not patched, in a session of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

LOCK_FD = 3
"""The descriptor of the directory in the new process; it has the lock."""


class Launched:
    """A process that this one started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def status(self) -> int | None:
        """Its exit status, negative where a signal ended it; None while it runs. One that has ended is then gone from
        the table of processes."""
        if self._status is None:
            try:
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                self._status = os.waitstatus_to_exitcode(status) if ended else None
            except ChildProcessError:
                self._status = 0  # somebody else has asked before
        return self._status


def launch(lock_fd: int, fingerprint: str, master: str, processes: int) -> Launched:
    """Start a combiner that has the flock of ``lock_fd``. It reads the settings from the same environment.

    Not by ``subprocess``, which gevent replaces: its own would fork this process and watch the child from the hub. What
    may be inherited besides, gunicorn's sockets above all, the new process closes first. Its log is standard error.
    Errors: ``OSError``; nothing was started.
    """
    code = os.fspath(Path(__file__).parents[3])
    path = os.pathsep.join(each for each in (code, os.environ.get("PYTHONPATH")) if each)
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "service.sales.host_line.combiner", fingerprint, master, str(processes)],
        os.environ | {"PYTHONPATH": path},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, lock_fd, LOCK_FD),
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ],
        setsid=True,
        setsigmask=(),
    )
    return Launched(pid)
