"""``lastseat compare``: guards × stores × worker models × processes × delays, correctness beside speed."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from loadtests.lab.commands.anomalies import compare_anomalies, keep_table
from loadtests.lab.compare import evidence_table, page
from loadtests.lab.compare.cache import Busy, Kept, opened
from loadtests.lab.compare.findings import answers
from loadtests.lab.compare.matrix import THINKS, Matrix, Plan, Shape, offers, plan
from loadtests.lab.compare.progress import CompareProgress
from loadtests.lab.compare.results import NO_TIME, STOPPED, Results, summarize
from loadtests.lab.compare.run import Comparison
from loadtests.lab.compare.tables import cells_grid
from loadtests.lab.experiment.knobs import OneOf
from loadtests.lab.paths import shown
from loadtests.lab.report import markdown
from loadtests.lab.servers.process import sigterm_as_interrupt
from service.catalogue import GUARDS, STORES
from workers import WORKER_MODELS

_WIDE_ENOUGH = 200
_UNITS = {"s": 1, "m": 60, "h": 3600}


class Span(click.ParamType[float]):
    """A time like ``90s``, ``10m`` or ``2h``, in seconds; ``none`` is without end."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if value == "none":
            return float("inf")
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", str(value))
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is no time like 90s, 10m or 2h; `none` is without end.", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@click.command(
    epilog="""\b
Examples:
  lastseat compare                                       ten minutes, the most telling cells first; again: goes on
  lastseat compare --budget 2m --store json --store journal
  lastseat compare --worker gevent --think none --json > gevent.json
  lastseat compare --budget none                         everything: hours
  lastseat compare --budget 30m --write docs/compare.md  the matrix, into that page
  lastseat compare --anomalies --write docs/guards.md    which anomaly was seen under which guard, into that page

Exit status: 0 every guard did what it promises, 1 one did not, 2 undecided or a cell could not be measured, 64 wrong
usage, 70 the lab failed.
"""
)
@click.option(
    "--worker",
    "workers",
    multiple=True,
    type=click.Choice(list(WORKER_MODELS)),
    help="Only this worker model; repeatable.",
)
@click.option("--store", "stores", multiple=True, type=OneOf(lambda: [*STORES]), help="Only this store; repeatable.")
@click.option("--guard", "guards", multiple=True, type=OneOf(lambda: [*GUARDS]), help="Only this guard; repeatable.")
@click.option(
    "--processes",
    multiple=True,
    type=click.IntRange(1, 64),
    help="Only with so many processes; repeatable.  [default: 1, and the worker model's own]",
)
@click.option(
    "--think",
    "thinks",
    multiple=True,
    type=click.Choice(THINKS),
    help="Only this delay between reading and writing; repeatable.",
)
@click.option(
    "--think-ms", default=5.0, show_default=True, type=click.FloatRange(0.1, 10_000), help="How long the delay is."
)
@click.option("--buyers", default=32, show_default=True, type=click.IntRange(2, 1000), help="Buyers at the same time.")
@click.option(
    "--seconds",
    default=1.5,
    show_default=True,
    type=click.FloatRange(0.1, 600),
    help="About how long a sale shall take.",
)
@click.option(
    "--repeats", default=3, show_default=True, type=click.IntRange(1, 100), help="Sales of each cell, not in a row."
)
@click.option(
    "--budget",
    default="10m",
    show_default=True,
    type=Span(),
    help="No sale is begun that would not end within this time.",
)
@click.option("--seed", default=1, show_default=True, help="Decides what each buyer wishes for, and the bootstrap.")
@click.option(
    "--again", is_flag=True, help="Hold the sales of cells that are measured already once more, and add them."
)
@click.option("--fresh", is_flag=True, help="Begin a new results folder.")
@click.option(
    "--anomalies", is_flag=True, help="Instead: which anomaly was seen under which guard, in sales and in the explorer."
)
@click.option(
    "--write",
    "into",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, writable=True),
    help="Replace the results, or the table of --anomalies, in this Markdown page, between its markers.",
)
@click.option(
    "--results", default="results", show_default=True, type=click.Path(file_okay=False), help="Where results go."
)
@click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output; progress on standard error.")
def compare(
    *,
    think_ms: float,
    buyers: int,
    seconds: float,
    repeats: int,
    budget: float,
    seed: int,
    again: bool,
    fresh: bool,
    anomalies: bool,
    into: Path | None,
    results: str,
    as_json: bool,
    **asked: tuple[Any, ...],
) -> int:
    """Guards × stores × worker models × processes × delays: in each cell the verdict, and beside it the speed.

    Every cell is a fresh gunicorn with real buyers, judged like every other run. What was measured once is in the
    results folder and not measured again: the same command goes on where it was ended. Says in words which
    combinations lose orders, the fastest right one of each worker class, and what a worker class is worth.
    """
    _check_page(into, *((evidence_table.BEGIN, evidence_table.END) if anomalies else (page.BEGIN, page.END)))
    matrix = Matrix(**{name: tuple(dict.fromkeys(values)) for name, values in asked.items()})
    shape = Shape(buyers=buyers, seconds=seconds, think_ms=think_ms, seed=seed)
    cells = plan(matrix, offers())
    if not cells.cells and not cells.impossible:
        raise click.UsageError("there is no such cell: no guard that was named fits a store that was named")
    screen = Console(stderr=True)
    try:
        with sigterm_as_interrupt(), opened(results, shape, fresh=fresh) as (kept, said):
            screen.print(f"results: {escape(shown(kept.folder))} ({said})", highlight=False, soft_wrap=True)
            if anomalies:
                evidence, status = compare_anomalies(matrix, shape, kept, _limit(budget), screen)
                keep_table(evidence, kept, into, screen, as_json=as_json)
                return status
            return _compare(
                cells, shape, kept, screen, repeats=repeats, budget=budget, again=again, into=into, as_json=as_json
            )
    except Busy as error:
        raise click.ClickException(str(error)) from None


def _check_page(into: Path | None, begin: str, end: str) -> None:
    """Before the time is spent: raise ``UsageError`` where the page has no place for what is to be written."""
    if into is not None and not markdown.has_section(into, begin, end):
        raise click.UsageError(f"{into} has no place for it: it needs the lines {begin} and {end}")


def _limit(budget: float) -> float | None:
    return None if budget == float("inf") else budget


def _compare(
    cells: Plan,
    shape: Shape,
    kept: Kept,
    screen: Console,
    *,
    repeats: int,
    budget: float,
    again: bool,
    into: Path | None,
    as_json: bool,
) -> int:
    """Hold what is missing, and report what there is, also after an interruption."""
    when = time.strftime("%Y-%m-%d %H:%M")
    why_not = STOPPED
    with CompareProgress(screen) as progress:
        running = Comparison(cells, shape, kept, progress)

        def found() -> Results:
            return summarize(cells, running.sales, running.failures, shape=shape, machine=kept.machine, why_not=why_not)

        try:
            running.run(repeats, _limit(budget), again=again)
            why_not = NO_TIME
        finally:
            report = page.write_report(kept.folder, found(), when=when, command=page.command_line())
            screen.print(f"report: {escape(shown(report))}", highlight=False, soft_wrap=True)
    if into is not None:
        page.write_section(into, found(), when=when, command=page.command_line())
        screen.print(f"written into {into}", highlight=False, markup=False)
    if as_json:
        click.echo(msgspec.json.encode(page.as_json(kept.folder, found(), when=when, command=page.command_line())))
    else:
        _say(found(), running)
    return found().status


def _say(results: Results, running: Comparison) -> None:
    """What a person reads at the end."""
    out = Console(highlight=False)
    if not out.is_terminal:
        out.width = max(out.width, _WIDE_ENOUGH)
    if results.found:
        out.print(cells_grid(results).rich())
    said = answers(results)
    for name, question in page.QUESTIONS.items():
        if sentences := getattr(said, name):
            out.print(f"\n{question}", style="bold")
            for sentence in sentences:
                out.print(Text(f"- {sentence}"), soft_wrap=True)
    out.print()
    for note in said.notes:
        out.print(Text(note, style="yellow" if note.startswith("!") else ""), soft_wrap=True)
    if running.out_of_time:
        out.print("The budget is used up. The same command goes on from here.", soft_wrap=True)
