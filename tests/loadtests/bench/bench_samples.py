"""Results of a benchmark that nobody ran."""

from __future__ import annotations

from typing import Any

from loadtests.lab.bench.growth import Grown
from loadtests.lab.bench.load_client import Window
from loadtests.lab.bench.paired import Interval, MeasuredCell
from loadtests.lab.bench.plain import BesidePlain
from loadtests.lab.bench.results import BenchResults
from loadtests.lab.bench.scaling import Law, Scaled, Scaling
from loadtests.lab.bench.targets import speed_targets
from loadtests.lab.history.generator_load import GeneratorLoad
from loadtests.lab.servers.machine import Machine

MACHINE = Machine("Linux 6", "a processor", 2, 8.0, "3.11", {"flask": "3"}, "ext4", 170.0)
IDLE = GeneratorLoad(computing=0.1, waiting_for_core=0.0)


def measured(**given: Any) -> MeasuredCell:
    """A cell with plausible figures; ``given`` replaces them."""
    ratios = given.pop("ratios", [0.9, 0.91, 0.92])
    plausible: dict[str, Any] = {
        "worker": "gevent",
        "store": "journal",
        "guard": "file",
        "batch": 256,
        "program": "journal + file, batch 256",
        "clients": 64,
        "processes": 2,
        "threads": 1,
        "durable": True,
        "sold_per_s": 2700.0,
        "ceiling_per_s": 3000.0,
        "ratio": Interval(ratios[1], ratios[0], ratios[2]),
        "ratios": ratios,
        "p50_ms": 20.0,
        "p99_ms": 40.0,
        "p999_ms": 50.0,
        "cpu_us": 450.0,
        "ceiling_cpu_us": 400.0,
        "generator_cpu": 0.2,
        "generator_saturated": False,
        "start_s": 0.4,
    }
    return MeasuredCell(**(plausible | given))


def beside(**given: Any) -> BesidePlain:
    """A cell with plausible figures beside a plain program; ``given`` replaces them."""
    plausible: dict[str, Any] = {
        "worker": "sync",
        "store": "json",
        "guard": "file",
        "batch": 1,
        "program": "json + file beside plain file_lock",
        "clients": 64,
        "processes": 4,
        "threads": 1,
        "sold_per_s": 900.0,
        "ratio": Interval(0.9, 0.85, 0.95),
        "ratios": [0.85, 0.9, 0.95],
        "p99_ms": 40.0,
        "cpu_us": 500.0,
        "generator_cpu": 0.2,
        "generator_saturated": False,
        "plain": "file_lock",
        "plain_per_s": 1000.0,
        "plain_p99_ms": 300.0,
        "plain_cpu_us": 700.0,
        "plain_other_answers": {},
        "null": Interval(1.0, 0.98, 1.02),
        "of_cpu": Interval(1.4, 1.3, 1.5),
    }
    return BesidePlain(**(plausible | given))


def grown(store: str, orders: int, **given: Any) -> Grown:
    """An event that has grown."""
    plausible: dict[str, Any] = {
        "worker": "gevent",
        "guard": "file",
        "batch": 256,
        "processes": 2,
        "sold_per_s": 2600.0,
        "fresh_per_s": 2650.0,
        "ratio": Interval(0.98, 0.96, 1.0),
        "memory_mb": 30.0,
    }
    return Grown(store=store, orders=orders, **(plausible | given))


def window(**given: Any) -> Window:
    """A second in which something was answered."""
    return Window(**({"seconds": 1.0, "answers": {}, "told": {}, "busy": IDLE} | given))


def results() -> BenchResults:
    """One of everything."""
    cells = [
        measured(),
        measured(store="sqlite", guard="immediate", program="sqlite + immediate, batch 256", ratios=[0.2, 0.3, 0.4]),
    ]
    growth = [grown("journal", orders) for orders in (0, 1000)]
    scaling = Scaling(
        worker="sync", store="journal", guard="file", batch=256, clients=64, best_workers=9.5,
        law=Law(500.0, 0.1, 0.01),
        rows=[Scaled(workers=n, sold_per_s=400.0 * n, limit_per_s=4000.0, held_ms=0.25) for n in (1, 2, 4)],
    )  # fmt: skip
    found = BenchResults(machine=MACHINE, load_before=0.1, cells=cells, growth=growth, scaling=[scaling])
    found.targets = speed_targets(found.cells, found.growth, seed=1)
    return found
