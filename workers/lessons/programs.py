"""Programs that end with the lesson: a server in a session of its own, and everything that it started.

Ctrl-C in the terminal reaches only the lesson, which then ends the program's whole group. A lesson that is itself
killed cannot do that; so on Linux the kernel is asked to end the program when the lesson dies.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from workers.lessons.children import die_with_parent

_GONE_WITHIN_S = 5.0
_POLL_S = 0.01


@contextlib.contextmanager
def program(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """A program for as long as the block lasts; ``command[0]`` is a full path, its output goes to ``log``.

    At the end its whole group is killed: for programs whose work is done then, and whose files are thrown away.
    """
    with log.open("ab") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", "workers.lessons.programs", str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            cwd=directory,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    try:
        yield running
    finally:
        _end(running)


def family(pid: int) -> list[psutil.Process]:
    """A program's process and all that came from it; empty where it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def _end(running: subprocess.Popen[bytes]) -> None:
    # Before it is waited for: once the leader is reaped and its group empty, the number could be another's.
    group = _group(running.pid)
    if running.poll() is None or group:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    deadline = time.monotonic() + _GONE_WITHIN_S
    while _group(running.pid) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _group(number: int) -> list[int]:
    """The process ids of a group, those left out that have ended and wait only to be reaped."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == number and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


if __name__ == "__main__":
    # Becomes the program, having asked the kernel first; not between fork and exec, where other threads' locks wait.
    die_with_parent(signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(143)
    os.execv(sys.argv[2], sys.argv[2:])
