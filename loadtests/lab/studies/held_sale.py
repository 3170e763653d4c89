"""One sale on an office of its own, for the studies that measure with real buyers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import hold_sale
from loadtests.lab.history.operations import Operations, read_operations
from loadtests.lab.history.shards import HISTORY
from loadtests.lab.servers.office import RunningOffice, Service

ENDLESS = 1_000_000
"""A capacity that no study sells out."""


@contextmanager
def held_sale(service: Service, workload: Workload) -> Iterator[tuple[Path, Operations]]:
    """Hold one sale. Gives its results folder, which is removed after the block, and the operations of its history."""
    with tempfile.TemporaryDirectory(prefix="lastseat-study-") as name:
        folder = Path(name)
        with RunningOffice(service, folder) as office:
            hold_sale(workload, office, folder)
        yield folder, read_operations(folder / HISTORY)
