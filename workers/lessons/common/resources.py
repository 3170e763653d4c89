"""The CPU time and the memory of processes, by psutil and the kernel's own account."""

from __future__ import annotations

import contextlib
import resource

import psutil


def process_tree(pid: int) -> list[psutil.Process]:
    """A process and all that descend from it; empty if it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    return []


def tree_cpu_s(pid: int) -> float:
    """Seconds of CPU that a process and its living descendants have used. A process that ends meanwhile counts 0."""
    total = 0.0
    for process in process_tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:2])
    return total


def own_cpu_s() -> float:
    """Seconds of CPU that this process and its ended children have used; finer than psutil's hundredths."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def private_bytes(pid: int | None = None) -> int:
    """Memory that only this process uses; all its memory where the system does not tell the difference."""
    process = psutil.Process(pid)
    try:
        return int(process.memory_full_info().uss)
    except (psutil.AccessDenied, AttributeError):
        return int(process.memory_info().rss)
