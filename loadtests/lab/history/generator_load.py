"""Whether the load generator itself was the bottleneck.

Locust is one thread: when it computes all the time, or waits all the time for a core that the server uses, it measures
itself, and a faster server would not look faster. Locust warns only about computing, and looks every ten seconds; a
sale may last one. So this module measures the whole run, by the kernel's own account.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

LIMIT = 0.9
_SCHEDSTAT = Path("/proc/self/schedstat")


class GeneratorLoad(msgspec.Struct, frozen=True):
    """Shares of the run, 0 to 1: computing, and waiting for a core to compute on."""

    computing: float
    waiting_for_core: float
    locust_warned: bool = False


class GeneratorMeter:
    """Measures this process from the meter's creation on."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._computed_s = time.process_time()
        self._waited_s = _waited_for_core_s()
        self.locust_warned = False

    def read(self) -> GeneratorLoad:
        """The shares so far. ``waiting_for_core`` is 0 where the system keeps no such account."""
        lasted_s = max(time.monotonic() - self._began_s, 1e-6)
        return GeneratorLoad(
            computing=round(min((time.process_time() - self._computed_s) / lasted_s, 1.0), 3),
            waiting_for_core=round(min((_waited_for_core_s() - self._waited_s) / lasted_s, 1.0), 3),
            locust_warned=self.locust_warned,
        )


def _waited_for_core_s() -> float:
    """How long the main thread was runnable without running (the second number of schedstat)."""
    try:
        return int(_SCHEDSTAT.read_text(encoding="utf-8", errors="replace").split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def bottleneck_message(loads: list[GeneratorLoad]) -> str | None:
    """The warning about the busiest load generator, to show beside the verdict; None if all had time to spare.

    The verdict does not depend on it: a slow load generator records what it saw, only later.
    """
    if not loads:
        return None
    busiest = max(loads, key=lambda load: load.computing + load.waiting_for_core)
    if busiest.computing >= LIMIT or busiest.locust_warned:
        return (
            f"locust itself was the bottleneck: it computed {busiest.computing:.0%} of the run. Read the times as "
            "upper bounds; more load takes more processes (--processes) or more cores."
        )
    if busiest.computing + busiest.waiting_for_core >= LIMIT:
        return (
            f"locust was short of a core: it computed {busiest.computing:.0%} of the run and waited for a core "
            f"{busiest.waiting_for_core:.0%}. Read the times as upper bounds; load from another machine is cleaner."
        )
    return None
