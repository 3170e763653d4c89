"""The load generator as a process of its own: what it is told, what it answers, and how fast it is at most."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from loadtests.lab.history.generator_load import GeneratorLoad
from loadtests.lab.servers import process

_SPARE_S = 60.0
"""The time for the answer, beyond the longest that a window may last."""
_NOOP_CLIENTS = 64


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """One window of load on one address. Each client sends the next request when it has the answer to the last."""

    port: int
    path: str
    clients: int
    warm_s: float = 0.0
    """Before the window: under load already, and not measured."""
    seconds: float = 1.0
    count: int = 0
    """If given, the window ends after this number of requests, however long it takes."""
    pids: list[int] = []
    """The processes whose CPU time is read at the window's beginning and end."""
    batches: bool = False
    """Read from the answers which purchases were decided together."""
    patience_s: float = 15.0
    """A window in which nothing at all arrives for this long is given up."""


class Window(msgspec.Struct, kw_only=True):
    """The result of a load. ``told`` counts everything since the first request; all else is of the window alone."""

    seconds: float
    answers: dict[int, int]
    """By status."""
    told: dict[int, int]
    errors: dict[str, int] = {}
    """Connections that broke and answers that never came, by reason, since the first request."""
    unknown: int = 0
    """Requests that were sent and not answered: each may have been carried out."""
    latencies_us: list[int] = []
    """The latency of every answer within the window, in ascending order."""
    cpu_s: float = 0.0
    busy: GeneratorLoad
    """The shares of the load generator itself."""
    batch_sizes: dict[int, int] = {}
    """Purchases that were decided together: how many transactions there were of each size."""
    held_ms: float | None = None
    """The time that a transaction held the guard, on average."""

    def per_s(self, status: int) -> float:
        """Answers with this status a second."""
        return self.answers.get(status, 0) / self.seconds


class GeneratorFailed(Exception):
    """The load generator ended, or did not answer."""


class LoadGenerator:
    """A running load generator, for as long as a ``with`` block lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "generator.log"

    def __enter__(self) -> LoadGenerator:
        self._socket, its = socket.socketpair()
        with its:
            try:
                self._process = _start("load_process", its, self._log)
            except BaseException:
                self._socket.close()
                raise
        self._lines = self._socket.makefile("rwb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with process.undisturbed():
            with contextlib.suppress(OSError):
                self._lines.close()
            self._socket.close()
            process.end(self._process, grace_s=0.0 if kind else 2.0)

    def window(self, load: Load) -> Window:
        """Put a load on a server and return what came of it. Raises ``GeneratorFailed``."""
        longest_s = load.warm_s + (load.seconds if not load.count else load.count / 50) + 2 * load.patience_s
        self._socket.settimeout(longest_s + _SPARE_S)
        try:
            self._lines.write(msgspec.json.encode(load) + b"\n")
            self._lines.flush()
            line = self._lines.readline()
        except OSError as error:
            raise GeneratorFailed(f"the load generator does not answer ({error}); its log is {self._log}") from None
        if not line:
            raise GeneratorFailed(f"the load generator ended; its log is {self._log}")
        window = msgspec.json.decode(line, type=Window)
        if not window.seconds:
            raise GeneratorFailed(f"no load can be put on port {load.port}: {', '.join(window.errors)}")
        return window

    def measure_itself(self, folder: Path, seconds: float) -> Window:
        """A window against a server that does nothing: this generator can do at least that."""
        with _nothing(folder) as port:
            return self.window(
                Load(port=port, path="/events/show/orders", clients=_NOOP_CLIENTS, warm_s=0.1, seconds=seconds)
            )


@contextlib.contextmanager
def _nothing(folder: Path) -> Iterator[int]:
    """A server that answers and does nothing else; gives its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        server = _start("applications.noop", listener, folder / "noop.log")
        try:
            yield listener.getsockname()[1]
        finally:
            with process.undisturbed():
                process.kill(server)


def _start(program: str, passed: socket.socket, log: Path) -> subprocess.Popen[bytes]:
    """Start a program of the benchmark that works on a socket of ours."""
    return process.start(
        [sys.executable, "-m", f"loadtests.lab.bench.{program}", str(passed.fileno())],
        log=log,
        environment=os.environ,
        directory=log.parent,
        pass_fds=(passed.fileno(),),
    )
