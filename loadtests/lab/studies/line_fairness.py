"""How long buyers wait, and how fairly, where the line is a process's or the host's:
``python -m loadtests.lab.studies.line_fairness``.

The same sale is held under ``LASTSEAT_LINE=process`` and under ``LASTSEAT_LINE=host``, in pairs in the order A B B A,
each on a fresh office: every buyer buys one ticket after the other, none reads and none cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from loadtests.lab.bench.paired import abba
from loadtests.lab.exit_status import run_command
from loadtests.lab.experiment.measurement import Measures, measure
from loadtests.lab.experiment.run_options import experiment_of
from loadtests.lab.history.shards import HISTORY
from loadtests.lab.studies.held_sale import ENDLESS, held_sale

FIGURES: dict[str, Callable[[Measures], float | None]] = {
    "sold a second": lambda found: found.sold_per_s,
    "p50 ms": lambda found: found.p50_ms,
    "p99 ms": lambda found: found.p99_ms,
    "p99.9 / p50": lambda found: found.fairness.p999_over_p50,
    "overtaken, median": lambda found: found.fairness.overtaken_p50,
    "overtaken, at most": lambda found: found.fairness.overtaken_max,
}


class LineFigures(msgspec.Struct):
    """The figures of one line, a value of each sale."""

    store: str
    processes: int
    line: str
    figures: dict[str, list[float]]


def held(store: str, processes: int, line: str, seconds: float) -> dict[str, float]:
    """The figures of one sale."""
    chosen: dict[str, Any] = {
        "worker": "sync", "processes": processes, "store": store, "line": line, "buyers": 64, "capacity": ENDLESS,
        "limit": seconds, "max_quantity": 1, "read_share": 0.0, "cancel_share": 0.0,
    }  # fmt: skip
    experiment = experiment_of({}, chosen)
    with held_sale(experiment.service, experiment.workload) as (folder, _):
        found = measure(folder / HISTORY)
    return {name: of(found) or 0.0 for name, of in FIGURES.items()}


@click.command()
@click.option("--pairs", default=3, show_default=True, type=click.IntRange(1, 100), help="Pairs of sales.")
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(1), help="How long a sale lasts.")
@click.option("--store", "stores", multiple=True, default=("journal", "sqlite"), show_default=True)
@click.option("--processes", "shapes", multiple=True, default=(4, 16), show_default=True, type=click.IntRange(2, 1000))
@click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output.")
def line_fairness(pairs: int, seconds: float, stores: tuple[str, ...], shapes: tuple[int, ...], as_json: bool) -> None:
    """Waits and fairness of 64 buyers under sync workers, with each process's line and with the host's."""
    rows: list[LineFigures] = []
    for store, processes in ((store, processes) for store in stores for processes in shapes):
        sides = {side: LineFigures(store, processes, line, {}) for side, line in (("A", "process"), ("B", "host"))}
        for side in (side for order in abba(pairs) for side in order):
            for name, value in held(store, processes, sides[side].line, seconds).items():
                sides[side].figures.setdefault(name, []).append(value)
        rows += sides.values()
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    table = Table("store", "workers", "line", *FIGURES, box=None)
    for row in rows:
        shown = [f"{median(values):,.3g} [{min(values):,.3g}, {max(values):,.3g}]" for values in row.figures.values()]
        table.add_row(row.store, f"sync × {row.processes}", row.line, *shown)
    Console(highlight=False, width=160).print(table)


if __name__ == "__main__":
    run_command(line_fairness)
