"""Fault ``pause`` of another service: all its processes are stopped (SIGSTOP) for some time, as by a live migration.

Where they would have to stop to do harm is not known: so it comes again and again, with ``--fault-every``.
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

from loadtests.lab.faults.base import TimedFault
from loadtests.lab.faults.processes import stopped, workers_of


class PauseTarget(TimedFault):
    name: ClassVar[str] = "pause"
    says: ClassVar[str] = "Every process of the service is stopped (SIGSTOP), and continues."

    def __init__(self) -> None:
        self._stopped = contextlib.ExitStack()

    def begin(self, server: Any) -> str:
        processes = workers_of(server)
        self._stopped.enter_context(stopped(processes))
        return f"{len(processes)} processes stopped"

    def heal(self, server: Any) -> None:
        self._stopped.close()
