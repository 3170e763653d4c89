"""What processes use, by the kernel's account: CPU time, memory. Linux; elsewhere nothing is known."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Iterable[int]) -> float:
    """Seconds of CPU that the processes used so far, in user space and in the kernel; those that are gone count 0."""
    return sum(_cpu_ticks(pid) for pid in pids) / _TICKS


def memory_mb(pid: int) -> float | None:
    """The memory that is this process's own, pages that it shares counted in part (PSS), in 10^6 bytes."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return None


def children(pid: int) -> list[int]:
    """The processes whose parent this one is: gunicorn's workers, of its master."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(_after_the_name(entry)[1]) == pid:
                found.append(int(entry.parent.name))
    return sorted(found)


def _cpu_ticks(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = _after_the_name(Path(f"/proc/{pid}/stat"))
        return int(fields[11]) + int(fields[12])
    return 0


def _after_the_name(stat: Path) -> list[str]:
    """The fields from the state on: the name before them stands in brackets and may contain anything."""
    return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
