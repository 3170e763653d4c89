"""Starts programs so that none of them outlives the lab, and ends exactly those.

Every program gets a session, and so a process group, of its own: Ctrl-C in the terminal reaches only the lab, which
then ends things in order, and ``kill -9`` of the whole tree is one call. A lab that is itself killed cannot clean
up; so on Linux the kernel is asked to send SIGTERM to the program when its parent dies. That request is made by a
few lines of Python that then become the program: between fork and exec nothing may run that takes a lock, and a
``preexec_fn`` beside Rich's threads could. The kernel means the *thread* that started it; so one that lasts does that.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_POLL_S = 0.01
_GONE_WITHIN_S = 10.0

_TERMINATE_WITH_PARENT = """
import ctypes, os, signal, sys
parent, user, network = int(sys.argv[1]), sys.argv[2], sys.argv[3]
if network and ctypes.CDLL(None, use_errno=True).setns(os.open(network, os.O_RDONLY | os.O_CLOEXEC), 0x40000000):
    sys.exit(f"cannot enter the network of {network}: {os.strerror(ctypes.get_errno())}")
if user:  # before the request: the kernel forgets it with the user
    import pwd
    account = pwd.getpwnam(user)
    os.initgroups(user, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
if os.getppid() != parent:  # it died before the request was made
    sys.exit(143)
os.execv(sys.argv[4], sys.argv[4:])
"""


def start(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    directory: Path,
    pass_fds: Sequence[int] = (),
    user: str | None = None,
    network: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own, its output appended to ``log``; ``command[0]`` is a full path.

    As another ``user`` where one is named, and in the network namespace of the process ``network``: root may do that,
    nobody else, and only on Linux.
    """
    whole = list(command)
    if sys.platform == "linux":
        # The interpreter may be where that user cannot reach it, so it becomes that user only when it runs.
        place = "" if network is None else f"/proc/{network}/ns/net"
        whole = [sys.executable, "-I", "-S", "-c", _TERMINATE_WITH_PARENT, str(os.getpid()), user or "", place]
        whole += command

    def begin() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                whole,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Its output goes into a file, and files are UTF-8.
                env={**environment, "PYTHONIOENCODING": "utf-8"},
                cwd=directory,
                start_new_session=True,
                pass_fds=pass_fds,
            )

    if threading.current_thread() is threading.main_thread():
        return begin()
    return _lasting_thread().submit(begin).result()


@functools.cache
def _lasting_thread() -> ThreadPoolExecutor:
    """A thread that lasts as long as this process: what it starts does not end with the thread that asked for it."""
    return ThreadPoolExecutor(1, thread_name_prefix="lastseat-starter")


def end(process: subprocess.Popen[bytes], *, grace_s: float) -> None:
    """SIGTERM to the program, and after ``grace_s`` SIGKILL to whatever is left of its group. Idempotent."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """``kill -9`` the program's whole group, and return when nothing of it runs any more. Idempotent.

    Raises ``TimeoutError`` if the kernel does not let go of a process within some seconds.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # Not before it is seen: once the leader is reaped and its group empty, the number could be another's.
        if process.poll() is None or running_in_group(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait(_GONE_WITHIN_S)
    deadline = time.monotonic() + _GONE_WITHIN_S
    while running_in_group(process.pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {running_in_group(process.pid)} do not end, though they were killed")
        time.sleep(_POLL_S)


def running_in_group(group: int) -> list[int]:
    """The process ids of a group, zombies left out: an orphan may stay one until init reaps it."""
    if not Path("/proc/self/stat").exists():
        return _group_by_signal(group)
    return [pid for pid, running, pgrp in _processes() if pgrp == group and running]


def _processes() -> Iterator[tuple[int, bool, int]]:
    """Each process: its id, whether anything of it still runs, its group."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The command stands in brackets and may contain anything, brackets too: what follows the last is ours.
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                # A first thread that has ended makes it a zombie; while others end, it still holds files and ports.
                yield int(entry.name), fields[0] not in "ZX" or int(fields[17]) > 1, int(fields[2])


def _group_by_signal(group: int) -> list[int]:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return []
    return [group]


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Inside, SIGTERM ends the block as Ctrl-C does, so that everything started is ended on the way out."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM wait: a second one must not stop the cleaning up of the first.

    Only the main thread is ever interrupted by them; in another one there is nothing to do.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
