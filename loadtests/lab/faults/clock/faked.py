"""The wall clock of processes, moved while they run: libfaketime is preloaded, and reads in a file how far it is ahead.

Monotonic clocks are left alone, so time-outs and pauses last as long as ever. The library is a tool of its own: it is
neither imported nor linked. A program that asks the kernel itself for the time, as Go's do and those that are linked
statically, does not notice.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from loadtests.lab.faults.base import NotInjected
from loadtests.lab.faults.leavings import RUN, left_behind

NAMED_BY = "LASTSEAT_FAKETIME"
_REMEDY = f"pip install libfaketime==3.0.1 (for x86-64), or name another libfaketime.so.1 in {NAMED_BY}."
_FILE = "clock"
_TRIED_S = 3600
_SLEPT_S = 0.1
_WITHIN_S = 30.0
_WRITING, _ONE_NAME = threading.Lock(), threading.Lock()
_AHEAD: dict[Path, dict[str, float]] = {}
"""Of each server's folder, by how many seconds each fault has moved its clock."""
_SHARED_MEMORY = Path("/dev/shm")
_TRIAL = f"import time; began = time.monotonic(); time.sleep({_SLEPT_S}); print(time.time(), time.monotonic() - began)"


class NoLibrary(NotInjected):
    """There is no libfaketime here that works with this Python; the message says what to install."""


class FakedClocks(contextlib.ExitStack):
    """Clocks that can be moved, of the servers that are started while this context lasts."""

    _name = ""

    def variables(self, folder: Path) -> Mapping[str, str]:
        """What the processes of a server in this folder have in their environment. Raises ``NoLibrary``, ``OSError``.

        Their clocks go with the machine's until ``put_ahead``.
        """
        with _ONE_NAME:
            self._name = self._name or self.enter_context(_shared_memory())
        if not (folder / _FILE).exists():
            put_ahead(folder, 0)
        return {
            "LD_PRELOAD": ":".join(filter(None, (find_library(), os.environ.get("LD_PRELOAD")))),
            "FAKETIME_TIMESTAMP_FILE": str(folder / _FILE),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "FAKETIME_SHARED": f"{self._name} {self._name}",
            "NO_FAKE_STAT": "1",
        }


def put_ahead(folder: Path, seconds: float, by: str = "") -> None:
    """Put the clocks of the server in this folder ahead; ``by`` whom, in the place of what they said before.

    What several say is added up.
    """
    with _WRITING:
        _AHEAD.setdefault(folder, {})[by] = seconds
        written = folder / f"{_FILE}.new"
        written.write_text(f"{ahead(folder):+.0f}\n", encoding="ascii")
        written.replace(folder / _FILE)


def ahead(folder: Path) -> float:
    """By how many seconds the clocks of the server in this folder are ahead of the machine's."""
    return sum(_AHEAD.get(folder, {}).values())


def find_library() -> str:
    """The path of a libfaketime: the one that is named, that of the wheel, or Debian's. Raises ``NoLibrary``."""
    named = os.environ.get(NAMED_BY)
    for path in [Path(named)] if named else _known_places():
        if path.is_file():
            return str(path.absolute())
    raise NoLibrary(f"there is no libfaketime{f' at {named}' if named else ''}: {_REMEDY}")


def _known_places() -> Iterator[Path]:
    # The wheel's module is not imported: it is for tests in Python, and only its library is wanted.
    wheel = importlib.util.find_spec("libfaketime")
    for place in (wheel.submodule_search_locations if wheel else None) or []:
        yield Path(place) / "vendor/libfaketime/src/libfaketime.so.1"
    yield from Path("/usr/lib").glob("*/faketime/libfaketime.so.1")


@functools.cache
def why_not() -> str:
    """Why clocks cannot be moved here, and what to do; empty where a Python with a moved clock was tried."""
    if sys.platform != "linux":
        return "it takes Linux."
    try:
        library = find_library()
        with FakedClocks() as clocks, tempfile.TemporaryDirectory(prefix="lastseat-clock-") as folder:
            put_ahead(Path(folder), _TRIED_S)
            _try(library, clocks.variables(Path(folder)))
    except (NoLibrary, OSError) as error:
        return str(error)
    return ""


def _try(library: str, variables: Mapping[str, str]) -> None:
    """Let a Python tell the time and sleep. Raises ``NoLibrary``: some of these libraries break ``time.sleep``."""
    began = time.time()
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRIAL],
            env={**os.environ, **variables}, capture_output=True, text=True, encoding="utf-8",
            timeout=_WITHIN_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NoLibrary(f"a Python with {library} does not end: {_REMEDY}") from None
    if done.returncode:
        said = done.stderr.strip().rpartition("\n")[2]
        raise NoLibrary(f"a Python that sleeps for {_SLEPT_S:g} s with {library} ends with {said!r}: {_REMEDY}")
    shown, slept = map(float, done.stdout.split())
    if shown < began + _TRIED_S:
        raise NoLibrary(f"a Python with {library} has the machine's time: {_REMEDY}")
    if slept < _SLEPT_S:
        raise NoLibrary(f"{library} breaks time.sleep of this Python: {_REMEDY}")


@contextlib.contextmanager
def _shared_memory() -> Iterator[str]:
    """The name of a semaphore and of shared memory for libfaketime, which end with the context.

    Without them each program makes its own, and leaves them where it is killed.
    """
    name = f"/{RUN}-clock-{uuid.uuid4().hex[:8]}"
    with left_behind(remove, name):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.sem_open.restype = ctypes.c_void_p
        if not (made := libc.sem_open(name.encode(), os.O_CREAT | os.O_EXCL, 0o600, 1)):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
        libc.sem_close(ctypes.c_void_p(made))
        # No ticks, no place in a file of times, and times of the start (-1) that the first program sets.
        (_SHARED_MEMORY / name[1:]).write_bytes(bytes(16) + b"\xff" * 4080)
        yield name


def remove(name: str) -> None:
    """Remove the semaphore and the shared memory of a name. Idempotent."""
    for file in (name[1:], f"sem.{name[1:]}"):
        (_SHARED_MEMORY / file).unlink(missing_ok=True)
