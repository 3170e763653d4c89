"""The gunicorn that runs this process, and whether the settings are right under it.

A guard that excludes threads does not exclude four processes, a lock built before the fork is dead after it, and a lock
built before gevent's patch lets every greenlet in. All of this can be seen at start, and is refused then.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import inspect
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.catalogue import GUARDS, HOST_LINE_WORKERS, STORES
from service.errors import RefusedToStart
from service.settings import Settings

log = logging.getLogger("lastseat")

_TIGHT = 100
"""A limit of fewer connections at once than this gives a warning, also where none was asked for."""
_NEXT_ACCEPT_S = 0.05
# Longer than a worker that started at the same time needs for the same refusal: at start it waits for an engine that
# does not answer for 5 s an address ("localhost" has two), and for 5 s more once it has the connection. Otherwise a
# worker that stands back would leave too early, and the worker in its place would report the refusal as well.
_REPORT_PATIENCE_S = 20.0
_AT_RANDOM = 25
_HAS_COMBINERS = hasattr(os, "pidfd_open")


@dataclass(frozen=True, slots=True)
class Server:
    """The gunicorn that runs this process. Outside gunicorn: one process, which is its own master."""

    master: str
    """Identifies the master process, and no other that ever ran: see ``_identity``."""
    processes: int = 1
    threads: int = 1
    """Native threads that answer requests in one process."""
    worker_timeout_s: int = 0
    """The seconds after which gunicorn kills a sync worker that does not return; 0: never."""
    worker_class: str = ""
    preload: bool = False
    configured: bool = True
    """Whether gunicorn has read ``workers.gunicorn_conf``."""
    hosts: tuple[str, ...] = ()
    """The names of the addresses that the server listens on."""
    stopping: Callable[[], bool] = lambda: False
    """Whether the server is about to end this process."""
    respawned: bool = False
    """Whether its master started this process later than its first ones: others may have been there before."""

    @property
    def sync(self) -> bool:
        """Whether a process answers one request at a time."""
        return self.worker_class == "sync"


def current_server() -> Server:
    """The server's settings, as gunicorn's objects in the frames that import the application have them."""
    found = _gunicorn_objects()
    if not found:
        return Server(_identity(os.getpid()))
    cfg = found[0].cfg
    worker = next((each for each in found if hasattr(each, "alive")), None)
    return Server(
        master=_identity(os.getpid() if cfg.preload_app else os.getppid()),
        processes=cfg.workers,
        threads=cfg.threads if cfg.worker_class_str == "gthread" else 1,
        worker_timeout_s=cfg.timeout,
        worker_class=cfg.worker_class_str,
        preload=cfg.preload_app,
        configured="workers.gunicorn_conf" in sys.modules,
        hosts=tuple(each[0] for each in cfg.address if isinstance(each, tuple)),
        stopping=lambda: worker is not None and not worker.alive,
        respawned=getattr(worker, "age", 0) > cfg.workers,
    )


def trust_no_header() -> None:
    """Let no header set the path and the scheme of a request. gunicorn would trust any client on this host."""
    for found in _gunicorn_objects():
        found.cfg.set("forwarder_headers", "")
        found.cfg.set("secure_scheme_headers", {})


def raise_descriptor_limit() -> None:
    """Raise this process's limit of file descriptors as far as it may without being root."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # where the most is "infinite", the system may not mean it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def limit_connections() -> None:
    """Leave half of the free descriptors to clients' connections; the other half is for the store and its locks.

    To be called when everything that stays open is open. Otherwise many clients that only connect would leave no
    descriptor to sell with. gunicorn's setting is changed in its worker, which reads it only when it begins to serve.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(1, (limit - _open_descriptors()) // 2)
    worker: Any = next((each for each in _gunicorn_objects() if hasattr(each, "worker_connections")), None)
    wanted = worker.worker_connections if worker is not None else 0
    if wanted > most:
        worker.worker_connections = most
        if hasattr(worker, "max_keepalived"):
            worker.max_keepalived = max(0, most - worker.cfg.threads)
    if most < max(wanted, _TIGHT):
        log.warning(
            "this process may have only %d file descriptors: it takes at most %d connections at once%s. Let it have "
            "more (`ulimit -n`, `LimitNOFILE=`), or purchases may be refused",
            limit,
            most,
            f" instead of {wanted}" if wanted > most else "",
        )


def survive_failed_accepts() -> None:
    """Let a worker that has no descriptor for a connection go on serving those that it has, and try again.

    gunicorn's sync and gthread workers would end, and all clients whose requests they have would get no answer. The
    connection stays with the kernel meanwhile, and another worker may take it.
    """
    worker: Any = next((each for each in _gunicorn_objects() if hasattr(each, "accept")), None)
    if worker is None:
        return
    accept, is_said = worker.accept, False

    def accept_or_wait(listener: object) -> None:
        nonlocal is_said
        try:
            accept(listener)
            is_said = False
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            if not is_said:
                log.warning("no descriptor is left for a connection (%s): it waits until one is free", error.strerror)
            is_said = True
            time.sleep(_NEXT_ACCEPT_S)

    worker.accept = accept_or_wait


def _open_descriptors() -> int:
    """The number of this process's descriptors. A bare container may have no /dev/fd, and macOS has no /proc."""
    for place in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(place))  # noqa: PTH208
    return 0


def let_one_worker_report() -> None:
    """To be called before a refusal. One worker reports it; the others wait here for SIGTERM, and do not return.

    Two workers that both end as "cannot be loaded" would end gunicorn's master in a traceback: while it stops because
    of the first one, the second one makes it stop again. The others leave without SIGTERM, too, after a while: a signal
    that comes before a worker listens is lost. If only they had a reason to refuse, the master starts the next workers,
    until one of them is a worker that reports.
    """
    worker = next((each for each in _gunicorn_objects() if hasattr(each, "age")), None)
    if worker is None:
        return
    reports = (worker.age - 1) % max(1, worker.cfg.workers) == 0
    deadline = time.monotonic() + (0 if reports else _REPORT_PATIENCE_S)
    while worker.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    if not reports:
        raise SystemExit(0)


def _gunicorn_objects() -> list[Any]:
    """gunicorn's application and worker, if their methods are running (innermost first): both have its ``Config``."""
    selves, frame = [], inspect.currentframe()
    while frame is not None:
        selves.append(frame.f_locals.get("self"))
        frame = frame.f_back
    return [each for each in selves if type(getattr(each, "cfg", None)).__module__ == "gunicorn.config"]


def _identity(pid: int) -> str:
    """A name for the master process of this id, the same in all its workers, also in respawned ones.

    Its id and start time are not enough: after a reboot, in another container or a small virtual machine both can be
    the same again. So random bytes are added, which every worker has from the master by the fork. Two copies of one
    master (a virtual machine that was cloned while it ran) get the same name.
    """
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        started = "?"
    return f"{pid}@{started}-{hashlib.blake2b(_random_of_this_start(), digest_size=8).hexdigest()}"


def _random_of_this_start() -> bytes:
    """Random bytes from the start of this process's program, which a fork inherits: on Linux sixteen from the kernel,
    elsewhere those that Python derives its text hashes from."""
    try:
        libc = ctypes.CDLL(None)
        libc.getauxval.restype = ctypes.c_ulong
        if where := libc.getauxval(_AT_RANDOM):
            return ctypes.string_at(where, 16)
    except (OSError, AttributeError):
        pass
    return str(hash("lastseat")).encode()


def acting_line(settings: Settings, server: Server) -> str:
    """``host`` where the processes of this host have their purchases decided together, else ``process``.

    A think time or gates make it an experiment about the guard, so then only who asks for the combiner has it.
    """
    if settings.line:
        return settings.line
    store = STORES[settings.store]
    together = store.durable and (settings.batch or store.default_batch) > 1
    several = _HAS_COMBINERS and server.processes > 1 and server.worker_class in HOST_LINE_WORKERS
    experiment = settings.think.high_ms or settings.gates or settings.request_scope
    return "host" if several and together and not experiment else "process"


def refuse_unsafe(settings: Settings, guard: str, store_scope: str, safe_guard: str, server: Server) -> None:
    """Raise ``RefusedToStart`` for combinations that would be silently wrong; ``allow_unsafe`` permits them."""
    if settings.allow_unsafe:
        return
    if server.preload:
        raise RefusedToStart(
            "--preload builds the locks in the master; after the fork they are dead in the workers, and filelock "
            "loaded before gevent's patch excludes no greenlet. Start without --preload."
        )
    if server.processes > 1 and store_scope == "process":
        raise RefusedToStart(
            f"LASTSEAT_STORE={settings.store} lives in one process, and there are {server.processes}: each would sell "
            "all tickets anew. Take LASTSEAT_STORE=json, or --workers 1."
        )
    if server.processes > 1 and guard in GUARDS and GUARDS[guard].scope == "threads":
        raise RefusedToStart(
            f"LASTSEAT_GUARD={guard} excludes the threads of one process, and there are {server.processes} processes: "
            f"it would oversell. Take LASTSEAT_GUARD={safe_guard}, or --workers 1, or allow it with "
            "LASTSEAT_ALLOW_UNSAFE=1 to see it happen on a lab event."
        )
    if settings.line == "host" and not _HAS_COMBINERS:
        raise RefusedToStart("LASTSEAT_LINE=host works on Linux alone. Take LASTSEAT_LINE=process.")
    if settings.line == "host" and (store_scope == "process" or settings.request_scope):
        raise RefusedToStart(
            "LASTSEAT_LINE=host has another process decide, which has nothing of a store that lives in one process "
            f"(LASTSEAT_STORE={settings.store}), and nothing of a guard that is held around a whole request "
            "(LASTSEAT_GUARD_SCOPE=request). Take LASTSEAT_LINE=process."
        )
    if server.sync and 0 < server.worker_timeout_s <= settings.lock_timeout_s:
        raise RefusedToStart(
            f"LASTSEAT_LOCK_TIMEOUT_S={settings.lock_timeout_s:g} is not shorter than gunicorn's --timeout "
            f"{server.worker_timeout_s}: a worker that waits for the guard would be killed in a purchase. "
            "Shorten the one or lengthen the other."
        )
