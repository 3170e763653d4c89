"""Fault ``lying-disk``: for a moment the disk says that it has synced, and has not; then the power is cut.

No store survives it, for each believes its disk: so this is the canary of ``power-cut``.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from loadtests.lab.faults.disk.power_cut import PowerCut, kept_by
from loadtests.lab.faults.disk.tracing import SYNCS, Call
from loadtests.lab.history.live_count import LiveCount

LIES_S = 0.3
SOLD = 20
_WITHIN_S = 10.0
_POLL_S = 0.01


class LyingDisk(PowerCut):
    name: ClassVar[str] = "lying-disk"
    says: ClassVar[str] = (
        f"For {LIES_S * 1e3:g} ms, and until {SOLD} tickets were sold, the disk says that it has synced, and has not; "
        "then the power is cut, and the office is started again."
    )

    def __init__(self) -> None:
        super().__init__()
        self._true_until = 0

    def begin(self, server: Any) -> str:
        self._true_until = kept_by(server).calls.stat().st_size
        began, live = time.monotonic(), LiveCount(server.folder)
        enough = live.read() + SOLD
        while (lasted_s := time.monotonic() - began) < LIES_S or (live.read() < enough and lasted_s < _WITHIN_S):
            time.sleep(_POLL_S)
        return super().begin(server)

    def _is_true(self, call: Call) -> bool:
        return self._read <= self._true_until or call.name not in SYNCS.split(",")
