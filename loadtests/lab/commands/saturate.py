"""``lastseat saturate``: the rate of arrivals at which a service sells no more than before."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
from rich.console import Console
from rich.table import Table

from loadtests.lab.checks.verdict import EXIT_STATUS, Validity, worst
from loadtests.lab.commands import options
from loadtests.lab.commands.output import say, say_warnings
from loadtests.lab.experiment.runner import Experiment, LabFailed, Result, SettingsRefused
from loadtests.lab.paths import as_text, new_results_folder, shown
from loadtests.lab.report.progress import RunProgress
from loadtests.lab.report.text import thousands
from loadtests.lab.servers.process import sigterm_as_interrupt

KEEPS_UP = 0.9
"""A service keeps up with a rate of which it sells at least this share."""
_SPARE = 1_000
_NOT_HERE = {
    "rate",
    "stages",
    "buyers",
    "limit",
    "rounds",
    "max_quantity",
    "capacity",
    "read_share",
    "cancel_share",
    "fault",
}


class TriedRate(NamedTuple):
    """One rate that was tried."""

    rate: float
    sold_per_s: float
    result: Result

    @property
    def keeps_up(self) -> bool:
        return self.sold_per_s >= KEEPS_UP * self.rate


def search(measure: Callable[[float], TriedRate], start: float, most: float, halvings: int) -> list[TriedRate]:
    """Double the rate until the service does not keep up, then halve what lies between, on a logarithmic scale.

    Returns every step in the order in which it was tried.
    """
    steps = [measure(start)]
    while steps[-1].keeps_up and steps[-1].rate < most:
        steps.append(measure(min(2 * steps[-1].rate, most)))
    for _ in range(halvings):
        good, bad = limits_of(steps)
        if good is None or bad is None:
            break
        steps.append(measure(round(math.sqrt(good * bad), 1)))
    return steps


def limits_of(steps: list[TriedRate]) -> tuple[float | None, float | None]:
    """The highest rate that is kept up, and the lowest above it that is not; None where there is none."""
    good = max((step.rate for step in steps if step.keeps_up), default=None)
    bad = min((step.rate for step in steps if not step.keeps_up and step.rate > (good or 0)), default=None)
    return good, bad


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, path_type=Path))
@options.all_settings(without=_NOT_HERE)
@click.option("--from", "start", default=50.0, show_default=True, type=click.FloatRange(1), help="The first rate, /s.")
@click.option(
    "--to", "most", default=20_000.0, show_default=True, type=click.FloatRange(1), help="The highest rate, /s."
)
@click.option(
    "--step", "step_ns", default="5s", show_default=True, type=options.DURATION, help="How long each rate lasts."
)
@click.option(
    "--halvings", default=3, show_default=True, type=click.IntRange(0, 20), help="How fine the last rates are."
)
@click.option("--i-own-this-host", is_flag=True, help="Load a target that is not on this machine; it is yours.")
@options.results()
@options.as_json
def saturate(
    *, file: Path | None, start: float, most: float, step_ns: int, halvings: int, i_own_this_host: bool, results: str,
    as_json: bool, **settings: Any,
) -> int:  # fmt: skip
    """Find the rate of arrivals at which goodput stops growing: purchases sold a second, each of one ticket.

    Arrivals come whether or not answers do (an open loop), so that a service that stalls is not asked less. The rate
    doubles until less than 90 % of it is sold, then the gap is halved. Every step is a run of its own with a fresh
    service, and is judged.

    Exit status: that of the worst verdict, 0 valid, 1 invalid, 2 unknown; 64 wrong usage, 70 the lab itself failed.

    \b
    Examples:
      lastseat saturate --worker gthread --store journal
      lastseat saturate --target shop.toml --from 10 --step 10s
      lastseat saturate --step 2s --halvings 1 --json
    """
    settings |= {"max_quantity": 1, "read_share": 0.0, "cancel_share": 0.0}
    experiment = options.experiment_asked_for(file, settings, is_own_host=i_own_this_host)
    expected = 1 + max(0, math.ceil(math.log2(most / start))) + halvings
    screen, folder = Console(stderr=True), new_results_folder(results, "saturate")
    try:
        with sigterm_as_interrupt(), RunProgress(screen, expected) as progress:

            def measure(rate: float) -> TriedRate:
                tried = _at(experiment, rate, step_ns / 1e9)
                result = progress.run(tried, folder / f"{rate:g}", is_own_host=i_own_this_host)
                return TriedRate(rate, result.measures.sold_per_s, result)

            steps = search(measure, start, most, halvings)
    except SettingsRefused as error:
        raise click.UsageError(f"the service refused to start: {error}") from error
    except LabFailed as error:
        raise click.ClickException(f"the lab failed: {error}") from error
    steps.sort(key=lambda step: step.rate)
    if as_json:
        click.echo(msgspec.json.encode(_as_json(steps, folder)))
    else:
        _say(steps, folder)
    return EXIT_STATUS[_worst(steps)]


def _at(experiment: Experiment, rate: float, lasts_s: float) -> Experiment:
    """The experiment at one rate, with more tickets than there are arrivals where the service can be told."""
    enough = int(2 * rate * lasts_s) + _SPARE
    told = experiment.target is None or experiment.target.obeys_capacity
    capacity = enough if told else experiment.workload.capacity
    workload = msgspec.structs.replace(experiment.workload, rate=rate, limit_s=lasts_s, rounds=1, capacity=capacity)
    return msgspec.structs.replace(experiment, workload=workload, variant=f"{rate:g}")


def _worst(steps: list[TriedRate]) -> Validity:
    return worst(step.result.verdict.verdict for step in steps)


def _words(steps: list[TriedRate]) -> str:
    good, bad = limits_of(steps)
    most = max(step.sold_per_s for step in steps)
    if good is None:
        return f"It keeps up with no rate that was tried; it sold at most {most:,.0f}/s. Begin lower: --from."
    if bad is None:
        return f"It keeps up with every rate that was tried, up to {good:,.0f}/s. Go on: --to."
    return f"Goodput stops growing between {good:,.0f} and {bad:,.0f} arrivals a second; it sold at most {most:,.0f}/s."


def _say(steps: list[TriedRate], folder: Path) -> None:
    out = Console(highlight=False)
    table = Table("arrivals/s", "sold/s", "p50 ms", "p99 ms", "unavailable", "verdict", box=None)
    for step in steps:
        measures = step.result.measures
        latencies = thousands(measures.p50_ms), thousands(measures.p99_ms)
        table.add_row(
            f"{step.rate:,.0f}", f"{step.sold_per_s:,.0f}", *latencies, f"{measures.unavailable:,}",
            step.result.verdict.verdict,
        )  # fmt: skip
    out.print(table)
    say(out, _words(steps))
    say_warnings(out, (note for step in steps for note in step.result.conclusion.notes))
    say(out, f"\nreports: {shown(folder)}")


def _as_json(steps: list[TriedRate], folder: Path) -> dict[str, Any]:
    return {
        "verdict": _worst(steps),
        "words": _words(steps),
        "steps": [
            {
                "rate": step.rate, "sold_per_s": step.sold_per_s, "keeps_up": step.keeps_up,
                "p50_ms": step.result.measures.p50_ms, "p99_ms": step.result.measures.p99_ms,
                "unavailable": step.result.measures.unavailable, "verdict": step.result.verdict.verdict,
                "answered": msgspec.to_builtins(step.result.conclusion.answered),
                "folder": as_text(step.result.folder),
            }
            for step in steps
        ],
        "folder": as_text(folder),
    }  # fmt: skip
