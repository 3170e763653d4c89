"""Fault ``oom-kill``: the kernel kills a worker for want of memory, in the middle of whatever it does.

The workers are moved into a cgroup that has room for a few pages. The next page that one of them needs is refused, and
the kernel's OOM killer ends one: the same code that ends a worker in a container without memory. Then the others are
where they were; gunicorn starts a new one, outside of that group.
"""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from loadtests.lab.faults.base import NotInjected
from loadtests.lab.faults.cgroups import Group, Limit, limited, why_not
from loadtests.lab.faults.happened import Happened
from loadtests.lab.faults.process.kill_worker import KillWorker
from loadtests.lab.faults.processes import replaced_by_master

_BYTES = "65536"
MEMORY = Limit("memory", {"memory.limit_in_bytes": _BYTES}, {"memory.max": _BYTES})
_EVENTS = ("memory.events", "memory.oom_control")
"""Where each version counts the kernel's kills."""
WITHIN_S = 10.0
_POLL_S = 0.01


class OomKill(KillWorker):
    name: ClassVar[str] = "oom-kill"
    says: ClassVar[str] = "The kernel kills a worker for want of memory; the master starts a new one."
    takes: ClassVar[str] = "Linux, root, and a cgroup for memory, version 1 or 2"

    @classmethod
    def needs(cls) -> str:
        return why_not(MEMORY)

    def inject(self, server: Any, over: threading.Event) -> Happened:
        with limited(MEMORY) as group:
            workers = replaced_by_master(server)
            begin_ns, deadline = time.monotonic_ns(), time.monotonic() + WITHIN_S
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    group.take(worker.pid)
            while not (killed := _kills(group)):
                if over.wait(_POLL_S) or time.monotonic() > deadline:
                    raise NotInjected(f"no worker of {len(workers)} asked for memory, and the kernel killed none")
        text = f"the kernel killed {killed} of {len(workers)} workers for want of memory"
        return Happened(self.name, begin_ns, time.monotonic_ns(), text)


def _kills(group: Group) -> int:
    file = next(name for name in _EVENTS if Path(group.folder / name).exists())
    return group.counted(file, "oom_kill")
