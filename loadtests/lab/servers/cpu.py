"""The CPU time that an office and its engine have used, by the kernel's account. Linux; elsewhere nothing is known."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import psutil

from loadtests.lab.servers.process import running_in_group
from loadtests.lab.servers.usage import cpu_s


class Cpu(msgspec.Struct, frozen=True):
    """Seconds of all processes together; None where it is not known, or there is none."""

    office_s: float | None = None
    engine_s: float | None = None

    def since(self, before: Cpu) -> Cpu:
        """What was used between two readings."""
        return Cpu(_difference(self.office_s, before.office_s), _difference(self.engine_s, before.engine_s))


def used(group: int, engine: int | None) -> Cpu:
    """So far, by the processes of a group that run now, and by an engine's process and its children."""
    if not Path("/proc/self/stat").exists():
        return Cpu()
    return Cpu(cpu_s(running_in_group(group)), None if engine is None else cpu_s([engine, *_children(engine)]))


def _children(pid: int) -> list[int]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _difference(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else max(0.0, after - before)
