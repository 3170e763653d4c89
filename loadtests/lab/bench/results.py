"""The results of a benchmark: the figures so far, the cells that are missing, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadtests.lab.bench.growth import Grown
from loadtests.lab.bench.paired import MeasuredCell
from loadtests.lab.bench.plain import BesidePlain
from loadtests.lab.bench.scaling import Scaling
from loadtests.lab.bench.targets import SpeedTarget
from loadtests.lab.bench.without_http import WithoutHttp
from loadtests.lab.servers.machine import Machine


class NotMeasured(msgspec.Struct, frozen=True):
    """A cell that was asked for and not measured, and why. ``failed``: it should have been."""

    part: str
    worker: str
    store: str
    guard: str
    batch: int
    why: str
    failed: bool


class GeneratorItself(msgspec.Struct, frozen=True):
    """The load generator against a server that does nothing."""

    requests_per_s: float
    cpu_us: float
    """The generator's CPU time for a request."""


class BenchResults(msgspec.Struct, kw_only=True):
    """Everything that was measured so far."""

    cells: list[MeasuredCell] = []
    ceilings: list[MeasuredCell] = []
    """The stubbed application against itself (the null pair), and a bare Flask endpoint against it."""
    growth: list[Grown] = []
    scaling: list[Scaling] = []
    in_process: list[WithoutHttp] = []
    missing: list[NotMeasured] = []
    beside_plain: list[BesidePlain] = []
    targets: list[SpeedTarget] = msgspec.field(name="marks", default_factory=list)
    generator: GeneratorItself | None = None
    machine: Machine
    load_before: float
    """The system's load average of the last minute when the benchmark began: others' work."""

    @property
    def problems(self) -> list[str]:
        """Every server that kept something else than its buyers were told, with the numbers."""
        named = [
            (f"{each.worker}, {each.program}, {each.clients} clients", each.problems)
            for each in [*self.cells, *self.ceilings]
        ]
        named += [
            (f"{each.worker} × {each.processes}, {each.program}, {each.clients} clients", each.problems)
            for each in self.beside_plain
        ]
        named += [(f"{row.store} after {row.orders:,} orders", row.problems) for row in self.growth]
        named += [
            (f"{scaling.store}, {scaling.worker} × {row.workers}", row.problems)
            for scaling in self.scaling
            for row in scaling.rows
        ]
        return [f"{what}: {problem}" for what, problems in named for problem in problems]

    @property
    def status(self) -> int:
        """0: everything kept what was told; 1: something did not; 2: something could not be measured."""
        if self.problems:
            return 1
        found = self.cells or self.ceilings or self.beside_plain or self.growth or self.scaling or self.in_process
        return 2 if any(each.failed for each in self.missing) or not found else 0


def not_available(missing: Sequence[NotMeasured]) -> list[str]:
    """A line for each reason, with everything that it concerns."""
    reasons: dict[str, list[str]] = {}
    for each in missing:
        what = f"{each.store} + {each.guard}" if each.worker == "-" else f"{each.worker} {each.store} + {each.guard}"
        reasons.setdefault(each.why, []).append(what)
    return [f"{', '.join(dict.fromkeys(names))}: {why}" for why, names in reasons.items()]
