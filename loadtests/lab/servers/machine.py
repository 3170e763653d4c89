"""What a result was measured on: processor, memory, versions, and how long a synced write to the disk takes."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
import psutil

_SYNCS = 20
_PACKAGES = ("gunicorn", "gevent", "locust", "filelock", "flask")


class Machine(msgspec.Struct, frozen=True):
    """What a run was measured on. ``fdatasync_us`` is the median of twenty, where the data was kept."""

    system: str
    processor: str
    cores: int
    memory_gb: float
    python: str
    packages: dict[str, str]
    file_system: str
    fdatasync_us: float

    @property
    def in_words(self) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gb:g} GB, {self.system}, Python {self.python}, "
            f"{packages}; {self.file_system}, one append with fdatasync {self.fdatasync_us:,.0f} µs."
        )


def describe(folder: Path) -> Machine:
    return Machine(
        system=f"{platform.system()} {platform.release()}",
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        file_system=_file_system(folder),
        fdatasync_us=_fdatasync_us(folder),
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _file_system(folder: Path) -> str:
    """The type of the mount that ``folder`` is on: the longest mount point above it, of equal ones the last."""
    above = [each for each in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(each.mountpoint)]
    above.sort(key=lambda each: len(each.mountpoint))
    return above[-1].fstype if above else sys.platform


def _fdatasync_us(folder: Path) -> float:
    """The time of one small append and its fdatasync; macOS has only fsync, which promises less there."""
    sync = getattr(os, "fdatasync", os.fsync)
    probe = folder / ".fdatasync-probe"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        taken = []
        for _ in range(_SYNCS):
            began = time.perf_counter()
            os.write(descriptor, b"x" * 150)
            sync(descriptor)
            taken.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        probe.unlink()
    return round(statistics.median(taken) * 1e6, 1)
