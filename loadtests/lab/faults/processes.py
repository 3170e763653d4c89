"""The processes of a service under a fault: which they are, and how they are stopped for a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psutil

from loadtests.lab.faults.leavings import left_behind
from loadtests.lab.servers.resources import children_of

_COMBINER = "service.sales.host_line.combiner"


def workers_of(server: Any) -> list[psutil.Process]:
    """gunicorn's workers, of several nodes those of the last one, by age. Of another service: every process of it."""
    if hasattr(server, "nodes"):
        return workers_of(server.nodes[-1])
    if not hasattr(server, "service"):
        return [psutil.Process(server.pid), *children_of(server.pid, recursive=True)]
    return replaced_by_master(server)


def replaced_by_master(server: Any) -> list[psutil.Process]:
    """The processes that the first one of a service would start anew, by age; of a service of one process none."""
    return sorted(children_of(server.pid), key=lambda each: each.pid)


def combiners_of(server: Any) -> list[psutil.Process]:
    """The combiner of an office, where it has one: it is in a session of its own, and is known by its data."""
    return [each for each in psutil.process_iter() if _combines_for(each, str(getattr(server, "data", "")))]


def _combines_for(each: psutil.Process, data: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return _COMBINER in each.cmdline() and each.environ().get("LASTSEAT_DATA") == data
    return False


@contextlib.contextmanager
def stopped(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """These are stopped in this block (SIGSTOP), and continue at its end, also if the lab is killed in it."""
    with left_behind(go_on, " ".join(f"{each.pid}:{each.create_time()}" for each in processes)):
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.suspend()
        yield


def go_on(names: str) -> None:
    """Let processes continue named by number and start. Another one that has the number since is left alone."""
    for name in names.split():
        pid, _, began = name.partition(":")
        with contextlib.suppress(psutil.NoSuchProcess):
            found = psutil.Process(int(pid))
            if str(found.create_time()) == began:
                found.resume()
