"""Fault ``kill-worker``: ``kill -9`` of one worker after the other during the sale; gunicorn starts them anew.

A buyer whose request was in the killed worker gets no answer, and asks again under the same key. The other workers
complete or cut what it had begun to write, and take the lock that it held.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any, ClassVar

import psutil

from loadtests.lab.faults.base import Fault, FaultUnfit, NotInjected
from loadtests.lab.faults.happened import Happened
from loadtests.lab.faults.processes import replaced_by_master

KILLS = 5
PAUSE_S = 0.15
"""From one kill to the next; the other workers sell in between."""


class KillWorker(Fault):
    name: ClassVar[str] = "kill-worker"
    says: ClassVar[str] = "One worker after the other is killed (kill -9); the master starts them anew."
    takes: ClassVar[str] = "a master that starts its workers anew"

    @classmethod
    def of_target(cls) -> type[Fault]:
        return cls

    def adapt(self, service: Any) -> Any:
        if not service.survives:
            raise FaultUnfit(f"store {service.store} is in its worker's memory, and gone with it: take another one.")
        if service.nodes > 1:
            raise FaultUnfit(
                f"the fault {self.name} is for one node; of several, kill-node kills one with its workers."
            )
        return service

    def inject(self, server: Any, over: threading.Event) -> Happened:
        begin_ns = end_ns = time.monotonic_ns()
        killed = 0
        for turn in range(KILLS):
            if workers := replaced_by_master(server):
                with contextlib.suppress(psutil.NoSuchProcess):
                    workers[turn % len(workers)].kill()
                    killed, end_ns = killed + 1, time.monotonic_ns()
            if over.wait(PAUSE_S):
                break
        if not killed:
            raise NotInjected("the service has no process that it would start anew")
        return Happened(self.name, begin_ns, end_ns, f"{killed} workers killed, one after the other")
