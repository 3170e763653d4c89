"""Goodput against offered load, with a bounded queue and without: ``python -m loadtests.lab.studies.overload``.

*Goodput* counts the sales that were answered in time: within the deadline after the buyer's arrival. Arrivals follow a
schedule that does not depend on the service (the open loop), from half of its capacity to ten times that. In an office
that admits every buyer, the queue grows without end under overload: soon every buyer in it has waited longer than the
deadline, the office works for buyers who have left, and sells nothing in time. With bounds most buyers are refused at
once, and the others are served as before.

The office of the experiment is slow because of its delay between reading and writing, not because of its disk: one
process, guard ``thread``, store ``memory`` by default. So its capacity is 1 / delay, and the queue decides the result.

Each point has an office of its own, loaded for a while. Only arrivals of the second half count, when the queue has
reached its steady state or its growth.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from rich.console import Console

from loadtests.lab.exit_status import run_command
from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.measurement import quantile
from loadtests.lab.experiment.result import load_conclusion
from loadtests.lab.history.arrays import ABSENT, Floats
from loadtests.lab.history.history import BUY, OK, READ
from loadtests.lab.history.operations import Operations
from loadtests.lab.report.svg.chart import Curve, Frame, below, curves, limit, linear, picture, tick, upwards
from loadtests.lab.report.tables import plain_table
from loadtests.lab.servers.machine import describe
from loadtests.lab.servers.office import Service
from loadtests.lab.studies.held_sale import ENDLESS, held_sale
from workers import WORKER_MODELS

TIMES = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_READ_SHARE = 0.1


class Point(msgspec.Struct):
    """The result of one offered load. Percentiles are by nearest rank, and None without values."""

    times: float
    """The offered load as a multiple of the capacity."""
    offered_per_s: float
    goodput_per_s: float
    sold_per_s: float
    """All sales, in time or not."""
    refused_per_s: float
    """Buyers who were answered 503, at once or later."""
    sold_p99_ms: float | None
    read_p99_ms: float | None
    verdict: str


def point_of(run: Operations, times: float, seconds: float, deadline_ms: float, verdict: str) -> Point:
    """The figures of the second half of a run that lasted ``seconds``."""
    half = seconds / 2
    due = run.intended_ns != ABSENT
    began_ns = min(run.intended_ns[due].tolist(), default=0)
    some = due & (run.intended_ns - began_ns >= half * 1e9)
    bought, ok = some & (run.op == BUY), run.outcome == OK
    sold_ms = run.latency_ms[bought & ok]
    return Point(
        times=times,
        offered_per_s=round(int(bought.sum()) / half, 1),
        goodput_per_s=round(int((sold_ms <= deadline_ms).sum()) / half, 1),
        sold_per_s=round(len(sold_ms) / half, 1),
        refused_per_s=round(int((run.status[bought] == 503).sum()) / half, 1),
        sold_p99_ms=_p99(sold_ms),
        read_p99_ms=_p99(run.latency_ms[some & ok & (run.op == READ)]),
        verdict=verdict,
    )


def _p99(values: Floats) -> float | None:
    p99 = quantile(values, 0.99)
    return None if p99 is None else round(p99, 1)


def measure_point(service: Service, rate: float, times: float, seconds: float, deadline_ms: float) -> Point:
    """Load a new office with ``rate`` purchases a second, and some reads, for ``seconds``."""
    workload = Workload(
        capacity=ENDLESS, max_quantity=1, read_share=_READ_SHARE, cancel_share=0.0, retries=0,
        rate=rate / (1 - _READ_SHARE), most_in_flight=10_000, limit_s=seconds,
    )  # fmt: skip
    with held_sale(service, workload) as (folder, run):
        return point_of(run, times, seconds, deadline_ms, load_conclusion(folder).verdict.verdict)


def find_capacity(service: Service, seconds: float) -> float:
    """Sales a second to buyers who keep the office busy, each waiting for their answer."""
    workload = Workload(capacity=ENDLESS, buyers=16, max_quantity=1, read_share=0, cancel_share=0, limit_s=seconds)
    with held_sale(service, workload) as (_, run):
        returns = run.return_ns[(run.outcome == OK) & run.returned]
    return len(returns) / (np.ptp(returns) / 1e9) if len(returns) > 1 else 0.0


def overload_plot(without: list[Point], bounded: list[Point], *, capacity: float, deadline_ms: float) -> str:
    """Both goodputs over the offered load."""
    last = max(point.times for point in [*without, *bounded])
    most = max([capacity, *(point.goodput_per_s for point in [*without, *bounded])])
    at = Frame(most * 1.15, linear(last))
    body = [*upwards(at, f"sold within {deadline_ms:g} ms, a second")]
    for times in (1, 2, 3, 5, 10):
        if times <= last:
            body += tick(at, times, f"{times} ×")
    body.append(below(at, "offered, as a multiple of what can be served"))
    body += limit(at, capacity, "what can be served")
    some: list[Curve] = [
        ("with bounds", "right", [(each.times, each.goodput_per_s) for each in bounded], "dots"),
        ("everybody let in", "wrong", [(each.times, each.goodput_per_s) for each in without], "dots"),
    ]
    body += curves(at, some)
    about = "Goodput by offered load: with bounds for the buyers inside and in the queue, and with everybody let in."
    return picture(body, title="Goodput under overload", about=about, name="overload")


@click.command()
@click.option("--worker", type=click.Choice(list(WORKER_MODELS)), default="gevent", show_default=True)
@click.option("--store", default="memory", show_default=True)
@click.option("--guard", default="thread", show_default=True)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True)
@click.option("--think", "think_ms", type=click.FloatRange(0, 1000), default=20.0, show_default=True)
@click.option("--inside", type=click.IntRange(1), default=4, show_default=True, help="LASTSEAT_INSIDE of the bounds.")
@click.option("--queue", type=click.IntRange(0), default=8, show_default=True, help="LASTSEAT_QUEUE of the bounds.")
@click.option("--deadline", "deadline_ms", type=click.FloatRange(1), default=1000.0, show_default=True, help="ms.")
@click.option(
    "--seconds", type=click.FloatRange(2), default=12.0, show_default=True, help="How long each point is loaded."
)
@click.option("--times", "all_times", type=click.FloatRange(0.1, 100), multiple=True, help="Repeatable.")
@click.option("--picture", "to", type=click.Path(dir_okay=False, path_type=Path), help="Write the plot there.")
@click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output.")
def overload(
    *, worker: str, store: str, guard: str, processes: int, think_ms: float, inside: int, queue: int,
    deadline_ms: float, seconds: float, all_times: tuple[float, ...], to: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Goodput of the office under half to ten times the load that it can serve, with bounds and without.

    \b
    Examples:
      python -m loadtests.lab.studies.overload                       some five minutes
      python -m loadtests.lab.studies.overload --times 1 --times 10 --seconds 6
    """
    progress = Console(stderr=True)
    open_house = Service(
        worker=worker, store=store, guard=guard, processes=processes, think_ms=think_ms, inside=0, allow_unsafe=True
    )
    bounded = msgspec.structs.replace(open_house, inside=inside, queue=queue)
    capacity = find_capacity(open_house, min(seconds, 8.0))
    progress.print(f"it can serve {capacity:.0f} purchases a second")
    found: dict[str, list[Point]] = {"everybody let in": [], "with bounds": []}
    for times in sorted(all_times or TIMES):
        for name, service in zip(found, (open_house, bounded), strict=True):
            point = measure_point(service, times * capacity, times, seconds, deadline_ms)
            found[name].append(point)
            progress.print(f"{times:g} ×, {name}: {point.goodput_per_s:g}/s in time, {point.verdict}")
    if to is not None:
        to.write_text(overload_plot(*found.values(), capacity=capacity, deadline_ms=deadline_ms), encoding="utf-8")
    if as_json:
        click.echo(msgspec.json.encode(_summary(capacity, deadline_ms, open_house, bounded, found)))
        return
    _say(Console(), capacity, deadline_ms, found)


def _say(console: Console, capacity: float, deadline_ms: float, found: dict[str, list[Point]]) -> None:
    columns = ("offered", "", f"in time ({deadline_ms:g} ms)", "sold", "503", "p99 sold", "p99 read", "verdict")
    rows = (
        (
            f"{point.times:g} × · {point.offered_per_s:,.0f}/s", name, f"{point.goodput_per_s:,.0f}/s",
            f"{point.sold_per_s:,.0f}/s", f"{point.refused_per_s:,.0f}/s", _ms(point.sold_p99_ms),
            _ms(point.read_p99_ms), point.verdict,
        )
        for points in zip(*found.values(), strict=True)
        for name, point in zip(found, points, strict=True)
    )  # fmt: skip
    console.print(plain_table(columns, rows))
    console.print(f"It can serve {capacity:,.0f} purchases a second.")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms"


def _summary(capacity: float, deadline_ms: float, open_house: Service, bounded: Service, found: Any) -> dict[str, Any]:
    return {
        "capacity_per_s": round(capacity, 1),
        "deadline_ms": deadline_ms,
        "service": msgspec.to_builtins(open_house),
        "inside": bounded.inside,
        "queue": bounded.queue,
        "points": msgspec.to_builtins(found),
        "machine": msgspec.to_builtins(describe(Path.cwd())),
    }


if __name__ == "__main__":
    run_command(overload)
