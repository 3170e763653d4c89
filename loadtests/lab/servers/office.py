"""A ticket office under gunicorn, for as long as a ``with`` block lasts.

The port cannot be taken by somebody else in between: a socket is bound here to a free one and handed to gunicorn.
That the answering server is ours is checked all the same, by the process id it names. What was started is ended when
the block is left, by an exception and by Ctrl-C too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from loadtests.lab.protocol.admin_api import Office, find_token
from loadtests.lab.servers import cpu, process
from loadtests.lab.servers.engines import ENGINES, Engines, NoEngine, set_up, shown_address
from service.catalogue import SCHEMES, STORES, StoreTraits
from workers import GUNICORN_CONF, WORKER_MODELS

READY_WITHIN_S = 30.0
GRACE_S = 15.0
_POLL_S = 0.01
_REFUSED = "refused to start: "
_LOG_TAIL = 15


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """How an office is run: everything that decides how it behaves."""

    worker: str = "sync"
    processes: int | None = None
    threads: int | None = None
    store: str = "json"
    """A name or an address. Of an engine named without an address the lab starts one of its own."""
    guard: str = "file"
    think_ms: float = 0.0
    think_high_ms: float | None = None
    """The delay is between ``think_ms`` and this, where it is given."""
    think_kind: str = "io"
    guard_scope: str = "decision"
    batch: int | None = None
    lock_timeout_s: float | None = None
    allow_unsafe: bool = False
    leak: float = 0.0
    """How often guard ``leaky`` is skipped; a probability."""
    lease_ms: int | None = None
    """How long a lease lasts that nobody gives back, under the guards that have one."""
    nodes: int = 1
    """So many gunicorns, each with a data directory and a port of its own."""
    apart: bool = False
    """The nodes have a store each, so every seat is sold by each of them: a negative control."""
    networks: bool = False
    """Each node, and the engine that the lab starts for them, is a host with an address of its own."""
    inside: int | None = None
    queue: int | None = None
    keep_alive: bool = True
    """Whether a buyer keeps a connection, and so a worker, over several requests."""
    gates: str = ""
    """The socket of an explorer that holds purchases at their gates; empty: none does."""

    @property
    def shape(self) -> tuple[int, int]:
        """How many processes, and threads in each."""
        model = WORKER_MODELS[self.worker]
        return self.processes or model.processes, self.threads or model.threads

    @property
    def survives(self) -> bool:
        """Whether what the store keeps is meant to be there after a restart."""
        return self.store_traits is None or self.store_traits.durable

    @property
    def store_traits(self) -> StoreTraits | None:
        """The traits of the store, given by its name or by an address; None where there is no such store."""
        scheme, is_address, _ = self.store.partition("://")
        return STORES.get(SCHEMES.get(scheme, "") if is_address else self.store)

    @property
    def acting_guard(self) -> str:
        """The guard's name; where it is ``on``, the one that this stands for in the store."""
        return self.store_traits.safe_guard if self.guard == "on" and self.store_traits else self.guard

    @property
    def shown(self) -> Service:
        """The same as it may be written down: an address without its password."""
        return msgspec.structs.replace(self, store=shown_address(self.store))

    @property
    def think(self) -> str:
        """The delay as the service's setting is written: ``20`` or ``10-50``."""
        return f"{self.think_ms:g}" + ("" if self.think_high_ms is None else f"-{self.think_high_ms:g}")

    @property
    def spelled(self) -> str:
        """The worker model as people write it: ``sync × 4``, ``gthread 2 × 16``."""
        count, threads = self.shape
        one = f"{self.worker} {count} × {threads}" if self.worker == "gthread" else f"{self.worker} × {count}"
        return one if self.nodes == 1 else f"{one} on {self.nodes} nodes"

    def environment(self, data: Path) -> dict[str, str]:
        """The service's settings, and nothing else of that name from the environment the lab runs in."""
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LASTSEAT_") and name != "GUNICORN_CMD_ARGS"
        }
        variables |= {
            "LASTSEAT_DATA": str(data),
            "LASTSEAT_STORE": self.store,
            "LASTSEAT_GUARD": self.guard,
            "LASTSEAT_THINK_MS": self.think,
            "LASTSEAT_THINK": self.think_kind,
            "LASTSEAT_GUARD_SCOPE": self.guard_scope,
            "LASTSEAT_EVENT": "",
        }
        if self.batch is not None:
            variables["LASTSEAT_BATCH"] = str(self.batch)
        if self.lock_timeout_s is not None:
            variables["LASTSEAT_LOCK_TIMEOUT_S"] = f"{self.lock_timeout_s:g}"
        if self.inside is not None:
            variables["LASTSEAT_INSIDE"] = str(self.inside)
        if self.queue is not None:
            variables["LASTSEAT_QUEUE"] = str(self.queue)
        if self.allow_unsafe:
            variables["LASTSEAT_ALLOW_UNSAFE"] = "1"
        if self.leak:
            variables["LASTSEAT_LEAK"] = f"{self.leak:g}"
        if self.lease_ms is not None:
            variables["LASTSEAT_LEASE_MS"] = str(self.lease_ms)
        if self.gates:
            variables |= {"LASTSEAT_GATES": self.gates, "LASTSEAT_GATES_PATIENCE_S": "3600"}
        return variables

    def arguments(self) -> list[str]:
        """gunicorn's options for the worker model."""
        own = WORKER_MODELS[self.worker].arguments(processes=self.processes, threads=self.threads)
        return own if self.keep_alive else [*own, "--keep-alive", "0"]


class Elsewhere(Service, frozen=True, kw_only=True):
    """A service that is not an office of the lab's own: how it runs is not known, only where, or its name."""

    url: str = ""
    called: str = ""

    @property
    def spelled(self) -> str:
        return self.called or f"the office at {self.url}"


class NotReady(Exception):
    """The server did not come up; the message ends with the last lines of its log."""


class RefusedToStart(NotReady):
    """The service does not run with these settings; the message is its own."""


class RunningOffice:
    """A gunicorn with its own data directory and log. ``data`` and ``log`` are kept when it ends."""

    def __init__(self, service: Service, folder: Path, *, port: int | None = None, network: int | None = None) -> None:
        """``network``: a process in whose network namespace it runs. Its port is not in there: buyers are outside."""
        self.service = service
        self._network = network
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.engines = Engines(folder)
        """With the store's own engine, where the lab has started one for it."""
        self._address = ""
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """gunicorn's master, and the group of all its processes."""
        if self._process is None:
            raise NotReady("this office was not started")
        return self._process.pid

    @property
    def office(self) -> Office:
        """The admin's calls to it."""
        return Office(self.url, find_token(None, self.data))

    @property
    def cpu(self) -> cpu.Cpu:
        """What its processes, and those of an engine of its own, have used so far."""
        return cpu.used(self.pid, self.engines.server(self.service.store).pid if self.has_own_engine else None)

    def locust_options(self, _folder: Path) -> list[str]:
        """What tells locust about this service."""
        return ["--data", str(self.data)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with process.undisturbed():
            self.stop(grace_s=GRACE_S if kind is None else 2.0)
            self.engines.__exit__(kind, error, traceback)

    def start(self) -> None:
        """Start, and return when it says that it is ready. Raises ``NotReady``; then nothing is left running."""
        self.data.mkdir(0o700, parents=True, exist_ok=True)
        try:
            self._find_store()
            self._launch()
            self._wait_until_ready()
        except BaseException:
            with process.undisturbed():
                self.stop(grace_s=1.0)
            raise

    def stop(self, *, grace_s: float = GRACE_S) -> None:
        """SIGTERM: requests under way are answered first (SIGINT would drop them). Idempotent."""
        if self._process is not None:
            process.end(self._process, grace_s=grace_s)

    def kill(self) -> None:
        """``kill -9`` of every process at once: the crash."""
        if self._process is not None:
            process.kill(self._process)

    def restart(self) -> None:
        """``kill -9``, of an engine of its own too; start again on what the disks kept, and on the same port."""
        self.kill()
        if self.has_own_engine:
            self.engines.server(self.service.store).restart()
        self.start()

    @property
    def folder(self) -> Path:
        """What keeps the data directory and the log."""
        return self.log.parent

    @property
    def engine(self) -> Any:
        """The server of the store's engine that the lab has started for this office."""
        return self.engines.server(self.service.store)

    @property
    def has_own_engine(self) -> bool:
        """Whether the lab has started an engine for this office alone."""
        return self.service.store in ENGINES

    def _find_store(self) -> None:
        """Let there be what ``LASTSEAT_STORE`` shall name. Raises ``NotReady``."""
        try:
            if self.has_own_engine:
                self._address = self._address or self.engines.fresh(self.service.store)
            elif "://" in self.service.store and self._network is None:
                set_up(self.service.store)
        except NoEngine as error:
            raise NotReady(str(error)) from None

    def last_lines(self, count: int = _LOG_TAIL) -> str:
        """The end of the log, for messages."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
        return "(no log)"

    def _launch(self) -> None:
        # Bound but not listening: nobody can connect before gunicorn listens, nobody else can take the port.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                bound.bind(("127.0.0.1", self._port or 0))
            except OSError as error:
                raise NotReady(f"port {self._port} of this machine cannot be used: {error.strerror}") from None
            self._port = bound.getsockname()[1]
            self._process = process.start(
                self._command(bound.fileno()),
                log=self.log,
                environment=self.service.environment(self.data)
                | ({"LASTSEAT_STORE": self._address} if self._address else {}),
                directory=self.data,
                pass_fds=(bound.fileno(),),
                network=self._network,
            )

    def _command(self, fd: int) -> list[str]:
        return [
            sys.executable,
            "-m",
            "gunicorn",
            "--config",
            GUNICORN_CONF,
            "--bind",
            f"fd://{fd}",
            *self.service.arguments(),
            "service:app",
        ]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            if self._process is None or self._process.poll() is not None:
                _, refused, why = self.last_lines().rpartition(_REFUSED)
                if refused:
                    raise RefusedToStart(why.splitlines()[0])
                status = self._process.returncode if self._process else None
                raise NotReady(f"the server ended with status {status}. Its log {self.log} ends:\n{self.last_lines()}")
            headers = self.office.ready()
            if headers is not None and self._is_ours(headers) and self._all_are_there():
                return
            if time.monotonic() > deadline:
                raise NotReady(
                    f"the server was not ready within {READY_WITHIN_S:g} s."
                    f" Its log {self.log} ends:\n{self.last_lines()}"
                )
            time.sleep(_POLL_S)

    def _all_are_there(self) -> bool:
        """Whether every worker sells, not the fastest alone: else all first buyers would be that one's."""
        there = self.office.workers()
        return there is None or there >= self.service.shape[0]

    def _is_ours(self, headers: Mapping[str, str]) -> bool:
        """Whether the process that answered belongs to the group we started."""
        worker = headers.get("Last-Seat-Worker") or ""
        if not worker.isdecimal():
            return False
        with contextlib.suppress(ProcessLookupError):
            return os.getpgid(int(worker)) == self.pid
        return False
