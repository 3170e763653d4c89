"""Which server runs this process, and whether the settings can be right there.

A guard that excludes threads is no use to four processes, a lock built before the fork is dead after it, and one
built before gevent's patch lets every greenlet in. All of this can be seen at start, and is refused there.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from service.catalogue import GUARDS
from service.errors import RefusedToStart
from service.settings import Settings

log = logging.getLogger("lastseat")

_TIGHT = 100
"""Fewer connections at once than this are worth a warning, also where none was asked for."""
# Longer than it takes a worker that started at the same time to come to the same refusal: an engine that does not
# answer is waited for at the start for 5 s an address ("localhost" has two), and for 5 s once it has the connection.
# Else a worker would leave that stands back, and the one in its place would speak as well.
STAND_BACK_S = 20.0
_AT_RANDOM = 25


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where this process runs. Outside gunicorn: one process, which is its own master."""

    master: str
    """Identifies the master process, and no other one that ever was: see ``_identity``."""
    processes: int = 1
    threads: int = 1
    """Native threads that answer requests in one process."""
    worker_timeout_s: int = 0
    """After so many seconds gunicorn kills a sync worker that does not come back; 0: never."""
    sync: bool = False
    preload: bool = False
    configured: bool = True
    """Whether gunicorn has read ``workers.gunicorn_conf``."""
    hosts: tuple[str, ...] = ()
    """The names of the addresses that the server listens on."""
    stopping: Callable[[], bool] = lambda: False
    """Whether the server is about to end this process."""
    respawned: bool = False
    """Whether this process is not of those with which its master began: others may have been there before."""


def look_around() -> Surroundings:
    """What can be seen from inside: gunicorn's settings lie in the frames that import the application."""
    gunicorns = [found for found in _selves(sys._getframe()) if _is_gunicorns(found)]
    if not gunicorns:
        return Surroundings(_identity(os.getpid()))
    cfg = gunicorns[0].cfg
    worker = next((found for found in gunicorns if hasattr(found, "alive")), None)
    return Surroundings(
        master=_identity(os.getpid() if cfg.preload_app else os.getppid()),
        processes=cfg.workers,
        threads=cfg.threads if cfg.worker_class_str == "gthread" else 1,
        worker_timeout_s=cfg.timeout,
        sync=cfg.worker_class_str == "sync",
        preload=cfg.preload_app,
        configured="workers.gunicorn_conf" in sys.modules,
        hosts=tuple(each[0] for each in cfg.address if isinstance(each, tuple)),
        stopping=lambda: worker is not None and not worker.alive,
        respawned=getattr(worker, "age", 0) > cfg.workers,
    )


def believe_no_header() -> None:
    """Let no header say under which path and scheme a request came. gunicorn believes whoever is on this host."""
    for found in _selves(sys._getframe()):
        if _is_gunicorns(found):
            found.cfg.set("forwarder_headers", "")
            found.cfg.set("secure_scheme_headers", {})


def raise_descriptor_limit() -> None:
    """Let this process have as many file descriptors as it may have without being root."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # where the most is "infinite", the system may not mean it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def bound_connections() -> None:
    """Let clients have half of the descriptors that are left; the other half is for the store and its locks.

    To be called when all that stays open is open. Else a crowd that only connects would leave no file to sell into.
    What gunicorn was told is changed in its worker, which reads it only when it begins to serve.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(1, (limit - _open_descriptors()) // 2)
    selves = (each for each in _selves(sys._getframe()) if _is_gunicorns(each))
    worker: Any = next((each for each in selves if hasattr(each, "worker_connections")), None)
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


def _open_descriptors() -> int:
    """How many descriptors this process has; a bare container may have /proc and no /dev/fd, macOS only the latter."""
    for place in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return len(os.listdir(place))  # noqa: PTH208
    return 0


def stand_back() -> None:
    """To be called before a refusal: one worker of a round returns at once, the others are stopped in here.

    Two workers that both end as "cannot be loaded" end gunicorn's master in a traceback: while it stops because of the
    first one, the second one makes it stop again. So one of them says it, and the others wait for the SIGTERM that
    follows, and leave in peace also without it: one that comes before a worker listens is lost. If the refusal was
    theirs alone, the master starts the next worker, and after some of them it is one who speaks.
    """
    worker = next((each for each in _selves(sys._getframe()) if _is_gunicorns(each) and hasattr(each, "age")), None)
    if worker is None:
        return
    speaks = (worker.age - 1) % max(1, worker.cfg.workers) == 0
    deadline = time.monotonic() + (0 if speaks else STAND_BACK_S)
    while worker.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    if not speaks:
        raise SystemExit(0)


def _selves(frame: FrameType | None) -> Iterator[Any]:
    """The objects whose methods are running, innermost first."""
    while frame is not None:
        if "self" in frame.f_locals:
            yield frame.f_locals["self"]
        frame = frame.f_back


def _is_gunicorns(candidate: Any) -> bool:
    """Whether it is gunicorn's application or worker: both have its Config."""
    return "gunicorn" in sys.modules and type(getattr(candidate, "cfg", None)).__module__ == "gunicorn.config"


def _identity(pid: int) -> str:
    """A name for the master process of this id, the same in all its workers, the respawned ones too.

    Its id and when it started would not do: after a reboot, in another container or a small virtual machine both can
    come again. What tells it apart is random, and every worker has it from the master by the fork. Two copies of one
    master (a virtual machine that was cloned while it ran) are not told apart.
    """
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        started = "?"
    return f"{pid}@{started}-{hashlib.blake2b(_born_with(), digest_size=8).hexdigest()}"


def _born_with() -> bytes:
    """What was random when this process's program began, and is passed on by a fork: on Linux the sixteen bytes that
    the kernel gives to every program, elsewhere what Python hashes text with."""
    try:
        libc = ctypes.CDLL(None)
        libc.getauxval.restype = ctypes.c_ulong
        if where := libc.getauxval(_AT_RANDOM):
            return ctypes.string_at(where, 16)
    except (OSError, AttributeError):
        pass
    return str(hash("lastseat")).encode()


def refuse_unsafe(settings: Settings, guard: str, store_scope: str, safe_guard: str, around: Surroundings) -> None:
    """Raise ``RefusedToStart`` for pairings that would be silently wrong; ``allow_unsafe`` lets them be."""
    if settings.allow_unsafe:
        return
    if around.preload:
        raise RefusedToStart(
            "--preload builds the locks in the master; after the fork they are dead in the workers, and filelock "
            "loaded before gevent's patch excludes no greenlet. Start without --preload."
        )
    if around.processes > 1 and store_scope == "process":
        raise RefusedToStart(
            f"LASTSEAT_STORE={settings.store} lives in one process, and there are {around.processes}: each would sell "
            "all tickets anew. Take LASTSEAT_STORE=json, or --workers 1."
        )
    if around.processes > 1 and guard in GUARDS and GUARDS[guard].scope == "threads":
        raise RefusedToStart(
            f"LASTSEAT_GUARD={guard} excludes the threads of one process, and there are {around.processes} processes: "
            f"it would oversell. Take LASTSEAT_GUARD={safe_guard}, or --workers 1, or allow it with "
            "LASTSEAT_ALLOW_UNSAFE=1 to see it happen on a lab event."
        )
    if around.sync and 0 < around.worker_timeout_s <= settings.lock_timeout_s:
        raise RefusedToStart(
            f"LASTSEAT_LOCK_TIMEOUT_S={settings.lock_timeout_s:g} is not shorter than gunicorn's --timeout "
            f"{around.worker_timeout_s}: a worker that waits for the guard would be killed in a purchase. "
            "Shorten the one or lengthen the other."
        )
