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
from typing import Annotated, Any

import click
import msgspec

from loadtests.lab.knob import Delay, Knob, OneOf, Real, Text
from loadtests.lab.protocol.admin_api import Office, OfficeError, find_token
from loadtests.lab.servers import process
from loadtests.lab.servers.engines import ENGINES, Engines, NoEngine, read_engine_settings, set_up, shown_address
from loadtests.lab.servers.resources import CpuTime
from loadtests.lab.servers.traced import Traced
from service.catalogue import DEFAULT_STORE, GUARDS, SCHEMES, STORES, StoreTraits
from workers import GUNICORN_CONF, WORKER_MODELS

READY_WITHIN_S = 30.0
TRACE = "strace"
"""The folder of a traced office's system calls, in the folder of the run."""
_NO_VARIABLES = (
    "worker", "processes", "threads", "nodes", "apart", "networks", "keep_alive", "think_high_ms", "think_kind",
    "engine_settings", "under",
)  # fmt: skip
"""Fields of ``Service`` that say how gunicorn is started, or that make up a variable of another name."""
_REFUSED = "refused to start: "

_Whole, _Choice, _SCOPES = click.IntRange, click.Choice, click.Choice(["decision", "request"])
_STORE = Knob(
    OneOf(lambda: [*STORES], lambda given: "://" in given),
    "Where the office keeps its tickets: a name or a URL; by default the first that fits the guard.",
    default=None,
)
_GUARD = Knob(
    OneOf(lambda: [*GUARDS, "on", "off"]), "How read, decide, write is made atomic; `none` does not.", default="on"
)
_THINK = Knob(Delay(), "Delay between reading and writing, ms: 20 or 10-50.", "think", "0")
_LINE = Knob(
    _Choice(["process", "host"]),
    "Whose purchases are decided together: one process's, or the whole host's.",
    default=None,
)
_ENGINE_SETTINGS = Knob(
    Text("name=value,…", read_engine_settings), "Settings of the engine that the lab starts: appendfsync=everysec."
)
_NODES = Knob(_Whole(1, 16), "Number of gunicorns, each with its directory, on one engine.")


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """How an office is run: everything that decides how it behaves.

    A field with a ``Knob`` is a setting of ``lastseat run``. A field is also a setting of the office, the variable
    ``LASTSEAT_`` and its name in capitals, unless it stands in ``_NO_VARIABLES``.
    """

    worker: Annotated[str, Knob(_Choice(WORKER_MODELS), "Worker model.", default="gevent")] = "sync"
    processes: Annotated[int | None, Knob(_Whole(1, 1000), "Worker processes; by default the model's.")] = None
    threads: Annotated[int | None, Knob(_Whole(1, 1000), "Threads of a process, gthread only.")] = None
    store: Annotated[str, _STORE] = DEFAULT_STORE
    """A name or an address. If it names an engine without an address, the lab starts one of its own."""
    guard: Annotated[str, _GUARD] = STORES[DEFAULT_STORE].safe_guard
    think_ms: Annotated[float, _THINK] = 0.0
    think_high_ms: float | None = None
    """The delay is between ``think_ms`` and this, where it is given."""
    think_kind: Annotated[str, Knob(_Choice(["io", "cpu"]), "The delay sleeps or computes.")] = "io"
    guard_scope: Annotated[str, Knob(_SCOPES, "What the guard is held around.")] = "decision"
    batch: Annotated[int | None, Knob(_Whole(1, 10_000), "Most purchases decided together; 1 is one by one.")] = None
    line: Annotated[str | None, _LINE] = None
    lock_timeout_s: Annotated[float | None, Knob(Real(0.01, 3600), "Longest wait for the guard, s.")] = None
    allow_unsafe: bool = False
    lock_order: str | None = None
    """``as-asked``: carts of lab events take their locks in the buyer's order, and may deadlock."""
    leak: Annotated[float, Knob(Real(0, 1), "How often guard `leaky` is skipped.")] = 0.0
    lease_ms: Annotated[int | None, Knob(_Whole(1, 3_600_000), "How long a lease lasts, ms.")] = None
    nodes: Annotated[int, _NODES] = 1
    apart: Annotated[bool, Knob(click.BOOL, "Let each node have a store of its own: a negative control.")] = False
    networks: bool = False
    """Each node, and the engine that the lab starts for them, is a host with an address of its own."""
    inside: Annotated[int | None, Knob(_Whole(0, 100_000), "Most purchases inside a process; 0: no bound.")] = None
    queue: Annotated[int | None, Knob(_Whole(0, 1_000_000), "Most that wait for a place inside.")] = None
    keep_alive: bool = True
    """Whether a buyer keeps a connection, and so a worker, over several requests."""
    engine_settings: Annotated[str, _ENGINE_SETTINGS] = ""
    """Of the engine that the lab starts; they win over those of the lab."""
    under: tuple[str, ...] = ()
    """A tracer's command for who keeps the tickets: the engine that the lab starts, or gunicorn. See ``Traced``."""
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
        settings = {name: getattr(self, name) for name in Service.__struct_fields__ if name not in _NO_VARIABLES}
        settings |= {"data": data, "event": "", "page": "lab", "think_ms": self.think, "think": self.think_kind}
        if self.gates:
            settings["gates_patience_s"] = 3600
        return variables | {
            f"LASTSEAT_{name.upper()}": _written(value) for name, value in settings.items() if value is not None
        }

    def arguments(self) -> list[str]:
        own = WORKER_MODELS[self.worker].arguments(processes=self.processes, threads=self.threads)
        return own if self.keep_alive else [*own, "--keep-alive", "0"]


def _written(value: Path | str | float) -> str:
    return f"{value:g}" if isinstance(value, float | bool) else str(value)


class Elsewhere(Service, frozen=True, kw_only=True):
    """A service that is not an office of the lab's own: only its address or its name is known."""

    url: str = ""
    called: str = ""

    @property
    def spelled(self) -> str:
        return self.called or f"the office at {self.url}"


class NotReady(Exception):
    """The server did not come up; the message ends with the last lines of its log."""


class ServiceRefused(NotReady):
    """The service does not run with these settings; the message is its own."""


class RunningOffice(process.ServerProcess):
    """A gunicorn with its own data directory and log. ``data`` and ``log`` are kept when it ends."""

    ready_within_s = READY_WITHIN_S
    ready_path = "/readyz"

    def __init__(
        self,
        service: Service,
        folder: Path,
        *,
        port: int | None = None,
        network: int | None = None,
        variables: process.Variables = process.no_variables,
    ) -> None:
        """``network``: a process in whose network namespace it runs. Its port is outside, where the buyers are.

        ``variables``: what more its processes, and those of an engine of its own, have in their environment.
        """
        super().__init__(folder / "server.log")
        self._variables = variables
        self.service = service
        self._network = network
        self.data = folder / "data"
        under = ((), service.under) if self.has_own_engine else (service.under, ())
        self.traced = Traced(under[0], folder / TRACE, self.data)
        self.engines = Engines(folder, variables=variables, settings=service.engine_settings, under=under[1])
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
            self.traced.forget()

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
                environment=self._environment(),
                directory=self.data,
                pass_fds=(bound.fileno(),),
                network=self._network,
            )

    def _environment(self) -> dict[str, str]:
        address = {"LASTSEAT_STORE": self._address} if self._address else {}
        return {**self.service.environment(self.data), **address, **self._variables(self.folder)}

    def _command(self, fd: int) -> list[str]:
        return [
            *self.traced.command(),
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
                return ServiceRefused(why.splitlines()[0])
            what = f"ended with status {status}"
        return NotReady(f"the server {what}. Its log {self.log} ends:\n{self.last_lines()}")

    def _all_are_there(self) -> bool:
        """Whether every worker sells: if only the fastest did, all first buyers would be that one's."""
        try:
            there = self.office.workers()
        except OfficeError:
            return False  # a slow machine: the next look tells
        return there is None or there >= self.service.shape[0]

    def _is_ours(self, headers: Mapping[str, str]) -> bool:
        """Whether the process that answered belongs to the group that we started."""
        worker = headers.get("Last-Seat-Worker") or ""
        if not worker.isdecimal():
            return False
        with contextlib.suppress(ProcessLookupError):
            return os.getpgid(int(worker)) == self.pid
        return False
