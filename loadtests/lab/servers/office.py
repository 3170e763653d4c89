"""A ticket office under gunicorn, for as long as a ``with`` block lasts.

No other program can take the port before gunicorn listens: a socket is bound here to a free port and handed to
gunicorn. The process id in the answer is checked all the same, so that the answering server is the one that was
started. What was started is ended when the block ends, also by an exception or Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.protocol.admin_api import Office, find_token
from loadtests.lab.servers import process
from loadtests.lab.servers.engines import ENGINES, Engines, NoEngine, set_up, shown_address
from loadtests.lab.servers.resources import CpuTime
from service.catalogue import SCHEMES, STORES, StoreTraits
from workers import GUNICORN_CONF, WORKER_MODELS

READY_WITHIN_S = 30.0
_REFUSED = "refused to start: "


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """How an office is run: everything that decides how it behaves."""

    worker: str = "sync"
    processes: int | None = None
    threads: int | None = None
    store: str = "json"
    """A name or an address. If it names an engine without an address, the lab starts one of its own."""
    guard: str = "file"
    think_ms: float = 0.0
    think_high_ms: float | None = None
    """The delay is between ``think_ms`` and this, where it is given."""
    think_kind: str = "io"
    guard_scope: str = "decision"
    batch: int | None = None
    line: str | None = None
    """Whether purchases of one ``process`` or of the whole ``host`` are decided together; None: as by default."""
    lock_timeout_s: float | None = None
    allow_unsafe: bool = False
    leak: float = 0.0
    """How often guard ``leaky`` is skipped; a probability."""
    lease_ms: int | None = None
    """How long a lease lasts that is not released, under the guards that have one."""
    nodes: int = 1
    """The number of gunicorns, each with a data directory and a port of its own."""
    apart: bool = False
    """Each node has a store of its own, so that each sells every seat: a negative control."""
    networks: bool = False
    """Each node, and the engine that the lab starts for them, is a host with an address of its own."""
    inside: int | None = None
    queue: int | None = None
    keep_alive: bool = True
    """Whether a buyer keeps a connection, and so a worker, over several requests."""
    gates: str = ""
    """The socket of a gate server that holds purchases at their gates; empty for none."""

    @property
    def shape(self) -> tuple[int, int]:
        """The number of processes, and of threads in each."""
        model = WORKER_MODELS[self.worker]
        return self.processes or model.processes, self.threads or model.threads

    @property
    def survives(self) -> bool:
        """Whether the store's content is meant to survive a restart."""
        return self.store_traits is None or self.store_traits.durable

    @property
    def store_traits(self) -> StoreTraits | None:
        """The traits of the store, by its name or address; None for an unknown store."""
        scheme, is_address, _ = self.store.partition("://")
        return STORES.get(SCHEMES.get(scheme, "") if is_address else self.store)

    @property
    def acting_guard(self) -> str:
        """The guard's name; ``on`` is replaced by the store's safe guard."""
        return self.store_traits.safe_guard if self.guard == "on" and self.store_traits else self.guard

    @property
    def shown(self) -> Service:
        """The same with a store's address without its password."""
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
        settings: dict[str, str | float | None] = {
            "DATA": str(data),
            "STORE": self.store,
            "GUARD": self.guard,
            "THINK_MS": self.think,
            "THINK": self.think_kind,
            "GUARD_SCOPE": self.guard_scope,
            "EVENT": "",
            "BATCH": self.batch,
            "LINE": self.line,
            "LOCK_TIMEOUT_S": self.lock_timeout_s,
            "INSIDE": self.inside,
            "QUEUE": self.queue,
            "ALLOW_UNSAFE": 1 if self.allow_unsafe else None,
            "LEAK": self.leak or None,
            "LEASE_MS": self.lease_ms,
            "GATES": self.gates or None,
            "GATES_PATIENCE_S": 3600 if self.gates else None,
        }
        return variables | {
            f"LASTSEAT_{name}": _written(value) for name, value in settings.items() if value is not None
        }

    def arguments(self) -> list[str]:
        own = WORKER_MODELS[self.worker].arguments(processes=self.processes, threads=self.threads)
        return own if self.keep_alive else [*own, "--keep-alive", "0"]


def _written(value: str | float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class Elsewhere(Service, frozen=True, kw_only=True):
    """A service that is not an office of the lab's own: only its address or its name is known."""

    url: str = ""
    called: str = ""

    @property
    def spelled(self) -> str:
        return self.called or f"the office at {self.url}"


class NotReady(Exception):
    """The server did not come up; the message ends with the last lines of its log."""


class RefusedToStart(NotReady):
    """The service does not run with these settings; the message is its own."""


class RunningOffice(process.ServerProcess):
    """A gunicorn with its own data directory and log. ``data`` and ``log`` are kept when it ends."""

    ready_within_s = READY_WITHIN_S

    def __init__(self, service: Service, folder: Path, *, port: int | None = None, network: int | None = None) -> None:
        """``network``: a process in whose network namespace it runs. Its port is outside, where the buyers are."""
        super().__init__(folder / "server.log")
        self.service = service
        self._network = network
        self.data = folder / "data"
        self.engines = Engines(folder)
        """The store's engine, where the lab has started one for this office."""
        self._address = ""
        self._port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def office(self) -> Office:
        return Office(self.url, find_token(None, self.data))

    @property
    def cpu(self) -> CpuTime:
        """What its processes, and those of its own engine, have used so far."""
        return CpuTime.used(self.pid, self.engine.pid if self.has_own_engine else None)

    def locust_options(self, _folder: Path) -> list[str]:
        return ["--data", str(self.data)]

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with process.undisturbed():
            super().__exit__(kind, *rest)
            self.engines.__exit__(kind, *rest)

    def start(self) -> None:
        """Start, and return when it says that it is ready. Raises ``NotReady``; then nothing is left running."""
        self.data.mkdir(0o700, parents=True, exist_ok=True)
        super().start()

    def restart(self) -> None:
        """``kill -9``, also of its own engine; start again on what the disks kept, and on the same port."""
        self.kill()
        if self.has_own_engine:
            self.engine.restart()
        self.start()

    @property
    def folder(self) -> Path:
        return self.log.parent

    @property
    def engine(self) -> Any:
        return self.engines.server(self.service.store)

    @property
    def has_own_engine(self) -> bool:
        """Whether the lab has started an engine for this office."""
        return self.service.store in ENGINES

    def _find_store(self) -> None:
        """Prepare the store that ``LASTSEAT_STORE`` names. Raises ``NotReady``."""
        try:
            if self.has_own_engine:
                self._address = self._address or self.engines.fresh(self.service.store)
            elif "://" in self.service.store and self._network is None:
                set_up(self.service.store)
        except NoEngine as error:
            raise NotReady(str(error)) from None

    def last_lines(self, count: int = 15) -> str:
        return process.log_tail(self.log, count) or "(no log)"

    def _launch(self) -> subprocess.Popen[bytes]:
        self._find_store()
        # Bound but not listening: nobody can connect before gunicorn listens, nobody else can take the port.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                bound.bind(("127.0.0.1", self._port or 0))
            except OSError as error:
                raise NotReady(f"port {self._port} of this machine cannot be used: {error.strerror}") from None
            self._port = bound.getsockname()[1]
            return process.start(
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

    def _is_ready(self) -> bool:
        headers = self.office.ready()
        return headers is not None and self._is_ours(headers) and self._all_are_there()

    def _not_ready(self, status: int | None) -> NotReady:
        if status is None:
            what = f"was not ready within {self.ready_within_s:g} s"
        else:
            _, refused, why = self.last_lines().rpartition(_REFUSED)
            if refused:
                return RefusedToStart(why.splitlines()[0])
            what = f"ended with status {status}"
        return NotReady(f"the server {what}. Its log {self.log} ends:\n{self.last_lines()}")

    def _all_are_there(self) -> bool:
        """Whether every worker sells: if only the fastest did, all first buyers would be that one's."""
        there = self.office.workers()
        return there is None or there >= self.service.shape[0]

    def _is_ours(self, headers: Mapping[str, str]) -> bool:
        """Whether the process that answered belongs to the group that we started."""
        worker = headers.get("Last-Seat-Worker") or ""
        if not worker.isdecimal():
            return False
        with contextlib.suppress(ProcessLookupError):
            return os.getpgid(int(worker)) == self.pid
        return False
