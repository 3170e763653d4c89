"""Fault ``no-descriptors``: what sells can open no further file and accept no further connection, for some time.

The limit of each process (RLIMIT_NOFILE) is set to the first descriptor that it is seen not to use. What is open stays
open; below the limit one that is closed can be opened again, as where a leak has used up all of them. A process that is
started meanwhile has its parent's limit, and so all that it needs.
"""

from __future__ import annotations

import contextlib
import itertools
import resource
import time
from pathlib import Path
from typing import Any, ClassVar

import psutil

from loadtests.lab.faults.base import Fault, TimedFault
from loadtests.lab.faults.processes import combiners_of, workers_of

_LOOKS, _PAUSE_S = 20, 0.005
_MOST = 1 << 20


class NoDescriptors(TimedFault):
    name: ClassVar[str] = "no-descriptors"
    says: ClassVar[str] = "What sells can open no further file, and accept no further connection."
    takes: ClassVar[str] = "Linux"
    lasts_s: ClassVar[float] = 2.0

    def __init__(self) -> None:
        self._before: dict[psutil.Process, tuple[int, int]] = {}

    @classmethod
    def needs(cls) -> str:
        return "" if hasattr(resource, "prlimit") else "the limits of a running process can be set on Linux alone."

    @classmethod
    def of_target(cls) -> type[Fault]:
        return cls

    def begin(self, server: Any) -> str:
        free: dict[psutil.Process, int] = dict.fromkeys([*workers_of(server), *combiners_of(server)], _MOST)
        for _ in range(_LOOKS):  # in one look, the connection that a worker is just serving would count as kept
            free = {each: min(before, _first_free(each)) for each, before in free.items()}
            time.sleep(_PAUSE_S)
        for each, limit in free.items():
            with contextlib.suppress(ProcessLookupError):
                before = resource.prlimit(each.pid, resource.RLIMIT_NOFILE)
                resource.prlimit(each.pid, resource.RLIMIT_NOFILE, (min(limit, before[0]), before[1]))
                self._before[each] = before
        return f"{len(self._before)} processes could open no further descriptor"

    def heal(self, server: Any) -> None:
        while self._before:
            each, before = self._before.popitem()
            if each.is_running():
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(each.pid, resource.RLIMIT_NOFILE, before)


def _first_free(process: psutil.Process) -> int:
    """The lowest descriptor that is not open."""
    with contextlib.suppress(OSError):
        open_ones = {int(path.name) for path in Path(f"/proc/{process.pid}/fd").iterdir()}
        return next(number for number in itertools.count() if number not in open_ones)
    return _MOST
