"""``lastseat demo``: the same sale with the lock off and on, under each worker model, on real servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from loadtests.lab.commands import options, output
from loadtests.lab.experiment.expectation import Met
from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import Experiment, LabFailed, Result
from loadtests.lab.paths import BUY_LOCUSTFILE, as_text, new_results_folder, shown
from loadtests.lab.report.demo_halls import demo_halls
from loadtests.lab.report.demo_picture import picture
from loadtests.lab.report.demo_report import write_page
from loadtests.lab.report.progress import RunProgress
from loadtests.lab.report.tables import cell_tables, matrix_table
from loadtests.lab.report.text import sentence, summary
from loadtests.lab.servers.machine import describe
from loadtests.lab.servers.office import Service
from loadtests.lab.servers.process import sigterm_as_interrupt
from service.catalogue import GUARDS, OFF
from workers import WORKER_MODELS

_OF_ONE_PROCESS = next(name for name, guard in GUARDS.items() if guard.scope == "threads")
_EXIT = {Met.YES: 0, Met.NO: 1, Met.UNDECIDED: 2}


@click.command(
    epilog="Exit status: 0 every guard did what it promises, 1 one did not, 2 undecided, 70 the lab failed.\n\n"
    "Examples: `lastseat demo --worker gevent --think 0`, `lastseat demo --full --json > full.json`."
)
@click.option("--full", is_flag=True, help="What each guard excludes: 24 cells instead of 6.")
@options.only("worker", "workers", "this worker model")
# The office itself says which stores there are.
@options.setting("store", "The service's store.", default=Service().store, kind=click.STRING)
@options.setting("capacity", default=200, kind=click.IntRange(1, 1_000_000))
@options.setting("buyers", default=32, kind=click.IntRange(2, 1000))
@options.setting("rounds", "Sales in each cell.", note="3; with --full 1")
@options.setting(
    "think",
    "Milliseconds between reading and writing (--full takes 0 and 5).",
    default=5.0,
    kind=click.FloatRange(0, 60_000),
)
@options.setting("seed", "Decides what each buyer wishes for.", default=1)
@options.results()
@options.as_json
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
    cells = _cells(names, store, think, workload, full=full)
    folder = new_results_folder(results, "demo")
    screen = Console(stderr=True)
    done: list[Result] = []
    try:
        with sigterm_as_interrupt(), RunProgress(screen, len(cells)) as progress:
            for cell in cells:
                done.append(progress.run(cell, folder / "cells" / cell.name))  # noqa: PERF401 - those before a failure count
    except LabFailed as error:
        raise click.ClickException(f"the lab failed: {error}") from error
    except KeyboardInterrupt:
        said = f"{len(done)} of {len(cells)} cells were finished; what was measured is in {shown(folder)}"
        output.say(screen, f"\n{said}")
        raise
    finally:
        _conclude(folder, done, screen)
    if as_json:
        click.echo(msgspec.json.encode(_as_json(folder, done)))
    else:
        say(done, folder, full=full)
    return max(_EXIT[result.met] for result in done) if all(each.met is not Met.NO for each in done) else 1


def _cells(names: list[str], store: str, think_ms: float, workload: Workload, *, full: bool) -> list[Experiment]:
    """The guard off and on for each worker model; ``full``: what each guard excludes, in one process and in several."""
    safe = Service(store=store, guard="on").acting_guard
    if not full:
        return [
            Experiment(service=Service(worker=name, store=store, guard=guard, think_ms=think_ms), workload=workload)
            for name in names
            for guard in (OFF, safe)
        ]
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
        for guard, think_ms in ((OFF, 0.0), (OFF, 5.0), (_OF_ONE_PROCESS, 5.0), (safe, 5.0))
        for processes in [WORKER_MODELS[name].processes if several else 1]
    ]


def _conclude(folder: Path, done: list[Result], screen: Console) -> None:
    """Write the report of what there is, also after an interruption."""
    if done:
        machine = describe(folder)
        write_page(folder / "report.html", done, machine, when=output.now(), command=output.as_typed())
        (folder / "picture.svg").write_text(picture(done), encoding="utf-8")
        if halls := demo_halls(done):
            (folder / "halls.svg").write_text(halls.svg, encoding="utf-8")
        output.say_report(screen, folder / "report.html")


def say(done: list[Result], folder: Path, *, full: bool) -> None:
    out = output.standard()
    out.print()
    for table in [matrix_table(done)] if full else cell_tables(done, out):
        out.print(table)
        out.print()
    if full:
        seats = done[0].capacity
        output.say(
            out,
            f"Tickets acknowledged of {seats:,}. After the guard: the delay between reading and writing.\n"
            "* by luck: nothing kept the purchases apart.\n",
        )
    else:
        for result in done:
            output.say(out, sentence(result), "red" if result.rounds_wrong else "green")
        out.print()
    output.say(out, summary(done), "bold")
    for result in done:
        if result.met is not Met.YES:
            output.say(out, f"! {sentence(result)} Expected: {result.expectation.value}.", "bold yellow")
    output.say_warnings(out, (note for result in done for note in result.conclusion.notes))
    output.say(out, f"\n{_next_steps(folder)}")


def _next_steps(folder: Path) -> str:
    command, locust = output.how_to_start("lastseat"), output.how_to_start("locust")
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
    service = result.experiment.service
    processes, threads = service.shape
    return output.figures(result) | {
        "worker": service.worker,
        "processes": processes,
        "threads": threads,
        "guard": service.guard,
        "store": service.shown.store,
        "think_ms": service.think_ms,
        "promise": result.expectation.value,
        "kept": result.met.value,
    }
