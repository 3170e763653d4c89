"""``lastseat bench``: sold tickets a second against the ceilings and the peers, in pairs."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from loadtests.lab.bench.benchmark import PARTS, Bench, Settings
from loadtests.lab.bench.cells import STORES
from loadtests.lab.bench.load_client import GeneratorFailed
from loadtests.lab.bench.page import BEGIN, END, has_section, write_page, write_section
from loadtests.lab.bench.paired import NothingSold, Shape
from loadtests.lab.bench.progress import BenchProgress
from loadtests.lab.bench.results import Results
from loadtests.lab.bench.servers import WrongAnswer
from loadtests.lab.bench.tables import grids
from loadtests.lab.bench.words import machine_in_words, notes
from loadtests.lab.paths import as_text, new_results_folder, shown
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.office import NotReady
from loadtests.lab.servers.process import sigterm_as_interrupt
from workers import WORKER_MODELS

_WIDE_ENOUGH = 160
_FULL_CLIENTS, _QUICK_CLIENTS = (64, 1, 8, 512), (64,)


@click.command(
    epilog="""\b
Examples:
  lastseat bench --quick                             all cells in three minutes
  lastseat bench --worker gevent --store journal --clients 64
  lastseat bench --only growth --json > growth.json
  lastseat bench --write docs/benchmarks.md          measure, and replace the results in that page

Exit status: 0 every server kept what its buyers were told, 1 one did not, 2 something could not be measured, 70 the
lab failed.
"""
)
@click.option("--quick", is_flag=True, help="Fewer and shorter windows, 64 clients: under three minutes.")
@click.option(
    "--worker",
    "workers",
    multiple=True,
    type=click.Choice(list(WORKER_MODELS)),
    help="Only this worker model; repeatable.",
)
@click.option("--store", "stores", multiple=True, type=click.Choice(STORES), help="Only this store; repeatable.")
@click.option("--only", "parts", multiple=True, type=click.Choice(PARTS), help="Only this part; repeatable.")
@click.option(
    "--pairs", type=click.IntRange(1, 1000), help="Pairs of windows for each cell.  [default: 10; with --quick 3]"
)
@click.option(
    "--seconds", type=click.FloatRange(0.05, 600), help="Length of a window.  [default: 0.6; with --quick 0.25]"
)
@click.option(
    "--clients",
    multiple=True,
    type=click.IntRange(1, 10_000),
    help="Connections; repeatable.  [default: 64, 1, 8, 512; with --quick 64]",
)
@click.option(
    "--growth",
    type=click.IntRange(1, 9_000_000),
    help="Orders to grow an event to.  [default: 1000000; with --quick 10000]",
)
@click.option("--seed", default=1, show_default=True, help="Of the bootstrap.")
@click.option(
    "--results",
    default="results",
    show_default=True,
    type=click.Path(file_okay=False),
    help="Where results go; the stores are measured on its file system.",
)
@click.option(
    "--write",
    "page",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, writable=True),
    help="Replace the results in this Markdown page, between its markers.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output; progress on standard error.")
def bench(
    *,
    quick: bool,
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
    leaves out the stores that need an engine, three minutes.
    """
    if page is not None and not has_section(page):
        raise click.BadParameter(f"{page} has no place for results: it needs the lines {BEGIN} and {END}")
    settings = Settings(
        workers=list(dict.fromkeys(workers)) or list(WORKER_MODELS),
        stores=list(dict.fromkeys(stores)) or [each for each in STORES if not (quick and each in ENGINES)],
        clients=list(dict.fromkeys(clients)) or list(_QUICK_CLIENTS if quick else _FULL_CLIENTS),
        parts=[part for part in PARTS if part in parts] or list(PARTS),
        shape=Shape(pairs or (3 if quick else 10), seconds or (0.25 if quick else 0.6), seed),
        growth=growth or (10_000 if quick else 1_000_000),
        quick=quick,
    )
    folder = new_results_folder(results, "bench")
    screen = Console(stderr=True)
    running: Bench | None = None
    try:
        with sigterm_as_interrupt(), BenchProgress(screen) as progress:
            running = Bench(settings, folder, progress)
            running.run()
    except (NotReady, GeneratorFailed, NothingSold, WrongAnswer) as error:
        raise click.ClickException(f"the lab failed: {error}") from error
    finally:
        if running is not None:
            _keep(folder, running.results, settings, screen)
    if page is not None:
        write_section(page, running.results, when=_now(), command=_command())
    if as_json:
        click.echo(msgspec.json.encode(_as_json(folder, running.results)))
    else:
        say(running.results)
    return running.results.status


def _keep(folder: Path, found: Results, settings: Settings, screen: Console) -> None:
    """What there is, also after an interruption."""
    command, when = _command(), _now()
    about = {"command": command, "when": when, "settings": msgspec.to_builtins(settings)}
    content = msgspec.json.encode({**about, **_as_json(folder, found)})
    (folder / "experiment.json").write_bytes(msgspec.json.format(content, indent=2))
    write_page(folder / "report.html", found, when=when, command=command)
    screen.print(f"report: {escape(shown(folder / 'report.html'))}", highlight=False, soft_wrap=True)


def _command() -> str:
    return shlex.join(["lastseat", *map(as_text, sys.argv[1:])])


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M")


def say(found: Results) -> None:
    """What a person reads at the end."""
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = max(out.width, _WIDE_ENOUGH)
    for grid in grids(found):
        out.print(f"\n{grid.title}", style="bold", soft_wrap=True, markup=False)
        out.print(grid.rich())
    out.print()
    for note in notes(found):
        out.print(note, style="yellow" if note.startswith("!") else "", soft_wrap=True, markup=False)
    out.print(machine_in_words(found), soft_wrap=True, markup=False)


def _as_json(folder: Path, found: Results) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(found, str_keys=True)
    return {**built, "report": as_text(folder / "report.html")}
