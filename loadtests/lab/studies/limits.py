"""Two costs that limit a durable purchase: ``python -m loadtests.lab.studies.limits [DIRECTORY]``.

1. An fdatasync of a file that grows also commits the file system's own journal, because the size changed. An fdatasync
   of a file that is overwritten does not.
2. A purchase in a loop finds its code in the processor's caches. In a worker it comes after a whole HTTP request and
   often after another process. This study imitates that by touching other memory before each purchase.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from loadtests.lab.bench.applications.in_process import CAPACITY
from loadtests.lab.exit_status import run_command
from service.app import create_app
from service.sales.box_office import BoxOffice
from service.settings import Settings

_LINE = b"x" * 180
_SYNCS = 1_000
_PURCHASES = 1_000
_ROUNDS = 5


def sync_cost(directory: Path, *, grows: bool) -> tuple[float, float]:
    """Microseconds and CPU microseconds for one write of 180 bytes with its fdatasync."""
    with tempfile.TemporaryFile(dir=directory) as file:
        if not grows:
            file.write(b"\n" * (len(_LINE) * _SYNCS))
            file.flush()
            os.fsync(file.fileno())
        began, cpu = time.perf_counter(), time.process_time()
        for number in range(_SYNCS):
            os.pwrite(file.fileno(), _LINE, number * len(_LINE))
            os.fdatasync(file.fileno())
        return (time.perf_counter() - began) / _SYNCS * 1e6, (time.process_time() - cpu) / _SYNCS * 1e6


def purchase_cost(directory: Path, touched_bytes: int) -> float:
    """CPU microseconds of one purchase, each after touching ``touched_bytes`` of other memory."""
    with tempfile.TemporaryDirectory(dir=directory) as data:
        settings = Settings(data=Path(data), store="journal", first_event=("show", CAPACITY))
        office: BoxOffice = create_app(settings).extensions["office"]
        others = np.zeros(touched_bytes // 8)
        spent = 0.0
        for number in range(_PURCHASES):
            others += 1
            began = time.thread_time()
            office.buy("show", key=f"k{number}", request="r", quantity=1, buyer=None)
            spent += time.thread_time() - began
    return spent / _PURCHASES * 1e6


def _median(measure: Callable[[], float]) -> str:
    values = [measure() for _ in range(_ROUNDS)]
    return f"{statistics.median(values):6.0f} ({min(values):.0f} to {max(values):.0f})"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".")
def limits(directory: Path) -> None:
    """Print both tables, medians of five."""
    print(f"µs for 180 bytes and their fdatasync, in {directory}: time, CPU")
    for grows in (True, False):
        print(
            f"  the file {'grows          ' if grows else 'is written over'}",
            _median(lambda grows=grows: sync_cost(directory, grows=grows)[0]),  # type: ignore[misc]
            _median(lambda grows=grows: sync_cost(directory, grows=grows)[1]),  # type: ignore[misc]
        )
    print("CPU µs of a purchase within one process, by the amount of other memory touched before")
    for touched in (8 * 1024, 1 << 20, 4 << 20, 32 << 20):
        print(f"  {touched // 1024:6} KiB", _median(lambda touched=touched: purchase_cost(directory, touched)))  # type: ignore[misc]


if __name__ == "__main__":
    run_command(limits)
