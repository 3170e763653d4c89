"""The power of the verdict, or the rarest failure that is noticed: ``python -m loadtests.lab.studies.power``.

Guard ``leaky`` is guard ``file``, skipped with probability p. For each p, ``--runs`` default sales are held and judged
like any other. A p is *caught* if at least 95 of 100 runs are invalid. A p ends early only if it can no longer reach
that. No run is repeated.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.status import Status

from loadtests.lab.exit_status import run_command
from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.result import load_conclusion
from loadtests.lab.experiment.runner import hold_sale
from loadtests.lab.report.tables import plain_table
from loadtests.lab.servers.machine import describe
from loadtests.lab.servers.office import RunningOffice, Service
from service.catalogue import GUARDS
from workers import WORKER_MODELS

CAUGHT_SHARE = 0.95
LEAKY = next(name for name, guard in GUARDS.items() if guard.is_leaky)
PROBABILITIES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005)


class Power(msgspec.Struct):
    """The number of runs in which one probability was caught."""

    probability: float
    runs: int
    invalid: int
    undecided: int
    whole: bool
    """All runs were held. False if ``caught`` was out of reach before."""

    @property
    def caught(self) -> bool:
        return self.whole and self.invalid >= CAUGHT_SHARE * self.runs

    @property
    def words(self) -> str:
        return ("yes" if self.caught else "no") + ("" if self.whole else " (stopped: 95 % was out of reach)")


def try_probability(
    service: Service, workload: Workload, runs: int, on_run: Callable[[Power], None] = lambda _power: None
) -> Power:
    """Hold up to ``runs`` sales on one service, each with its own event, locust and verdict."""
    power = Power(service.leak, 0, 0, 0, whole=False)
    allowed_misses = int(runs * (1 - CAUGHT_SHARE) + 1e-9)
    with tempfile.TemporaryDirectory(prefix="lastseat-power-") as name:
        folder = Path(name)
        with RunningOffice(service, folder) as office:
            while power.runs < runs and power.runs - power.invalid <= allowed_misses:
                sale = folder / f"run-{power.runs}"
                sale.mkdir()
                hold_sale(workload, office, sale)
                verdict = load_conclusion(sale).verdict.verdict
                power.runs += 1
                power.invalid += verdict == "invalid"
                power.undecided += verdict == "unknown"
                on_run(power)
    power.whole = power.runs == runs
    return power


@click.command()
@click.option("--worker", type=click.Choice(list(WORKER_MODELS)), default="gthread", show_default=True)
@click.option("--runs", type=click.IntRange(1, 1000), default=100, show_default=True, help="Runs of each probability.")
@click.option("--think", "think_ms", type=click.FloatRange(0, 1000), default=5.0, show_default=True)
@click.option("--probability", "probabilities", type=click.FloatRange(0, 1), multiple=True, help="Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output.")
def power(worker: str, runs: int, think_ms: float, probabilities: tuple[float, ...], as_json: bool) -> None:
    """The smallest probability of skipping the guard that the default run catches in 95 of 100 runs.

    \b
    Examples:
      python -m loadtests.lab.studies.power                             the published figure; some twenty minutes
      python -m loadtests.lab.studies.power --runs 20 --probability 0.05
    """
    progress = Console(stderr=True)
    found: list[Power] = []
    began = time.monotonic()
    for probability in sorted(probabilities or PROBABILITIES, reverse=True):
        service = Service(worker=worker, guard=LEAKY, leak=probability, think_ms=think_ms)
        with progress.status(f"p = {probability:g}") as status:

            def show(now: Power, status: Status = status) -> None:
                status.update(f"p = {now.probability:g}: {now.invalid} of {now.runs} caught")

            found.append(try_probability(service, Workload(), runs, show))
        progress.print(f"p = {probability:g}: {found[-1].invalid} of {found[-1].runs} runs invalid")
        if not found[-1].caught:
            break
    smallest = min((each.probability for each in found if each.caught), default=None)
    if as_json:
        summary = {
            "worker": worker,
            "think_ms": think_ms,
            "powers": [{**msgspec.to_builtins(each), "caught": each.caught} for each in found],
            "smallest_caught": smallest,
            "machine": msgspec.to_builtins(describe(Path.cwd())),
        }
        click.echo(json.dumps(summary))
        return
    rows = ((f"{each.probability:g}", f"{each.runs}", f"{each.invalid}", each.words) for each in found)
    title = f"Guard file skipped with probability p, {worker}"
    console = Console()
    console.print(plain_table(("p", "runs", "invalid", "caught"), rows, title))
    console.print(f"smallest p that is caught: {smallest} ({time.monotonic() - began:.0f} s)")


if __name__ == "__main__":
    run_command(power)
