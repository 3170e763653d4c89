"""Fault ``pause``: a worker is stopped (SIGSTOP) between reading and writing, and goes on when another one has sold.

The interleaving that a lease does not survive, by the service's gates: A has the lease, has read what is left, and comes
to the gate before writing. There its process is stopped, as by a page fault, a garbage collection or a live migration.
The lease ends by the engine's clock; B gets it, reads the same, sells, and gives it back. Then A goes on and writes.
Nothing here is left to luck: A goes on only after B's sale was seen, so the same thing happens in every round.

Under a guard that lends nothing B waits instead, and after the lease's length and some patience A goes on all the same.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from typing import ClassVar

import msgspec

from loadtests.lab.explore.stage import Arrival, Stage
from loadtests.lab.faults import Fault, Happened, NotInjected
from loadtests.lab.launcher import RunningOffice, Service

LEASE_MS = 500
OTHERS_SELL_WITHIN_S = 4.0
"""How long after the lease has ended A is kept stopped at most. Under the lock time-out there is time left to decide
again."""
_POLL_S = 0.05


class Pause(Fault):
    name: ClassVar[str] = "pause"

    def __init__(self) -> None:
        self._stage = Stage()
        self._lease_ms = LEASE_MS

    def adapt(self, service: Service) -> Service:
        self._lease_ms = service.lease_ms or LEASE_MS
        return msgspec.structs.replace(service, lease_ms=self._lease_ms, gates=str(self._stage.path))

    def __exit__(self, *_: object) -> None:
        self._stage.__exit__(None, None, None)

    def inject(self, office: RunningOffice, over: threading.Event) -> Happened:
        try:
            holder = self._wait_for_a_holder(over)
            return self._stop_until_another_sold(holder, over)
        finally:
            self._let_all_pass(over)

    def _wait_for_a_holder(self, over: threading.Event) -> Arrival:
        while not over.is_set():
            arrival = self._next()
            if arrival is None or not arrival.gate:
                continue
            if arrival.gate == "append" and arrival.saw is not None:
                return arrival
            self._stage.let_go(arrival)
        raise NotInjected("no purchase came to its writing")

    def _stop_until_another_sold(self, holder: Arrival, over: threading.Event) -> Happened:
        begin_ns = time.monotonic_ns()
        patience_s = self._lease_ms / 1e3 + OTHERS_SELL_WITHIN_S
        os.kill(holder.pid, signal.SIGSTOP)
        try:
            other = self._wait_for_a_sale(holder, time.monotonic() + patience_s, over)
        finally:
            # Its gate first: what it does next, it does at once.
            self._stage.let_go(holder)
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGCONT)
        seen = (
            f"worker {other.pid} sold at version {other.version} meanwhile"
            if other is not None
            else f"nobody sold within {patience_s:g} s"
        )
        text = f"worker {holder.pid} was stopped before it wrote what it had decided on version {holder.saw}; {seen}"
        return Happened(self.name, begin_ns, time.monotonic_ns(), text)

    def _wait_for_a_sale(self, holder: Arrival, deadline: float, over: threading.Event) -> Arrival | None:
        """Let the others pass until one has written after what the stopped one read."""
        while time.monotonic() < deadline and not over.is_set():
            arrival = self._next()
            if arrival is None or not arrival.gate:
                continue
            self._stage.let_go(arrival)
            wrote = arrival.gate == "release" and (arrival.version or 0) > (holder.saw or 0)
            if wrote and arrival.event == holder.event and arrival.pid != holder.pid:
                return arrival
        return None

    def _let_all_pass(self, over: threading.Event) -> None:
        while not over.is_set():
            arrival = self._next()
            if arrival is not None and arrival.gate:
                self._stage.let_go(arrival)
        self._stage.let_everybody_go()

    def _next(self) -> Arrival | None:
        try:
            happening = self._stage.happenings.get(timeout=_POLL_S)
        except queue.Empty:
            return None
        return happening if isinstance(happening, Arrival) else None
