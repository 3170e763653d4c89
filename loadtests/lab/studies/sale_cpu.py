"""Whose CPU time a sale takes: ``python -m loadtests.lab.studies.sale_cpu``.

Of the workers, of the combiner and of the engine, each apart, in user space and in the kernel; beside that of a bare
Flask endpoint and of a purchase whose decision is stubbed. ``--beside`` names another checkout of this project, whose
office is measured too. All servers run at the same time, and their windows follow each other, in the next round in the
opposite order: so what one costs of another is told within a round, on a machine that others use too. A window is a
number of purchases and all that was done for them.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec
import psutil

from loadtests.lab.bench.cells import MEASURED, BenchCell, largest_batches, stubbed
from loadtests.lab.bench.load_client import LoadGenerator
from loadtests.lab.bench.paired import SOLD, Sampling, abba, disagreement, load_of, mean_batch
from loadtests.lab.bench.servers import OfficeSubject, Subject, subject
from loadtests.lab.exit_status import run_command
from loadtests.lab.servers.resources import children_of
from workers import WORKER_MODELS

CLIENTS = 64
_COMBINER = "service.sales.host_line.combiner"
_BESIDE = "of the other checkout"


class Used(msgspec.Struct):
    """CPU microseconds."""

    user: float = 0.0
    kernel: float = 0.0

    @property
    def sum(self) -> float:
        return self.user + self.kernel


class SaleCpu(msgspec.Struct):
    """The CPU time that a sale took, in one window."""

    workers: Used
    combiner: Used
    engine: Used
    batch: float
    """Purchases that a transaction decided on average; 0 where no answer tells."""
    sold_per_s: float

    @property
    def office(self) -> float:
        """Of the office's processes, without the engine's."""
        return self.workers.sum + self.combiner.sum


class OfCheckout(OfficeSubject):
    """The office of another checkout."""

    code = Path()

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"PYTHONPATH": os.fspath(self.code)}


def used(of: Subject) -> dict[str, Used]:
    """The CPU time that the processes of a server have used so far."""
    found = {"workers": Used(), "combiner": Used(), "engine": Used()}
    for each in children_of(of.pid, recursive=True):
        with contextlib.suppress(psutil.Error):
            _add(found["combiner" if _COMBINER in each.cmdline() else "workers"], each)
    if of.has_own_engine and of.cell.is_office:
        for each in [psutil.Process(of.engine.pid), *children_of(of.engine.pid, recursive=True)]:
            with contextlib.suppress(psutil.Error):
                _add(found["engine"], each)
    return found


def _add(to: Used, process: psutil.Process) -> None:
    """The kernel tells nanoseconds for all of it, and hundredths of a second for how it is divided."""
    ran_ns, times = 0, process.cpu_times()
    for thread in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):
            ran_ns += int(thread.read_text(encoding="ascii").split()[0])
    in_kernel = times.system / ((times.user + times.system) or 1.0)
    to.kernel += ran_ns / 1e3 * in_kernel
    to.user += ran_ns / 1e3 * (1 - in_kernel)


def window(of: Subject, generator: LoadGenerator, count: int) -> SaleCpu:
    """Raises ``ClickException`` where what was kept is not what the buyers were told."""
    path = of.fresh()
    before = used(of)
    measured = generator.window(load_of(of, path, CLIENTS, Sampling(1, 1.0), count=count, batches=of.cell.is_office))
    after = used(of)
    sold = measured.told.get(SOLD, 0)
    problem = disagreement(measured, of.kept(path)) or ("" if sold else f"nothing was sold, but {measured.told}")
    if problem:
        raise click.ClickException(f"{problem}; the log is {of.log}")
    for name, then in before.items():
        after[name].user = (after[name].user - then.user) / sold
        after[name].kernel = (after[name].kernel - then.kernel) / sold
    batch = mean_batch(Counter(measured.batch_sizes)) or 0.0
    return SaleCpu(after["workers"], after["combiner"], after["engine"], batch, measured.per_s(SOLD))


def _spread(values: list[float], form: str = ",.0f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def show(what: str, windows: list[SaleCpu], beside: list[SaleCpu] | None) -> str:
    """A row: medians over the windows, with the least and the most; and the ratio to ``beside``, round by round."""
    cells = [what, _spread([each.office for each in windows])]
    for part in ("workers", "combiner", "engine"):
        of_part: list[Used] = [getattr(each, part) for each in windows]
        halves = [statistics.median(getattr(each, half) for each in of_part) for half in ("user", "kernel")]
        cells.append(f"{halves[0]:,.0f} + {halves[1]:,.0f}" if sum(halves) else "–")
    batch = statistics.median(each.batch for each in windows)
    cells.append(f"{batch:.1f}" if batch else "–")
    cells.append(f"{statistics.median(each.sold_per_s for each in windows):,.0f}")
    if beside:
        ratios = [mine.office / other.office for mine, other in zip(windows, beside, strict=True)]
        cells.append(_spread(ratios, ".3f"))
    return f"| {' | '.join(cells)} |"


def measure(
    cells: list[BenchCell], generator: LoadGenerator, folder: Path, *, rounds: int, count: int, other: Path | None
) -> None:
    """Print a row for each cell, and for that of the ``other`` checkout. Errors: as of ``window``."""
    with contextlib.ExitStack() as running:
        subjects = {cell.spelled: running.enter_context(subject(cell, folder / cell.name)) for cell in cells}
        for cell in cells:
            if other is not None and cell.is_office:
                theirs = OfCheckout(cell, folder / f"{cell.name}-other")
                theirs.code = other
                subjects[f"{cell.spelled}, {_BESIDE}"] = running.enter_context(theirs)
        for each in subjects.values():
            window(each, generator, count)  # the first purchases of a process take longer
        found: dict[str, list[SaleCpu]] = {name: [] for name in subjects}
        for name in (name for order in abba(rounds, list(subjects)) for name in order):
            found[name].append(window(subjects[name], generator, count))
    for name, windows in found.items():
        click.echo(show(name, windows, found.get(f"{name}, {_BESIDE}")))


@click.command(help=__doc__)
@click.option("--worker", default="sync", type=click.Choice(list(WORKER_MODELS)), show_default=True)
@click.option("--processes", type=click.IntRange(1, 1000), help="By default the model's.")
@click.option("--store", "stores", multiple=True, type=click.Choice(list(MEASURED)), help="Only this one.")
@click.option(
    "--beside", "other", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Another checkout."
)
@click.option("--rounds", default=8, type=click.IntRange(1, 1000), show_default=True)
@click.option("--count", default=1500, type=click.IntRange(1), show_default=True, help="Purchases in a window.")
def sale_cpu(worker: str, processes: int | None, stores: tuple[str, ...], **wanted: Any) -> None:
    ceilings = [BenchCell(worker, "bare", "-"), stubbed(worker)]
    more = "" if wanted["other"] is None else " × the other's |"
    click.echo(f"| µs a sale | all | workers | combiner | engine | batch | sold/s |{more}")
    click.echo("| --- | --: | --: | --: | --: | --: | --: |" + (" --: |" if more else ""))
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".sale-cpu-") as folder,
        LoadGenerator(Path(folder)) as generator,
    ):
        for cell in largest_batches(worker, list(stores) or list(MEASURED)):
            some = [msgspec.structs.replace(each, processes=processes) for each in [*ceilings, cell]]
            measure(some, generator, Path(folder), **wanted)
            ceilings = []


if __name__ == "__main__":
    run_command(sale_cpu)
