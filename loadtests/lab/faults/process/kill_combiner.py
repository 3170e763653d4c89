"""Fault ``kill-combiner``: ``kill -9`` of the process that decides the whole host's purchases together.

What was handed over to it is asked again under the same keys; until there is another one, each process decides by
itself, under the same guard.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, ClassVar

import msgspec
import psutil

from loadtests.lab.faults.base import Fault, FaultUnfit, NotInjected
from loadtests.lab.faults.happened import Happened
from loadtests.lab.faults.processes import combiners_of

_POLL_S = 0.01


class KillCombiner(Fault):
    name: ClassVar[str] = "kill-combiner"
    says: ClassVar[str] = "The process that decides the host's purchases together is killed (kill -9)."
    takes: ClassVar[str] = "several workers that decide together"

    def adapt(self, service: Any) -> Any:
        if not service.survives or service.shape[0] < 2 or service.nodes > 1 or service.guard_scope == "request":
            raise FaultUnfit(
                "the fault kill-combiner takes several processes of one node that decide together: --processes 2 or "
                "more, a durable store, and no --guard-scope request."
            )
        if service.gates or service.line == "process":
            raise FaultUnfit("the fault kill-combiner takes the line of the host: --line host, and no fault pause.")
        return msgspec.structs.replace(service, line="host")

    def inject(self, server: Any, over: threading.Event) -> Happened:
        while not (found := combiners_of(server)):
            if over.wait(_POLL_S):
                raise NotInjected("there was no combiner to be killed")
        begin_ns = time.monotonic_ns()
        for each in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        return Happened(self.name, begin_ns, time.monotonic_ns(), f"combiner {found[0].pid} killed")
