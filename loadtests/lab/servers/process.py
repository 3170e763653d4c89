"""Starts and watches programs so that none of them outlives the lab, and ends exactly those.

Every program gets a session, and so a process group, of its own: Ctrl-C in the terminal reaches only the lab, which
then ends the programs in order, and ``kill -9`` of the whole tree is one call. A lab that is itself killed cannot clean
up; so on Linux the kernel is asked to send SIGTERM to the program when its parent dies. A few lines of Python make that
request and then become the program: between fork and exec nothing may run that takes a lock, and a ``preexec_fn``
beside Rich's threads could. By *parent* the kernel means the thread that started the program; so a thread that lasts
as long as the lab starts it.
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
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import psutil

_POLL_S = 0.01
_GONE_WITHIN_S = 10.0
GRACE_S = 15.0
_HURRIED_S = 2.0
_LOG_TAIL = 15
_ENDED = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)

_END_WITH_PARENT = """
import ctypes, os, sys
parent, orphaned, user, network = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
if network and ctypes.CDLL(None, use_errno=True).setns(os.open(network, os.O_RDONLY | os.O_CLOEXEC), 0x40000000):
    sys.exit(f"cannot enter the network of {network}: {os.strerror(ctypes.get_errno())}")
if user:  # before the request: the kernel forgets it with the user
    import pwd
    account = pwd.getpwnam(user)
    os.initgroups(user, account.pw_gid)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
ctypes.CDLL(None).prctl(1, orphaned, 0, 0, 0)  # PR_SET_PDEATHSIG
if os.getppid() != parent:  # it died before the request was made
    sys.exit(143)
os.execv(sys.argv[5], sys.argv[5:])
"""


Variables = Callable[[Path], Mapping[str, str]]
"""What more a server's programs have in their environment, by the server's folder."""


def no_variables(_folder: Path) -> Mapping[str, str]:
    return {}


def start(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    directory: Path,
    pass_fds: Sequence[int] = (),
    user: str | None = None,
    network: int | None = None,
    orphaned: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own, its output appended to ``log``; ``command[0]`` is a full path.

    On Linux it gets the signal ``orphaned`` where the lab is killed.

    It runs as another ``user`` where one is named, and in the network namespace of the process ``network``. Only root
    may do either, and only on Linux.
    """
    whole = list(command)
    if sys.platform == "linux":
        # That user may have no access to the interpreter, so the process changes to the user only when it runs.
        place = "" if network is None else f"/proc/{network}/ns/net"
        whole = [sys.executable, "-I", "-S", "-c", _END_WITH_PARENT, str(os.getpid()), str(int(orphaned))]
        whole += [user or "", place, *command]

    def begin() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                whole,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Its output goes into a file, and the lab's files are UTF-8.
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
    """A thread that lasts as long as this process, so that what it starts does not end with the caller's thread."""
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
        # Only if it is seen: once the leader is reaped and its group empty, another group could have the number.
        if process.poll() is None or running_in_group(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    if left := wait_for_the_end([process.pid]):
        raise TimeoutError(f"processes {left} do not end, though they were killed")
    process.poll()  # not wait(): an alarm that was raised in the middle of one may have left its lock taken


def wait_for_the_end(groups: Sequence[int]) -> list[int]:
    """Wait some seconds until nothing of these groups runs any more; returns the process ids that still run.

    It does not wait for init to reap orphans: where that is slow, or does not do it, they stay zombies.
    """
    deadline = time.monotonic() + _GONE_WITHIN_S
    while (left := [pid for group in groups for pid in running_in_group(group)]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return left


def running_in_group(group: int) -> list[int]:
    """The process ids of a group, zombies left out: an orphan may stay one until init reaps it."""
    return [pid for pid in psutil.pids() if _runs_in(group, pid)]


def _runs_in(group: int, pid: int) -> bool:
    with contextlib.suppress(OSError, psutil.Error):
        if os.getpgid(pid) == group:
            found = psutil.Process(pid)
            # A first thread that has ended makes it a zombie; while others end, it still holds files and ports.
            return found.status() not in _ENDED or found.num_threads() > 1
    return False


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Inside, SIGTERM ends the block as Ctrl-C does, so that everything that was started is ended."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, Ctrl-C and SIGTERM are ignored: a second one must not stop the cleaning up after the first.

    Only the main thread is ever interrupted by them; in another thread there is nothing to do.
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


def log_tail(log: Path, lines: int = _LOG_TAIL) -> str:
    """The last lines of a log, for messages; empty where there are none."""
    with contextlib.suppress(OSError):
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    return ""


class ServerProcess(ABC):
    """A server for as long as a ``with`` block lasts; ``log`` is kept when it has ended.

    A subclass says how it is launched, when it is ready, and what it takes to stop it. This class makes sure that
    nothing is left running: not of one that does not come up, and not after an exception or Ctrl-C.
    """

    ready_within_s: float = 30.0
    poll_s: float = _POLL_S

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]:
        """Begin it, on the data there are."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it answers."""

    @abstractmethod
    def _not_ready(self, status: int | None) -> Exception:
        """What to raise where it ended with ``status`` before it was ready, or (None) was not ready in time."""

    @property
    def pid(self) -> int:
        """The program's process, and the group of all its processes."""
        if self._process is None:
            raise RuntimeError("this server was not started")
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with undisturbed():
            self.stop(grace_s=GRACE_S if kind is None else _HURRIED_S)

    def start(self) -> None:
        """Start, and return when it is ready. Raises what ``_not_ready`` gives; then nothing is left running."""
        try:
            self._process = self._launch()
            self._wait_until_ready()
        except BaseException:
            with undisturbed():
                self._give_up()
            raise

    def stop(self, *, grace_s: float = GRACE_S) -> None:
        """SIGTERM, and after ``grace_s`` SIGKILL. Idempotent."""
        if self._process is not None:
            end(self._process, grace_s=grace_s)

    def kill(self) -> None:
        """``kill -9`` of every process at once: the crash."""
        if self._process is not None:
            kill(self._process)

    def _give_up(self) -> None:
        self.stop(grace_s=1.0)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.ready_within_s
        while True:
            if self._process is None or self._process.poll() is not None:
                raise self._not_ready(self._process.returncode if self._process else -1)
            if self._is_ready():
                return
            if time.monotonic() > deadline:
                raise self._not_ready(None)
            time.sleep(self.poll_s)
