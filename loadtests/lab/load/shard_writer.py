"""Writes one locust process's shard of the history.

Each locust process with users writes a file of its own in the run's folder. When the run ends it closes the file and
leaves a note beside it. The note is the sign that the shard is whole; the coordinator waits for it.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.history.arrivals import ArrivalStats
from loadtests.lab.history.generator_load import GeneratorMeter
from loadtests.lab.history.recorder import Recorder
from loadtests.lab.history.shards import RunNotice, ShardNote
from loadtests.lab.load.client import ClientContext
from loadtests.lab.paths import new_results_folder
from loadtests.lab.protocol.adapter import Adapter
from loadtests.lab.protocol.carts import NO_CARTS
from loadtests.lab.protocol.halls import Hall
from loadtests.lab.protocol.office import OfficeAdapter
from loadtests.lab.target.adapter import RunValues, TargetAdapter
from loadtests.lab.target.file import read_target

PROCESSES_PER_SHARD = 1_000_000
SHARDS_PER_ROUND = 64


def adapter_of(options: Any, notice: RunNotice, shard: int) -> Adapter:
    """The adapter that the target file describes, else the office's."""
    if not options.target:
        return OfficeAdapter()
    run = RunValues(mark=notice.mark, values=notice.values, capacity=int(options.capacity), shard=shard)
    return TargetAdapter(read_target(Path(options.target)), run)


class ShardWriter:
    """The users of this locust process during one run."""

    def __init__(self, notice: RunNotice, index: int, options: Any) -> None:
        self.elsewhere: Path | None = None
        shards, host = notice.shards, None
        if not shards.is_dir():
            # The master's folder is not on this machine: the shard stays here, its times are of another clock.
            self.elsewhere = new_results_folder(options.results, "buy-part")
            shards, host = self.elsewhere, platform.node()
        self._path = shards / f"{index}.jsonl"
        self._recorder = Recorder(self._path, host)
        self._meter = GeneratorMeter()
        self._closed = False
        self._adapter = adapter_of(options, notice, index)
        self.arrivals: list[ArrivalStats] = []
        self.context = ClientContext(
            notice.events,
            self._recorder,
            first_process=(notice.round * SHARDS_PER_ROUND + index) * PROCESSES_PER_SHARD,
            seed=int(options.seed),
            retries=int(options.retries),
            time_outs=float(options.time_outs),
            opens_at=notice.opens_at,
            adapter=self._adapter,
            hall=None if notice.hall is None else Hall.of(notice.hall),
        )

    def locust_warned(self) -> None:
        """Locust found this process computing more than 90 % of ten seconds."""
        self._meter.locust_warned = True

    def close(self) -> None:
        """To be called when the users have stopped: the shard is whole now. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._recorder.close()
        notes = self._adapter.notes() + ([] if self.context.sells_carts else [NO_CARTS])
        note = ShardNote(self._recorder.operations, self._meter.read(), self.arrivals, notes)
        half = self._path.with_suffix(".half")
        half.write_bytes(msgspec.json.encode(note))
        half.replace(self._path.with_suffix(".note"))
