"""Fault ``pause``: a worker is stopped (SIGSTOP) between reading and writing, and continues when another one has sold.

It forces the interleaving that a lease does not survive, by the service's gates: A has the lease, has read what is
left, and comes to the gate before writing. There its process is stopped, as a swapped page, a garbage collection or a
live migration would stop it. The lease ends by the engine's clock; B gets it, reads the same, sells, and releases it.
Then A continues and writes. In every round A continues only after B's sale was seen.

Under a guard that is no lease B waits instead, and A continues after the lease's length and some seconds more.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import ClassVar

import msgspec

from loadtests.lab.faults.base import Fault, FaultUnfit, NotInjected
from loadtests.lab.faults.happened import Happened
from loadtests.lab.faults.process.pause_target import PauseTarget
from loadtests.lab.servers.gate_server import Arrival, GateServer
from loadtests.lab.servers.office import RunningOffice, Service
from service.catalogue import GUARDS

LEASE_MS = 500
OTHERS_SELL_WITHIN_S = 4.0
"""How long after the lease's length A stays stopped at most, where others have to wait for A. It is shorter than the
lock time-out, so that they can still decide."""
THE_NEXT_SELLS_WITHIN_S = 30.0
"""The same where B gets the lease and sells: a slow machine may take this long."""
_POLL_S = 0.05


class Pause(Fault):
    name: ClassVar[str] = "pause"
    says: ClassVar[str] = "A worker is stopped (SIGSTOP) between reading and writing, until another one has sold."
    takes: ClassVar[str] = "several workers, and a guard that leaves a place between reading and writing"
    sold_first: ClassVar[int] = 0

    def __init__(self) -> None:
        self._stage = GateServer()
        self._lease_ms = LEASE_MS
        self._mutex = threading.Lock()
        self._patience_s = OTHERS_SELL_WITHIN_S
        self._wanted = False
        self._inside: dict[str, int] = {}
        """The workers (process ids) in which a purchase is under way, by the purchase's key."""
        self._holder: Arrival | None = None
        self._seller: Arrival | None = None
        self._ended = threading.Event()
        self._porter = threading.Thread(target=self._keep_the_gates, daemon=True)
        self._porter.start()

    @classmethod
    def of_target(cls) -> type[Fault]:
        return PauseTarget

    def adapt(self, service: Service) -> Service:
        if service.shape[0] < 2:
            raise FaultUnfit("the fault pause stops one worker while another one sells: take --processes 2 or more.")
        guard = GUARDS[service.acting_guard]
        if not guard.can_be_paused:
            raise FaultUnfit(
                f"guard {service.acting_guard} leaves no place between reading and writing where it could stop."
            )
        self._lease_ms = service.lease_ms or LEASE_MS
        self._patience_s = THE_NEXT_SELLS_WITHIN_S if guard.is_lease else OTHERS_SELL_WITHIN_S
        # With kept connections all buyers may have the same worker, and then no other worker could sell.
        return msgspec.structs.replace(service, lease_ms=self._lease_ms, gates=str(self._stage.path), keep_alive=False)

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._porter.join()
        self._go_on()
        self._stage.__exit__(None, None, None)

    def inject(self, office: RunningOffice, over: threading.Event) -> Happened:
        with self._mutex:
            self._holder = self._seller = None
            self._inside.clear()
            self._wanted = True
        try:
            holder = self._wait_for(lambda: self._holder, None, over)
            if holder is None:
                raise NotInjected("no purchase came between its reading and its writing")
            begin_ns = time.monotonic_ns()
            patience_s = self._lease_ms / 1e3 + self._patience_s
            seller = self._wait_for(lambda: self._seller, time.monotonic() + patience_s, over)
        finally:
            self._go_on()
        seen = (
            f"worker {seller.pid} sold at version {seller.version} meanwhile"
            if seller is not None
            else f"nobody else sold within {patience_s:g} s"
        )
        text = f"worker {holder.pid} was stopped before it wrote what it had decided on version {holder.saw}; {seen}"
        return Happened(self.name, begin_ns, time.monotonic_ns(), text)

    @staticmethod
    def _wait_for(look: Callable[[], Arrival | None], deadline: float | None, over: threading.Event) -> Arrival | None:
        while (found := look()) is None:
            if over.wait(_POLL_S) or (deadline is not None and time.monotonic() > deadline):
                break
        return found

    def _go_on(self) -> None:
        """Let the stopped worker continue: its gate opens first, so that it writes as soon as it runs."""
        with self._mutex:
            holder, self._holder, self._wanted = self._holder, None, False
        if holder is not None:
            self._stage.let_go(holder)
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGCONT)

    def _keep_the_gates(self) -> None:
        """Open every gate at once, except that of the stopped worker."""
        while not self._ended.is_set():
            with contextlib.suppress(queue.Empty):
                happening = self._stage.happenings.get(timeout=_POLL_S)
                if isinstance(happening, Arrival) and happening.gate and not self._stops(happening):
                    self._stage.let_go(happening)

    def _stops(self, arrival: Arrival) -> bool:
        with self._mutex:
            holder = self._holder
            if arrival.gate == "acquire":
                self._inside |= dict.fromkeys(arrival.keys, arrival.pid)
            elif arrival.gate == "release":
                for key in arrival.keys:
                    self._inside.pop(key, None)
            if holder is None:
                # A purchase must be inside another worker too. If all waited at the stopped worker, no one could sell
                # in the meantime.
                others = set(self._inside.values()) - {arrival.pid}
                if not (self._wanted and others) or arrival.gate != "append" or arrival.saw is None:
                    return False
                os.kill(arrival.pid, signal.SIGSTOP)
                self._holder, self._wanted = arrival, False
                return True
            wrote = arrival.gate == "release" and (arrival.version or 0) > (holder.saw or 0)
            if wrote and arrival.event == holder.event and arrival.pid != holder.pid:
                self._seller = self._seller or arrival
            return False
