"""The parts of a durable purchase's time: ``python -m loadtests.lab.studies.cost_breakdown``.

First the way of a request: the CPU time of all workers for a stubbed purchase, of that of a bare Flask endpoint, pair
by pair. Then the journal's purchase with its parts removed one by one (``stubbed``), in pairs with the ceiling. The CPU
time of all workers for a sale is the cost of a part; the rate is its effect on the buyers.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import click

from loadtests.lab.bench.cells import BATCH, BenchCell, stubbed
from loadtests.lab.bench.load_client import LoadGenerator, Window
from loadtests.lab.bench.paired import SOLD, Measurer, Sampling, in_pairs, latency_ms, load_of, refuse_if_nothing_sold
from loadtests.lab.bench.servers import OfficeSubject, Subject, subject
from loadtests.lab.exit_status import run_command
from workers import WORKER_MODELS

CLIENTS = 64
REQUESTS = 2_000
"""In a window of part ``request``, which lasts as long as they take."""
REQUEST, EVERYTHING = "request", "everything"
PARTS = {
    "in_line": "stands in line, is decided by nobody, waits for nothing",
    "waiting": "the same, the leader sleeping 0.3 ms in the place of all that follows",
    "waiting_natively": "the same, in a native thread",
    "without_disk": "lock, view, decision, append; that sleep in the place of the fdatasync",
    EVERYTHING: "everything",
}


class PartSubject(OfficeSubject):
    """The journal with a part taken away; what it sells is kept only where it decides at all."""

    def __init__(self, worker: str, part: str, folder: Path) -> None:
        super().__init__(BenchCell(worker, "journal", "file", BATCH), folder)
        self.part = part
        if part != EVERYTHING:
            self.application = f"loadtests.lab.bench.applications.stubbed:{part}()"

    def kept(self, path: str) -> int | None:  # type: ignore[override]
        return super().kept(path) if self.part in (EVERYTHING, "without_disk") else None


def measure(workers: list[str], parts: list[str], sampling: Sampling, folder: Path) -> None:
    """Print a table for each worker model."""
    with LoadGenerator(folder) as generator:
        for worker in workers:
            with subject(stubbed(worker), folder / f"{worker}-ceiling") as ceiling:
                measurer = Measurer(generator, ceiling, sampling)
                click.echo(f"{ceiling.service.spelled}: CPU µs a sale, of the ceiling's · sold/s of the ceiling's")
                if REQUEST in parts:
                    with subject(BenchCell(worker, "bare", "-"), folder / f"{worker}-bare") as bare:
                        click.echo(f"  {_beside(bare, ceiling, generator, sampling)}")
                for part, words in PARTS.items():
                    if part not in parts or (part == "waiting_natively" and worker != "gevent"):
                        continue
                    with PartSubject(worker, part, folder / f"{worker}-{part}") as tested:
                        found = measurer.measure(tested, CLIENTS)
                    if found.problems:
                        raise click.ClickException(f"{words}: {found.problems[0]}")
                    low, high = found.ratio.low, found.ratio.high
                    click.echo(
                        f"  {found.cpu_us:5.0f} of {found.ceiling_cpu_us:3.0f} · {found.ratio.median:.2f} "
                        f"[{low:.2f}, {high:.2f}]  {words}"
                    )


def _beside(bare: Subject, ceiling: Subject, generator: LoadGenerator, sampling: Sampling) -> str:
    """The ceiling's CPU time of that of a bare Flask endpoint: medians over the pairs, with the least and the most.

    A window is ``REQUESTS`` and all that the workers did for them: one that is cut off by the clock has answers of work
    that was done before it, and the fewer the machine does in it the more that matters.
    """

    def window(of: Subject) -> Window:
        return generator.window(load_of(of, of.fresh(), CLIENTS, sampling, count=REQUESTS))

    pairs = in_pairs(sampling, lambda: window(bare), lambda: window(ceiling))
    refuse_if_nothing_sold(bare, pairs.other)
    refuse_if_nothing_sold(ceiling, pairs.tested)
    ratios = [_cpu_us(ours) / _cpu_us(other) for ours, other in zip(pairs.tested, pairs.other, strict=True)]
    cpu_us, p99_ms = (
        [statistics.median(map(figure, side)) for side in (pairs.tested, pairs.other)] for figure in (_cpu_us, _p99_ms)
    )
    return (
        f"the ceiling beside a bare Flask endpoint: CPU {cpu_us[0]:.0f} of {cpu_us[1]:.0f} µs a sale, "
        f"{statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f}); "
        f"p99 {p99_ms[0]:.1f} of {p99_ms[1]:.1f} ms"
    )


def _cpu_us(window: Window) -> float:
    return window.cpu_s / window.answers[SOLD] * 1e6


def _p99_ms(window: Window) -> float:
    return latency_ms([window], 0.99) or 0.0


@click.command(help=__doc__)
@click.option("--worker", "workers", multiple=True, type=click.Choice(list(WORKER_MODELS)), help="Only this one.")
@click.option("--part", "parts", multiple=True, type=click.Choice([REQUEST, *PARTS]), help="Only this one.")
@click.option("--pairs", type=click.IntRange(1, 1000), default=8, show_default=True, help="Of windows.")
@click.option("--seconds", type=click.FloatRange(0.05, 600), default=0.6, show_default=True, help="Of a window.")
def apart(workers: tuple[str, ...], parts: tuple[str, ...], pairs: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".apart-") as folder:
        sampling = Sampling(pairs, seconds)
        measure(list(workers) or list(WORKER_MODELS), list(parts) or [REQUEST, *PARTS], sampling, Path(folder))


if __name__ == "__main__":
    run_command(apart)
