"""Work that keeps a core busy for a known time, and how much of it ran at the same moment."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

_BLOCK = b"\0" * (1 << 20)
_PIECE_STEPS = 8000
_CLOCK_ERROR = 0.05


class Piece(NamedTuple):
    """A piece of work: its start and end on the machine's monotonic clock, and the CPU time of its thread."""

    start_s: float
    end_s: float
    cpu_s: float


def compute(steps: int) -> list[Piece]:
    """Adds numbers up in Python's own bytecode, which needs the GIL all the while; returns the pieces."""
    pieces = []
    for first in range(0, steps, _PIECE_STEPS):
        start_s, cpu_s = time.monotonic(), time.thread_time()
        total = 0
        for number in range(first, min(first + _PIECE_STEPS, steps)):
            total += number
        cpu_s = time.thread_time() - cpu_s
        pieces.append(Piece(start_s, time.monotonic(), cpu_s))
    return pieces


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """The largest number of spans that overlap at one moment."""
    inside = most = 0
    # At the same moment an end comes before a start.
    for _, step in sorted(mark for start, end in spans for mark in ((start, 1), (end, -1))):
        inside += step
        most = max(most, inside)
    return most


def computing_at_once(pieces: Iterable[Piece]) -> int:
    """The largest number of pieces that were certainly on a core at the same moment, whatever else ran here.

    A piece is certain if its thread was on a core from beginning to end: it waited neither for the GIL nor for a core.
    Two certain pieces count as overlapping if they overlap by more than the clocks' error. A busy machine makes fewer
    pieces certain; it never adds one.
    """
    certain = []
    for start_s, end_s, cpu_s in pieces:
        lasted_s = end_s - start_s
        if cpu_s > (1 - _CLOCK_ERROR) * lasted_s:
            certain.append((start_s + 2 * _CLOCK_ERROR * lasted_s, end_s - 2 * _CLOCK_ERROR * lasted_s))
    return most_at_once(certain)


def digest(blocks: int) -> None:
    """Hashes this number of megabytes, in C code that gives the GIL back while it computes."""
    checksum = hashlib.sha256()
    for _ in range(blocks):
        checksum.update(_BLOCK)


def amount_for(work: Callable[[int], object], lasts_ms: float) -> int:
    """The amount of ``work`` that takes about ``lasts_ms`` here, on a core of its own; at least 1."""
    amount = 1
    while (took_s := _took_s(work, amount)) < 0.002:
        amount *= 2
    took_s = min(took_s, *(_took_s(work, amount) for _ in range(4)))
    return max(1, round(amount * lasts_ms / 1e3 / took_s))


def _took_s(work: Callable[[int], object], amount: int) -> float:
    began = time.perf_counter()
    work(amount)
    return time.perf_counter() - began


def gil_enabled() -> bool:
    """True if this interpreter runs only one thread's bytecode at a time."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def usable_cores() -> int:
    """The cores that this process may use: its affinity, and a container's share of time, rounded down."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8", errors="replace").split()
        cores = min(cores, int(int(quota) / int(period)))  # "max" is no number: no limit
    return max(1, cores)
