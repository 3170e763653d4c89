"""System calls of running processes that fail or take long: strace attaches to them, and lets go of them again.

The call itself is made to fail or to wait, so it makes no difference whether Python or SQLite's library made it. While
strace is attached, each such call costs more; all others cost the same as ever.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from loadtests.lab.faults.base import Fault, FaultUnfit, NotInjected, TimedFault
from loadtests.lab.faults.disk.tracing import REMEDY, SYNCS, NoTracing, strace
from loadtests.lab.faults.processes import combiners_of
from loadtests.lab.servers import process
from loadtests.lab.servers.resources import children_of
from service.catalogue import STORES

WRITES = "write,pwrite64,writev,pwritev"
_DONE = ("(INJECTED)", "(DELAYED)")
_WITHIN_S = 20.0
_POLL_S = 0.01
_ONE_TRACER = threading.Lock()
"""A process has one tracer at a time: of several such faults the next begins where the one before ends."""


@contextlib.contextmanager
def injected(pids: Sequence[int], calls: str, how: str) -> Iterator[Callable[[], int]]:
    """In this block the ``calls`` of these processes, and of all that they start, go as ``how`` says.

    That is in strace's words: ``injected(pids, SYNCS, "error=EIO")``. Gives what counts the calls so far to which that
    was done.

    If the lab is killed inside, strace ends and lets go of them. Raises ``NoTracing``.
    """
    with _ONE_TRACER, tempfile.TemporaryDirectory(prefix="lastseat-strace-") as name:
        log, said = Path(name) / "calls", Path(name) / "said"
        attach = [option for pid in pids for option in ("-p", str(pid))]
        asked = ["-e", f"trace={calls}", "-e", f"inject={calls}:{how}", "-e", "signal=none", "-s", "0"]
        command = [strace(), "-f", *attach, "-o", str(log), *asked]
        tracer = process.start(command, log=said, environment=os.environ, directory=Path(name))
        try:
            _wait_for(pids, tracer, said)
            yield lambda: sum(log.read_text(encoding="utf-8", errors="replace").count(mark) for mark in _DONE)
        finally:
            process.end(tracer, grace_s=_WITHIN_S)


def why_not() -> str:
    """Why calls cannot be injected here, and what to do; empty where they can."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as tried:
        try:
            with injected([tried.pid], SYNCS, "error=EIO"):
                return ""
        except NoTracing as error:
            return str(error)


def refuse_without_files(name: str, service: Any, also: str = "") -> None:
    """Raise ``FaultUnfit`` for an office whose store has no files of its own on this host; ``also`` would fit, too."""
    traits = service.store_traits
    if traits is None or not traits.durable or traits.scope != "host":
        fitting = ", ".join(each for each, store in STORES.items() if store.durable and store.scope == "host")
        raise FaultUnfit(f"the fault {name} is one of the office's own disk: take a store with files, {fitting}{also}.")


class CallsFault(TimedFault):
    """System calls of everything that sells go wrong for some time."""

    takes: ClassVar[str] = "Linux, strace and the right to attach it, and a store with files on this host"
    lasts_s: ClassVar[float] = 2.0
    calls: ClassVar[str]
    how: ClassVar[str]
    words: ClassVar[str]
    """What became of so many calls."""

    def __init__(self) -> None:
        self._traced = contextlib.ExitStack()
        self._count: Callable[[], int] = int

    @classmethod
    def needs(cls) -> str:
        return why_not()

    @classmethod
    def of_target(cls) -> type[Fault]:
        return cls

    def adapt(self, service: Any) -> Any:
        refuse_without_files(self.name, service)
        return service

    def begin(self, server: Any) -> str:
        family = [server.pid, *(each.pid for each in [*children_of(server.pid, recursive=True), *combiners_of(server)])]
        self._count = self._traced.enter_context(injected(list(dict.fromkeys(family)), self.calls, self.how))
        return f"strace at {len(family)} processes"

    def last(self, over: threading.Event) -> str:
        self.wait_for_effect(over, self._count)
        return self._seen()

    def heal(self, server: Any) -> None:
        self._traced.close()

    def _seen(self) -> str:
        """What was done so far, in words. Raises ``NotInjected`` where that is nothing."""
        if not (count := self._count()):
            raise NotInjected("no process wrote anything to its disk meanwhile")
        return f"{count} {self.words}"


def _wait_for(pids: Sequence[int], tracer: subprocess.Popen[bytes], said: Path) -> None:
    """Wait until the tracer has them all; those that have ended are no matter."""
    deadline = time.monotonic() + _WITHIN_S
    while not all(_traced_by(pid) <= {tracer.pid} for pid in pids):
        if tracer.poll() is not None or time.monotonic() > deadline:
            raise NoTracing(f"strace may not attach here ({process.log_tail(said, 1)}): {REMEDY}")
        time.sleep(_POLL_S)


def _traced_by(pid: int) -> set[int]:
    """Who traces the threads of a process; 0 for nobody."""
    tracers = set()
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines() if ":" in line)
            tracers.add(int(lines["TracerPid"]))
    return tracers
