"""The customers of one locust process, and the part of the history that they write.

Each locust process with users has a crew: it opens a file of its own in the run's folder, knows how many customers
have left, and when the run ends closes the file and leaves a note beside it. The note is the sign that the part is
whole; whoever puts the parts together waits for it.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.history.arrivals import Arrived
from loadtests.lab.history.generator_load import BusyMeter
from loadtests.lab.history.recorder import Recorder
from loadtests.lab.history.shards import PartNote, RunNotice
from loadtests.lab.load.client import Sale
from loadtests.lab.paths import new_results_folder
from loadtests.lab.protocol.adapter import Adapter
from loadtests.lab.protocol.carts import NO_CARTS
from loadtests.lab.protocol.office import OfficeAdapter
from loadtests.lab.target.adapter import Run, TargetAdapter
from loadtests.lab.target.file import read_target

PROCESSES_PER_CREW = 1_000_000
CREWS_PER_ROUND = 64


def manners_of(options: Any, notice: RunNotice, crew: int) -> Adapter:
    """How the service is to be asked: as the target file says, else by the contract."""
    if not options.target:
        return OfficeAdapter()
    run = Run(mark=notice.mark, values=notice.values, capacity=int(options.capacity), crew=crew)
    return TargetAdapter(read_target(Path(options.target)), run)


class ShardWriter:
    """The users of this locust process during one run."""

    def __init__(self, notice: RunNotice, index: int, options: Any) -> None:
        self.elsewhere: Path | None = None
        parts, host = notice.parts, None
        if not parts.is_dir():
            # The master's folder is not on this machine: the part stays here, its times are of another clock.
            self.elsewhere = new_results_folder(options.results, "buy-part")
            parts, host = self.elsewhere, platform.node()
        self._part = parts / f"{index}.jsonl"
        self._recorder = Recorder(self._part, host)
        self._meter = BusyMeter()
        self._closed = False
        self._manners = manners_of(options, notice, index)
        self.arrived: list[Arrived] = []
        self.sale = Sale(
            notice.events,
            self._recorder,
            first_process=(notice.round * CREWS_PER_ROUND + index) * PROCESSES_PER_CREW,
            seed=int(options.seed),
            retries=int(options.retries),
            time_outs=float(options.time_outs),
            opens_at=notice.opens_at,
            manners=self._manners,
        )

    def locust_warned(self) -> None:
        """Locust found this process computing more than 90 % of ten seconds."""
        self._meter.locust_warned = True

    def close(self) -> None:
        """To be called when the users have stopped: the part is whole now. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._recorder.close()
        notes = self._manners.notes() + ([] if self.sale.sells_carts else [NO_CARTS])
        note = PartNote(self._recorder.operations, self._meter.read(), self.arrived, notes)
        half = self._part.with_suffix(".half")
        half.write_bytes(msgspec.json.encode(note))
        half.replace(self._part.with_suffix(".note"))
