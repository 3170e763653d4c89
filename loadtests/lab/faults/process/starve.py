"""Fault ``starve``: the processes that sell get a small share of one core for some time, and then all of it again.

A cgroup limits them together. Where this machine has none, they are stopped (SIGSTOP) and continued in turns; a process
that a signal stops is also stopped where it waits, and one that a cgroup limits is not.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import Any, ClassVar

import psutil

from loadtests.lab.faults.base import Fault, NotInjected, TimedFault
from loadtests.lab.faults.cgroups import Group, Limit, NoCgroup, limited
from loadtests.lab.faults.processes import combiners_of, stopped, workers_of

PERIOD_S, RUNS_S = 0.1, 0.005
_PERIOD_US, _RUNS_US = round(PERIOD_S * 1e6), round(RUNS_S * 1e6)
CPU = Limit(
    "cpu",
    {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(_RUNS_US)},
    {"cpu.max": f"{_RUNS_US} {_PERIOD_US}"},
)


class Starve(TimedFault):
    name: ClassVar[str] = "starve"
    says: ClassVar[str] = "Everything that sells gets a twentieth of one core."
    takes: ClassVar[str] = "a cgroup for cpu, version 1 or 2; without one it stops the processes in turns"
    lasts_s: ClassVar[float] = 2.0

    def __init__(self) -> None:
        self._starved = contextlib.ExitStack()
        self._processes: list[psutil.Process] = []
        self._group: Group | None = None

    @classmethod
    def of_target(cls) -> type[Fault]:
        return cls

    def begin(self, server: Any) -> str:
        self._processes = [*workers_of(server), *combiners_of(server)]
        try:
            self._group = self._starved.enter_context(limited(CPU))
        except NoCgroup as error:
            self._group = None
            return f"{len(self._processes)} processes stopped for {1 - RUNS_S / PERIOD_S:.0%} of the time: {error}"
        for each in self._processes:
            with contextlib.suppress(ProcessLookupError):
                self._group.take(each.pid)
        return f"{len(self._processes)} processes limited to {RUNS_S / PERIOD_S:.0%} of one core by a cgroup"

    def last(self, over: threading.Event) -> str:
        if self._group is None:
            for _ in range(round(self.lasts_s / PERIOD_S)):
                with stopped(self._processes):
                    if over.wait(PERIOD_S - RUNS_S):
                        break
                over.wait(RUNS_S)
            return ""
        count = functools.partial(self._group.counted, "cpu.stat", "nr_throttled")
        self.wait_for_effect(over, count)
        if not (throttled := count()):
            raise NotInjected("the processes asked for less than the limit gave them")
        return f"it held them back in {throttled} periods of {PERIOD_S * 1e3:g} ms"

    def heal(self, server: Any) -> None:
        self._starved.close()
