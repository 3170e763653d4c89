"""``lastseat demo``: the same sale with the lock off and on, under each worker model, on real servers."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from loadtests.lab.experiment.expectation import Met
from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import Experiment, LabFailed, Result, run
from loadtests.lab.paths import BUY_LOCUSTFILE, as_text, new_results_folder, shown
from loadtests.lab.report.page import write_page
from loadtests.lab.report.picture import picture
from loadtests.lab.report.run_progress import DemoProgress
from loadtests.lab.report.run_report import write_run_report
from loadtests.lab.report.sentences import sentence, summary
from loadtests.lab.report.tables import cell_tables, matrix_table
from loadtests.lab.servers.machine import describe
from loadtests.lab.servers.office import Service
from loadtests.lab.servers.process import sigterm_as_interrupt
from loadtests.lab.untrusted import printable
from service.catalogue import GUARDS, OFF
from workers import WORKER_MODELS

_OF_ONE_PROCESS = next(name for name, guard in GUARDS.items() if guard.scope == "threads")
_WIDE_ENOUGH = 160
"""Columns where the output is no terminal: a file or a pipe need not wrap."""
_EXIT = {Met.YES: 0, Met.NO: 1, Met.UNDECIDED: 2}


@click.command(
    epilog="Exit status: 0 every guard did what it promises, 1 one did not, 2 undecided, 70 the lab failed.\n\n"
    "Examples: `lastseat demo --worker gevent --think 0`, `lastseat demo --full --json > full.json`."
)
@click.option("--full", is_flag=True, help="What each guard excludes: 24 cells instead of 6.")
@click.option(
    "--worker",
    "workers",
    multiple=True,
    type=click.Choice(list(WORKER_MODELS)),
    help="Only this worker model; repeatable.",
)
@click.option("--store", default="json", show_default=True, help="The service's store.")
@click.option(
    "--capacity", default=200, show_default=True, type=click.IntRange(1, 1_000_000), help="Tickets of a round."
)
@click.option("--buyers", default=32, show_default=True, type=click.IntRange(2, 1000), help="Buyers at the same time.")
@click.option("--rounds", type=click.IntRange(1, 1000), help="Sales in each cell.  [default: 3; with --full 1]")
@click.option(
    "--think",
    default=5.0,
    show_default=True,
    type=click.FloatRange(0, 60_000),
    help="Milliseconds between reading and writing (--full takes 0 and 5).",
)
@click.option("--seed", default=1, show_default=True, help="Decides what each buyer wishes for.")
@click.option(
    "--results", default="results", show_default=True, type=click.Path(file_okay=False), help="Where results go."
)
@click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output; progress on standard error.")
def demo(
    *,
    full: bool,
    workers: tuple[str, ...],
    store: str,
    capacity: int,
    buyers: int,
    rounds: int | None,
    think: float,
    seed: int,
    results: str,
    as_json: bool,
) -> int:
    """The proof: one sale, the lock off and on, under each gunicorn worker class.

    Starts a fresh gunicorn for each cell, holds some sales with real buyers (locust), judges each from the buyers'
    answers and the office's own list, kills everything and looks again. Writes a report that opens offline.
    """
    workload = Workload(capacity=capacity, buyers=buyers, rounds=rounds or (1 if full else 3), seed=seed)
    names = list(dict.fromkeys(workers)) or list(WORKER_MODELS)
    cells = (_full_cells if full else _cells)(names, store, think, workload)
    folder = new_results_folder(results, "demo")
    screen = Console(stderr=True)
    done: list[Result] = []
    try:
        with sigterm_as_interrupt(), DemoProgress(screen, len(cells)) as progress:
            for cell in cells:
                done.append(run(cell, folder / "cells" / cell.name, progress.begin(cell), report=write_run_report))
                progress.end(done[-1])
    except LabFailed as error:
        _conclude(folder, done, screen)
        raise click.ClickException(f"the lab failed: {error}") from error
    except KeyboardInterrupt:
        said = f"\n{len(done)} of {len(cells)} cells were finished; what was measured is in {shown(folder)}"
        screen.print(said, highlight=False, markup=False, soft_wrap=True)
        _conclude(folder, done, screen)
        raise
    _conclude(folder, done, screen)
    if as_json:
        click.echo(msgspec.json.encode(_as_json(folder, done)))
    else:
        say(done, folder, full=full)
    return max(_EXIT[result.met] for result in done) if all(each.met is not Met.NO for each in done) else 1


def _cells(names: list[str], store: str, think_ms: float, workload: Workload) -> list[Experiment]:
    """Off and on for each worker model, with the processes and threads it has by itself."""
    guards = (OFF, Service(store=store, guard="on").acting_guard)
    return [
        Experiment(service=Service(worker=name, store=store, guard=guard, think_ms=think_ms), workload=workload)
        for name in names
        for guard in guards
    ]


def _full_cells(names: list[str], store: str, _think_ms: float, workload: Workload) -> list[Experiment]:
    """One process and several, × nobody, threads and processes excluded."""
    settings = ((OFF, 0.0), (OFF, 5.0), (_OF_ONE_PROCESS, 5.0), (Service(store=store, guard="on").acting_guard, 5.0))
    return [
        Experiment(
            service=Service(
                worker=name, processes=processes, store=store, guard=guard, think_ms=think_ms, allow_unsafe=True
            ),
            workload=workload,
            variant=f"{processes}-{think_ms:g}ms",
        )
        for several in (False, True)
        for name in names
        for guard, think_ms in settings
        for processes in [WORKER_MODELS[name].processes if several else 1]
    ]


def _conclude(folder: Path, done: list[Result], screen: Console) -> None:
    """The report of what there is, also after an interruption."""
    if done:
        when = time.strftime("%Y-%m-%d %H:%M")
        command = shlex.join(["lastseat", *map(as_text, sys.argv[1:])])
        write_page(folder / "report.html", done, describe(folder), when=when, command=command)
        (folder / "picture.svg").write_text(picture(done), encoding="utf-8")
        screen.print(f"report: {escape(shown(folder / 'report.html'))}", highlight=False, soft_wrap=True)


def say(done: list[Result], folder: Path, *, full: bool) -> None:
    """What a person reads at the end."""
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = max(out.width, _WIDE_ENOUGH)
    out.print()
    for table in [matrix_table(done)] if full else cell_tables(done, out):
        out.print(table)
        out.print()
    if full:
        seats = done[0].capacity
        out.print(f"Tickets acknowledged of {seats:,}. After the guard: the delay between reading and writing.")
        out.print("* by luck: nothing kept the purchases apart.\n")
    else:
        for result in done:
            out.print(sentence(result), style="red" if result.rounds_wrong else "green", soft_wrap=True)
        out.print()
    out.print(summary(done), style="bold", soft_wrap=True)
    for result in done:
        if result.met is not Met.YES:
            out.print(
                f"! {sentence(result)} Expected: {result.expectation.value}.", style="bold yellow", soft_wrap=True
            )
    for note in dict.fromkeys(note for result in done for note in result.conclusion.notes):
        out.print(f"! {printable(note)}", style="yellow", markup=False, soft_wrap=True)
    out.print(f"\n{_next_steps(folder)}", markup=False, soft_wrap=True)


def _next_steps(folder: Path) -> str:
    here = Path(sys.argv[0]).absolute()
    command = "lastseat" if shutil.which("lastseat") else shown(here)
    locust = "locust" if shutil.which("locust") else shown(here.with_name("locust"))
    steps = [
        (shown(folder.parent / "latest" / "report.html"), "the report: open it in a browser"),
        (f"{command} serve --worker gevent", "the office and its page, http://127.0.0.1:8000"),
        (f"{locust} -f {shown(BUY_LOCUSTFILE)}", "buyers for it, with a page too, http://127.0.0.1:8089"),
        (f"{command} lock off", "take the lock away while they buy"),
        (f"{command} demo --full", "what each guard excludes, under one process and several"),
    ]
    width = max(len(what) for what, _ in steps)
    return "Next:\n" + "\n".join(f"  {what:<{width}}   {why}" for what, why in steps)


def _as_json(folder: Path, done: list[Result]) -> dict[str, Any]:
    return {
        "cells": [_cell_as_json(result) for result in done],
        "machine": msgspec.to_builtins(describe(folder)),
        "report": as_text(folder / "report.html"),
    }


def _cell_as_json(result: Result) -> dict[str, Any]:
    service, verdict, measures = result.experiment.service, result.verdict, result.measures
    processes, threads = service.shape
    return {
        "worker": service.worker,
        "processes": processes,
        "threads": threads,
        "guard": service.guard,
        "store": service.shown.store,
        "think_ms": service.think_ms,
        "rounds": result.rounds,
        "rounds_wrong": result.rounds_wrong,
        "capacity": result.capacity,
        "acknowledged": verdict.acknowledged,
        "oversold": verdict.oversold,
        "lost": verdict.lost,
        "double_booked": verdict.double_booked,
        "verdict": verdict.verdict,
        "promise": result.expectation.value,
        "kept": result.met.value,
        "sold_per_s": measures.sold_per_s,
        "refused_per_s": measures.refused_per_s,
        "unavailable": measures.unavailable,
        "p50_ms": measures.p50_ms,
        "p99_ms": measures.p99_ms,
        "folder": as_text(result.folder),
    }
