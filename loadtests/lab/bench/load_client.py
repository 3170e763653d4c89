"""The load generator as a process of its own, and how fast it is when nobody makes it wait."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from loadtests.lab.bench.window import Load, Window
from loadtests.lab.servers import process as processes

_SPARE_S = 60.0
"""How much longer than a window may last the answer is waited for."""
_NOOP_CLIENTS = 64


class GeneratorFailed(Exception):
    """The load generator ended, or did not answer."""


class LoadGenerator:
    """A running load generator, for as long as a ``with`` block lasts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "generator.log"

    def __enter__(self) -> LoadGenerator:
        ours, its = socket.socketpair()
        with its:
            try:
                self._process = processes.start(
                    [sys.executable, "-m", "loadtests.lab.bench.load_process", str(its.fileno())],
                    log=self._log,
                    environment=dict(os.environ),
                    directory=self._folder,
                    pass_fds=(its.fileno(),),
                )
            except BaseException:
                ours.close()
                raise
        self._socket = ours
        self._lines = ours.makefile("rwb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with processes.undisturbed():
            with contextlib.suppress(OSError):
                self._lines.close()
            self._socket.close()
            processes.end(self._process, grace_s=0.0 if kind else 2.0)

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
        """A window against a server that does nothing: what this generator could do at least."""
        with _nothing(folder) as port:
            return self.window(
                Load(port=port, path="/events/show/orders", clients=_NOOP_CLIENTS, warm_s=0.1, seconds=seconds)
            )


@contextlib.contextmanager
def _nothing(folder: Path) -> Iterator[int]:
    """A server that answers and does nothing else; gives its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        process = processes.start(
            [sys.executable, "-m", "loadtests.lab.bench.applications.noop", str(listener.fileno())],
            log=folder / "noop.log",
            environment=dict(os.environ),
            directory=folder,
            pass_fds=(listener.fileno(),),
        )
        try:
            yield listener.getsockname()[1]
        finally:
            with processes.undisturbed():
                processes.kill(process)
