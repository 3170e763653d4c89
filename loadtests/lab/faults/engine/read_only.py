"""Fault ``read-only``: the engine refuses to write for a while, as one that has become a standby; it still answers."""

from __future__ import annotations

from typing import Any, ClassVar

from loadtests.lab.faults.engine.restart_engine import RestartEngine


class ReadOnly(RestartEngine):
    name: ClassVar[str] = "read-only"
    says: ClassVar[str] = "The engine answers what reads, and refuses what writes, as a standby does."
    lasts_s: ClassVar[float] = 1.0

    def begin(self, server: Any) -> str:
        server.engine.refuse_writes()
        return "engine took no writes"

    def heal(self, server: Any) -> None:
        server.engine.take_writes()
