"""Faults ``failover`` and ``failover-sync``: a standby, which has missed the last moments, takes the engine's place.

An engine whose standby is asynchronous answers before the standby has what was written. So that the standby is surely
behind, it is cut off, and the engine is killed when buyers have bought after that: their orders are lost. The office's
processes refuse an engine that shows less than they have seen. So they are started again, as their operator would: new
ones cannot notice.

An engine whose standby is synchronous answers nothing that the standby lacks: while that is cut off, nobody can buy.
"""

from __future__ import annotations

import threading
import time
from typing import Any, ClassVar

from loadtests.lab.faults.base import FaultUnfit, NotInjected, refuse_several_nodes
from loadtests.lab.faults.engine.restart_engine import RestartEngine
from loadtests.lab.history.live_count import LiveCount
from loadtests.lab.servers.postgres import why_no_standby

BEHIND_S = 0.3
_NOTICED_S = 1.0
"""How long the office has, after a failover that lost, to notice it before it is started again."""
_POLL_S = 0.01


class Failover(RestartEngine):
    name: ClassVar[str] = "failover"
    says: ClassVar[str] = (
        f"An asynchronous standby that was cut off for {BEHIND_S * 1e3:g} ms, and lacks a sale, takes the engine's "
        "place, and the office is started again."
    )

    def __init__(self) -> None:
        self._server: Any = None
        self._is_done = False

    @classmethod
    def needs_under(cls, store: str) -> str:
        return why_no_standby() if store == "postgres" else ""

    def adapt(self, service: Any) -> Any:
        refuse_several_nodes(self.name, service)
        return super().adapt(service)

    def equip(self, server: Any) -> None:
        server.engine.add_standby()

    def begin(self, server: Any) -> str:
        self._server, self._is_done = server, False
        self.equip(server)  # after an earlier failover there is none
        server.engine.cut_off_standby()
        return "the standby was cut off"

    def last(self, over: threading.Event) -> str:
        cut_off_ns = time.monotonic_ns()
        over.wait(BEHIND_S)
        self.wait_for_a_loss(over, LiveCount(self._server.folder, cut_off_ns))
        is_too_late, behind_ms = over.is_set(), (time.monotonic_ns() - cut_off_ns) / 1e6
        self._server.engine.fail_over()
        self._is_done = True
        if is_too_late:
            raise NotInjected("the round was over while the standby was cut off")
        return f"{behind_ms:.0f} ms later the engine was killed, and the standby took its place; {self.office(over)}"

    def wait_for_a_loss(self, over: threading.Event, bought: LiveCount) -> None:
        """Wait until somebody has bought what the standby lacks, or the round is over."""
        while not bought.read() and not over.wait(_POLL_S):
            pass

    def office(self, over: threading.Event) -> str:
        """What becomes of the office, in words."""
        over.wait(_NOTICED_S)
        return "the office was started again"

    def heal(self, server: Any) -> None:
        if self._is_done:
            server.kill()
            server.start()


class FailoverSync(Failover):
    name: ClassVar[str] = "failover-sync"
    says: ClassVar[str] = (
        f"A synchronous standby that was cut off for {BEHIND_S * 1e3:g} ms takes the engine's place, and the office "
        "goes on."
    )
    takes: ClassVar[str] = "a PostgreSQL that the lab has started (--store postgres)"

    def adapt(self, service: Any) -> Any:
        if service.store != "postgres":
            raise FaultUnfit(
                f"the fault {self.name} is done to a PostgreSQL that the lab has started: say --store postgres, "
                "without an address. Valkey and Redis have no synchronous replicas."
            )
        return super().adapt(service)

    def equip(self, server: Any) -> None:
        server.engine.add_standby(synchronous=True)

    def wait_for_a_loss(self, over: threading.Event, bought: LiveCount) -> None:
        return

    def office(self, over: threading.Event) -> str:
        return "the office went on"

    def heal(self, server: Any) -> None:
        return
