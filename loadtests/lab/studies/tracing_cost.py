"""What strace costs an office that runs under it from its start: ``python -m loadtests.lab.studies.tracing_cost``.

The faults ``power-cut``, ``torn-write`` and ``lying-disk`` need it, so a sale under them is slower than another one.
The same sale is held with and without, in pairs, so that a machine that becomes slow makes both slow.
"""

from __future__ import annotations

import statistics

import click
import msgspec

from loadtests.lab.exit_status import run_command
from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.measurement import measure
from loadtests.lab.faults.disk.tracing import prefix, why_not
from loadtests.lab.history.shards import HISTORY
from loadtests.lab.servers.office import Service
from loadtests.lab.studies.held_sale import held_sale
from service.catalogue import REFERENCE, STORES
from workers import WORKER_MODELS


def sold_per_s(service: Service, workload: Workload) -> float:
    """The rate of one sale on a fresh office."""
    with held_sale(service, workload) as (folder, _):
        return measure(folder / HISTORY).sold_per_s


@click.command()
@click.option("--store", default=REFERENCE[0], show_default=True, type=click.Choice([*STORES]))
@click.option("--worker", default="sync", show_default=True, type=click.Choice([*WORKER_MODELS]))
@click.option("--pairs", default=3, show_default=True, type=click.IntRange(1, 100), help="Pairs of sales.")
@click.option("--capacity", default=1000, show_default=True, type=click.IntRange(1, 1_000_000), help="Tickets a sale.")
def tracing_cost(store: str, worker: str, pairs: int, capacity: int) -> None:
    """Measure how many tickets a second an office sells under strace, and without."""
    if why := why_not():
        raise click.ClickException(why)
    workload = Workload(capacity=capacity, buyers=12, max_quantity=1)
    plain = Service(worker=worker, store=store, guard="on")
    traced = msgspec.structs.replace(plain, under=prefix())
    rates: list[tuple[float, float]] = []
    for _ in range(pairs):
        rates.append((sold_per_s(plain, workload), sold_per_s(traced, workload)))
        click.echo(f"{store}, {worker}: {rates[-1][0]:.0f}/s without strace, {rates[-1][1]:.0f}/s under it", err=True)
    share = statistics.median(under / without for without, under in rates)
    click.echo(f"{store}, {worker}: under strace {share:.0%} of what is sold without (median of {pairs} pairs)")


if __name__ == "__main__":
    run_command(tracing_cost)
