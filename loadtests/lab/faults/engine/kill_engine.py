"""Fault ``kill-engine``: ``kill -9`` of the engine during the sale; it is started again on what its disk kept."""

from __future__ import annotations

from typing import Any, ClassVar

from loadtests.lab.faults.engine.restart_engine import RestartEngine


class KillEngine(RestartEngine):
    name: ClassVar[str] = "kill-engine"
    says: ClassVar[str] = "The engine is killed (kill -9), and started again on what its disk kept."

    def begin(self, server: Any) -> str:
        server.engine.kill()
        return "engine killed"
