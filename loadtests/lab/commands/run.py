"""``lastseat run``: one experiment as data. Starts the service, loads it, judges what the buyers saw, reports."""

from __future__ import annotations

import contextlib
import itertools
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from loadtests.lab.checks.verdict import EXIT_STATUS
from loadtests.lab.commands import options, output
from loadtests.lab.commands.output import say
from loadtests.lab.commands.places import WRITTEN_FILE
from loadtests.lab.experiment.knobs import SERVICE, WORKLOAD, WORKLOADS
from loadtests.lab.experiment.minimization import fewest
from loadtests.lab.experiment.result import Conclusion, load_conclusion
from loadtests.lab.experiment.runner import LabFailed, Result, SettingsRefused
from loadtests.lab.experiment.runner import run as run_experiment
from loadtests.lab.experiment.thresholds import EXIT_MISSED, Threshold, missed, read_threshold
from loadtests.lab.faults.happened import read as read_faults
from loadtests.lab.faults.schedule import Injection, read_injections, written
from loadtests.lab.history.operations import read_operations
from loadtests.lab.history.shards import HISTORY
from loadtests.lab.paths import as_text, new_results_folder, shown
from loadtests.lab.report.junit import junit as junit_xml
from loadtests.lab.report.junit import markdown as as_markdown
from loadtests.lab.report.progress import RunProgress
from loadtests.lab.report.run_report import REPORT
from loadtests.lab.report.tables import VERDICT_COLOURS
from loadtests.lab.report.text import found, headline, numbers
from loadtests.lab.servers.process import sigterm_as_interrupt
from loadtests.lab.studies.held_payment import paid
from loadtests.lab.target.masking import without_secrets
from loadtests.lab.untrusted import printable


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, path_type=Path))
@options.all_settings()
@click.option("--minimize", is_flag=True, help="Where faults broke the sale: run it again with fewer, to find which.")
@click.option("--i-own-this-host", is_flag=True, help="Load a target that is not on this machine; it is yours.")
@options.results()
@click.option(
    "--fail-if",
    "thresholds",
    type=options.Parsed("condition", read_threshold),
    multiple=True,
    metavar="CONDITION",
    help="Exit status 3 where the run is valid and this holds, like 'p99 > 500ms' or 'errors > 1%'; repeatable.",
)
@click.option("--junit", type=WRITTEN_FILE, help="Write the checks and the thresholds as JUnit's XML.")
@click.option("--markdown", type=WRITTEN_FILE, help="Add the verdict in Markdown to this file, as a job's summary.")
@options.as_json
def run(
    *,
    file: Path | None,
    minimize: bool,
    i_own_this_host: bool,
    results: str,
    thresholds: tuple[Threshold, ...],
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """One experiment: a service, its buyers, the verdict on what they saw, and a report.

    FILE has settings: a TOML file (names as the options, `read_share = 0.5`), or the experiment.json of any results
    folder, which is then run again. Options win over the file.

    Exit status: 0 valid (no violation was found), 1 invalid, 2 unknown, 3 valid and a threshold was missed, 64 wrong
    usage, 70 the lab itself failed.

    \b
    Examples:
      lastseat run --guard none --think 5               the race, and what it costs
      lastseat run --nodes 3 --store postgres           three gunicorns on one engine: docs/scale-out.md
      lastseat run --nodes 3 --rate 50 --capacity 500 --fault kill-node
      lastseat run --worker gthread --rate 200          arrivals at 200 a second, whatever the answers
      lastseat run --workload mixed --time-outs 0.01    holds, payments, carts, buyers who hang up and ask again
      lastseat run --workload mixed --fault kill-worker  the same while workers are killed
      lastseat run --fault starve@20%,kill-worker@40%   two faults, each at its share of the sale: docs/faults.md
      lastseat run --fault kill-worker --fault-every 2s  again and again
      lastseat run --faults 5 --seed 7 --minimize       five at random; and if they break it, which are enough
      lastseat run --workload seats --guard none        everybody wants the best seats: docs/doors.md
      lastseat run --workload seats --taste spread --hall theatre
      lastseat run --workload rush --buyers 200         everybody waits for the door to open
      lastseat run --workload pay-inside                a lock held over a payment; pay-after-hold is the cure
      lastseat run sale.toml --buyers 100               as the file says, with more buyers
      lastseat run results/run/latest/experiment.json   the same again
      lastseat run --target examples/corner_shop.toml   a service that is not ours: docs/judge-your-own.md
      lastseat run --fail-if "p99 > 500ms" --junit lastseat.xml    in a pipeline: docs/ci.md
    """
    experiment = options.experiment_asked_for(file, settings, is_own_host=i_own_this_host)
    screen = Console(stderr=True)
    folder = new_results_folder(results, "run")
    try:
        with sigterm_as_interrupt(), RunProgress(screen, 1) as progress:
            result = progress.run(experiment, folder, is_own_host=i_own_this_host)
    except SettingsRefused as error:
        raise click.UsageError(f"the service refused to start: {error}") from error
    except LabFailed as error:
        raise click.ClickException(f"the lab failed: {error}") from error
    except KeyboardInterrupt:
        _say_what_is_kept(folder, screen)
        raise
    enough = _fewest_faults(result, screen, is_own_host=i_own_this_host) if minimize and result.rounds_wrong else None
    failed = missed(thresholds, read_operations(result.folder / HISTORY)) if thresholds else []
    if junit is not None:
        junit.write_bytes(junit_xml(result.conclusion, [each.text for each in thresholds], failed))
    if markdown is not None:
        with markdown.open("a", encoding="utf-8") as summary:
            summary.write(as_markdown(result.conclusion, failed))
    if as_json:
        click.echo(msgspec.json.encode(_as_json(result) | {"missed": failed, "enough": enough}))
    else:
        out = Console(highlight=False)
        _say(result, out)
        if enough is not None:
            say(out, f"enough to break it: --fault {enough}" if enough else "it breaks without any fault")
        for each in failed:
            say(out, f"threshold missed: {each}", "bold red")
    status = EXIT_STATUS[result.verdict.verdict]
    return EXIT_MISSED if failed and not status else status


def _fewest_faults(result: Result, screen: Console, *, is_own_host: bool) -> str:
    """The fewest of the injected faults with which the sale went wrong again, as ``--fault`` takes them."""
    runs = itertools.count(1)

    def breaks(injections: list[Injection]) -> bool:
        again = msgspec.structs.replace(result.experiment, fault=written(injections))
        say(screen, f"again with {again.fault or 'no fault'}")
        try:
            tried = run_experiment(again, result.folder / f"fewer-{next(runs)}", is_own_host=is_own_host)
        except LabFailed as error:
            say(screen, str(error))
            return False
        return bool(tried.rounds_wrong)

    with sigterm_as_interrupt():
        return written(fewest(read_injections(result.experiment.fault), breaks))


def _say(result: Result, out: Console) -> None:
    """The verdict first, then the numbers, then where the rest is."""
    verdict, measures = result.verdict, result.measures
    _say_verdict(result.conclusion, out)
    latency = "–" if measures.p50_ms is None else f"p50 {measures.p50_ms:,.0f} ms, p99 {measures.p99_ms:,.0f} ms"
    since = "from the intended start" if result.experiment.workload.rate else "as the buyers waited"
    say(
        out,
        f"sold {measures.sold_per_s:,.0f}/s · refused {measures.refused_per_s:,.0f}/s · "
        f"503s {measures.unavailable:,} · a purchase took {latency} ({since})",
    )
    fair = measures.fairness
    if fair.overtaken_max is not None:
        say(
            out,
            f"fairness: overtaken by {fair.overtaken_p50:,} later buyers (median), {fair.overtaken_max:,} at most · "
            f"p99.9 of a purchase {fair.p999_over_p50 or 0:,.1f} times its p50",
        )
    if WORKLOADS[result.experiment.workload.kind].pays:
        say(out, f"payments: {paid(read_operations(result.folder / HISTORY)).words}")
    for arrived in result.conclusion.arrivals:
        say(
            out,
            f"arrivals: {arrived.started:,} sent of {arrived.due:,} due at {arrived.rate:g}/s · at most "
            f"{arrived.most_in_flight:,} in flight of {arrived.bound:,} · started late by {arrived.lag_p99_ms:,.1f} ms "
            f"(p99), {arrived.lag_max_ms:,.1f} ms at most · {arrived.waited_at_bound:,} waited in line",
        )
    _say_faults(result, out)
    if result.growth is not None:
        say(out, result.growth.words)
    for line in [*result.conclusion.answered.lines, *found(verdict)]:
        say(out, printable(f"- {line}"))
    output.say_warnings(out, result.conclusion.notes)
    out.print()
    output.say_report(out, result.folder / REPORT)
    again = f"{output.how_to_start('lastseat')} run {shlex.quote(shown(result.folder / 'experiment.json'))}"
    say(out, f"again:  {again}")
    if result.experiment.target is not None and (secrets := without_secrets(result.experiment.target)[1]):
        say(out, f"        with the secrets that the record leaves out in the environment: {', '.join(secrets)}")


def _say_faults(result: Result, out: Console) -> None:
    """Each fault and its recovery; of one that came again and again the first time, and how often."""
    happened = read_faults(result.folder)
    for name, times in Counter(each.name for each in happened).items():
        first = next(each for each in happened if each.name == name)
        lasted_s, more = (first.end_ns - first.begin_ns) / 1e9, f", and {times - 1} times more" if times > 1 else ""
        say(out, f"fault {name}: {printable(first.text)} ({lasted_s:,.1f} s){more}")
        if recovery := next((each for each in result.measures.recovery if each.name == name), None):
            say(out, f"recovery from {name}: {recovery.words}")


def _say_verdict(conclusion: Conclusion, out: Console) -> None:
    verdict = conclusion.verdict
    say(out, printable(headline(verdict)), f"bold {VERDICT_COLOURS[verdict.verdict]}")
    weaker = next((each for each in verdict.why.split("; ") if each.startswith("tier ")), "")
    said = [*(f"{name} {value}" for name, value in numbers(verdict)), weaker or f"tier {verdict.tier}"]
    say(out, " · ".join(said))


def _say_what_is_kept(folder: Path, screen: Console) -> None:
    """After Ctrl-C: the sale that was cut short is judged as it stands."""
    with contextlib.suppress(FileNotFoundError):
        say(screen, "\ncut short; judged as it stands:")
        _say_verdict(load_conclusion(folder), screen)
    say(screen, f"what was recorded is kept in {shown(folder)}")


def _as_json(result: Result) -> dict[str, Any]:
    verdict, experiment = result.verdict, result.experiment
    return output.figures(result) | {
        "tier": verdict.tier,
        "why": verdict.why,
        "operations": verdict.operations,
        "answered": msgspec.to_builtins(result.conclusion.answered),
        "checks": msgspec.to_builtins(verdict.checks),
        "fairness": msgspec.to_builtins(result.measures.fairness),
        "arrivals": msgspec.to_builtins(result.conclusion.arrivals),
        "faults": msgspec.to_builtins(read_faults(result.folder)),
        "recovery": msgspec.to_builtins(result.measures.recovery),
        "growth": msgspec.to_builtins(result.growth),
        "notes": result.conclusion.notes,
        SERVICE: None if experiment.target else msgspec.to_builtins(experiment.service.shown),
        WORKLOAD: msgspec.to_builtins(experiment.workload),
        "target": experiment.target and experiment.service.spelled,
        "report": as_text(result.folder / REPORT),
    }
