"""``lastseat bench``: sold tickets a second against the ceilings and the peers, in pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import TextColumn, TimeRemainingColumn

from loadtests.lab.bench.benchmark import BESIDE_PLAIN, PARTS, Bench, BenchSettings
from loadtests.lab.bench.cells import MEASURED
from loadtests.lab.bench.load_client import GeneratorFailed
from loadtests.lab.bench.page import BEGIN, END, PLAIN_BEGIN, PLAIN_END, write_page, write_plain_section, write_section
from loadtests.lab.bench.paired import NothingSold, Sampling
from loadtests.lab.bench.results import BenchResults
from loadtests.lab.bench.servers import WrongAnswer
from loadtests.lab.bench.tables import grids, machine_in_words, notes
from loadtests.lab.commands import options, output
from loadtests.lab.paths import as_text, new_results_folder
from loadtests.lab.report.progress import ProgressBar
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.office import NotReady
from loadtests.lab.servers.process import sigterm_as_interrupt
from workers import WORKER_MODELS

_FULL_CLIENTS, _QUICK_CLIENTS = (64, 1, 8, 512), (64,)


@click.command(
    epilog="""\b
Examples:
  lastseat bench --quick                             all cells in three minutes
  lastseat bench --worker gevent --store journal --clients 64
  lastseat bench --plain --quick                     beside plain programs, with the marks
  lastseat bench --only growth --json > growth.json
  lastseat bench --write docs/benchmarks.md          measure, and replace the results in that page

Exit status: 0 every server kept what its buyers were told, 1 one did not, 2 something could not be measured, 70 the
lab failed.
"""
)
@click.option("--quick", is_flag=True, help="Fewer and shorter windows, 64 clients: under three minutes.")
@click.option("--plain", is_flag=True, help="Beside the programs in examples/plain, and nothing else: with the marks.")
@options.only("worker", "workers", "this worker model")
@options.only("store", "stores", "this store", kind=click.Choice(list(MEASURED)))
@click.option("--only", "parts", multiple=True, type=click.Choice(PARTS), help="Only this part; repeatable.")
@options.option("--pairs", click.IntRange(1, 1000), "Pairs of windows for each cell.", note="10; with --quick 3")
@options.option("--seconds", click.FloatRange(0.05, 600), "Length of a window.", note="0.6; with --quick 0.25")
@options.option(
    "--clients",
    click.IntRange(1, 10_000),
    "Connections; repeatable.",
    note="64, 1, 8, 512; with --quick or --plain 64",
    multiple=True,
)
@options.option(
    "--growth", click.IntRange(1, 9_000_000), "Orders to grow an event to.", note="1000000; with --quick 10000"
)
@options.setting("seed", "Of the bootstrap.", default=1)
@options.results("Where results go; the stores are measured on its file system.")
@options.write("Replace the results in this Markdown page, between its markers.")
@options.as_json
def bench(
    *,
    quick: bool,
    plain: bool,
    workers: tuple[str, ...],
    stores: tuple[str, ...],
    parts: tuple[str, ...],
    pairs: int | None,
    seconds: float | None,
    clients: tuple[int, ...],
    growth: int | None,
    seed: int,
    results: str,
    page: Path | None,
    as_json: bool,
) -> int:
    """How many tickets of one hot event are sold a second, and what share of the possible that is.

    Each store, guard and worker model on a real gunicorn, window by window beside the same application with the
    decision stubbed. Every window is checked against what the store kept. Takes more than an hour; --quick, which
    leaves out the stores that need an engine, three minutes. --plain measures each store beside the program that people
    write on its engine: at most twenty minutes, with --quick a few.
    """
    if plain and parts:
        raise click.UsageError("--plain is a measurement of its own: leave out --only")
    output.refuse_page_without_place(page, *((PLAIN_BEGIN, PLAIN_END) if plain else (BEGIN, END)))
    settings = BenchSettings(
        workers=list(dict.fromkeys(workers)) or list(WORKER_MODELS),
        stores=list(dict.fromkeys(stores)) or [each for each in MEASURED if plain or not (quick and each in ENGINES)],
        clients=list(dict.fromkeys(clients)) or list(_QUICK_CLIENTS if quick or plain else _FULL_CLIENTS),
        parts=[BESIDE_PLAIN] if plain else [part for part in PARTS if part in parts] or list(PARTS),
        sampling=Sampling(pairs or (3 if quick else 10), seconds or (0.25 if quick else 0.6), seed),
        growth=growth or (10_000 if quick else 1_000_000),
        quick=quick,
    )
    folder = new_results_folder(results, "bench")
    screen = Console(stderr=True)
    running: Bench | None = None
    try:
        left = (TextColumn("left"), TimeRemainingColumn())
        with sigterm_as_interrupt(), ProgressBar(screen, after=left) as progress:
            running = Bench(settings, folder, progress)
            running.run()
    except (NotReady, GeneratorFailed, NothingSold, WrongAnswer) as error:
        raise click.ClickException(f"the lab failed: {error}") from error
    finally:
        if running is not None:
            _keep(folder, running.results, settings, screen)
    if page is not None:
        write = write_plain_section if plain else write_section
        write(page, running.results, when=output.now(), command=output.as_typed())
    if as_json:
        click.echo(msgspec.json.encode(_as_json(folder, running.results)))
    else:
        _say(running.results)
    return running.results.status


def _keep(folder: Path, found: BenchResults, settings: BenchSettings, screen: Console) -> None:
    """Write down what there is, also after an interruption."""
    command, when = output.as_typed(), output.now()
    about = {"command": command, "when": when, "settings": msgspec.to_builtins(settings)}
    content = msgspec.json.encode({**about, **_as_json(folder, found)})
    (folder / "experiment.json").write_bytes(msgspec.json.format(content, indent=2))
    write_page(folder / "report.html", found, when=when, command=command)
    output.say_report(screen, folder / "report.html")


def _say(found: BenchResults) -> None:
    out = output.standard()
    for grid in grids(found):
        output.say(out, f"\n{grid.title}", "bold")
        for table in grid.for_console(out):
            out.print(table)
    out.print()
    output.say_notes(out, notes(found))
    output.say(out, machine_in_words(found))


def _as_json(folder: Path, found: BenchResults) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(found, str_keys=True)
    return {**built, "report": as_text(folder / "report.html")}
