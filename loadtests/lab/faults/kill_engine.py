"""``kill-engine``: ``kill -9`` of the engine during the sale, and it is started again on what its disk kept."""

from __future__ import annotations

from typing import Any, ClassVar

from loadtests.lab.faults.restart_engine import RestartEngine


class KillEngine(RestartEngine):
    says: ClassVar[str] = "kill -9 of the engine, which is then started again"

    def inject(self, server: Any) -> str:
        server.engine.kill()
        return "engine killed"
