"""The parts of a durable purchase's time: ``python -m loadtests.lab.studies.cost_breakdown``.

The journal's purchase is measured with its parts removed one by one (``stubbed``), in pairs with the ceiling, at 64
clients. The CPU time of all workers for a sale is the cost of a part; the rate is its effect on the buyers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from loadtests.lab.bench.cells import BATCH, BenchCell, stubbed
from loadtests.lab.bench.load_client import LoadGenerator
from loadtests.lab.bench.paired import Measurer, Sampling
from loadtests.lab.bench.servers import OfficeSubject, subject
from loadtests.lab.exit_status import run_command
from workers import WORKER_MODELS

CLIENTS = 64
PARTS = {
    "in_line": "stands in line, is decided by nobody, waits for nothing",
    "waiting": "the same, the leader sleeping 0.3 ms in the place of all that follows",
    "waiting_natively": "the same, in a native thread",
    "without_disk": "lock, view, decision, append; that sleep in the place of the fdatasync",
    "": "everything",
}


class PartSubject(OfficeSubject):
    """The journal with a part taken away; what it sells is kept only where it decides at all."""

    def __init__(self, worker: str, part: str, folder: Path) -> None:
        super().__init__(BenchCell(worker, "journal", "file", BATCH), folder)
        self.part = part
        if part:
            self.application = f"loadtests.lab.bench.applications.stubbed:{part}()"

    def kept(self, path: str) -> int | None:  # type: ignore[override]
        return super().kept(path) if self.part in ("", "without_disk") else None


def measure(workers: list[str], sampling: Sampling, folder: Path) -> None:
    """Print a table for each worker model."""
    with LoadGenerator(folder) as generator:
        for worker in workers:
            with subject(stubbed(worker), folder / f"{worker}-ceiling") as ceiling:
                measurer = Measurer(generator, ceiling, sampling)
                click.echo(f"{ceiling.service.spelled}: CPU µs a sale, of the ceiling's · sold/s of the ceiling's")
                for part, words in PARTS.items():
                    if part == "waiting_natively" and worker != "gevent":
                        continue
                    with PartSubject(worker, part, folder / f"{worker}-{part or 'everything'}") as tested:
                        found = measurer.measure(tested, CLIENTS)
                    if found.problems:
                        raise click.ClickException(f"{words}: {found.problems[0]}")
                    low, high = found.ratio.low, found.ratio.high
                    click.echo(
                        f"  {found.cpu_us:5.0f} of {found.ceiling_cpu_us:3.0f} · {found.ratio.median:.2f} "
                        f"[{low:.2f}, {high:.2f}]  {words}"
                    )


@click.command(help=__doc__)
@click.option("--worker", "workers", multiple=True, type=click.Choice(list(WORKER_MODELS)), help="Only this one.")
@click.option("--pairs", type=click.IntRange(1, 1000), default=8, show_default=True, help="Of windows.")
@click.option("--seconds", type=click.FloatRange(0.05, 600), default=0.6, show_default=True, help="Of a window.")
def apart(workers: tuple[str, ...], pairs: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".apart-") as folder:
        measure(list(workers) or list(WORKER_MODELS), Sampling(pairs, seconds), Path(folder))


if __name__ == "__main__":
    run_command(apart)
