"""One sale on an office of its own, and the lines of its history, for the studies that measure with real buyers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import hold_sale
from loadtests.lab.history.shards import HISTORY
from loadtests.lab.servers.office import RunningOffice, Service

ENDLESS = 1_000_000
"""A capacity that no study sells out."""


class SaleLine(msgspec.Struct):
    """The fields of one operation of a history that the studies need."""

    op: str
    outcome: str
    return_ns: int | None
    hold_ms: float | None = None
    invoke_ns: int = 0
    intended_ns: int | None = None
    status: int | None = None

    @property
    def took_ms(self) -> float | None:
        """From the buyer's arrival to the answer; None without an answer."""
        began = self.invoke_ns if self.intended_ns is None else self.intended_ns
        return None if self.return_ns is None else (self.return_ns - began) / 1e6


def read_lines(history: Path) -> list[SaleLine]:
    """The lines of a ``history.jsonl``."""
    return msgspec.json.Decoder(SaleLine).decode_lines(history.read_bytes())


@contextmanager
def held_sale(service: Service, workload: Workload) -> Iterator[tuple[Path, list[SaleLine]]]:
    """Hold one sale. Gives its results folder, which is removed after the block, and the lines of its history."""
    with tempfile.TemporaryDirectory(prefix="lastseat-study-") as name:
        folder = Path(name)
        with RunningOffice(service, folder) as office:
            hold_sale(workload, office, folder)
        yield folder, read_lines(folder / HISTORY)
