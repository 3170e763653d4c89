"""``lastseat compare``: guards × stores × worker models × processes × delays, correctness beside speed."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from loadtests.lab.checks.anomalies import ANOMALIES
from loadtests.lab.commands import options, output
from loadtests.lab.compare import evidence
from loadtests.lab.compare import page as reports
from loadtests.lab.compare.anomalies import compare_anomalies
from loadtests.lab.compare.cache import SalesCache
from loadtests.lab.compare.findings import answers
from loadtests.lab.compare.matrix import THINKS, CellSettings, Matrix, plan
from loadtests.lab.compare.results import Results
from loadtests.lab.compare.run import CompareProgress, Comparison
from loadtests.lab.knob import OneOf
from service.catalogue import GUARDS, STORES

_TABLE = "anomalies.md"
_MATRIX = (reports.BEGIN, reports.END)
_EVIDENCE = (evidence.BEGIN, evidence.END)


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
@options.only("worker", "workers", "this worker model")
@options.only("store", "stores", "this store", kind=OneOf(lambda: [*STORES]))
@options.only("guard", "guards", "this guard", kind=OneOf(lambda: [*GUARDS]))
@options.only(
    "processes",
    "processes",
    "with so many processes",
    kind=click.IntRange(1, 64),
    note="1, and the worker model's own",
)
@options.only("think", "thinks", "this delay between reading and writing", kind=click.Choice(THINKS))
@options.option("--think-ms", click.FloatRange(0.1, 10_000), "How long the delay is.", default=5.0)
@options.setting("buyers", default=32, kind=click.IntRange(2, 1000))
@options.option("--seconds", click.FloatRange(0.1, 600), "About how long a sale shall take.", default=1.5)
@options.option("--repeats", click.IntRange(1, 100), "Sales of each cell, not in a row.", default=3)
@options.budget("No sale is begun that would not end within this time.")
@options.setting("seed", "Decides what each buyer wishes for, and the bootstrap.", default=1)
@click.option(
    "--again", is_flag=True, help="Hold the sales of cells that are measured already once more, and add them."
)
@options.fresh
@click.option(
    "--anomalies", is_flag=True, help="Instead: which anomaly was seen under which guard, in sales and in the explorer."
)
@options.write("Replace the results, or the table of --anomalies, in this Markdown page, between its markers.")
@options.results()
@options.as_json
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
    page: Path | None,
    results: str,
    as_json: bool,
    **asked: tuple[Any, ...],
) -> int:
    """Guards × stores × worker models × processes × delays: in each cell the verdict, and beside it the speed.

    Every cell is a fresh gunicorn with real buyers, judged like every other run. What was measured once is in the
    results folder and not measured again: the same command goes on where it was ended. Says in words which
    combinations lose orders, the fastest right one of each worker class, and what a worker class is worth.
    """
    output.refuse_page_without_place(page, *(_EVIDENCE if anomalies else _MATRIX))
    matrix = Matrix(**{name: tuple(dict.fromkeys(values)) for name, values in asked.items()})
    shape = CellSettings(buyers=buyers, seconds=seconds, think_ms=think_ms, seed=seed)
    cells = plan(matrix)
    if not cells.cells and not cells.impossible:
        raise click.UsageError("there is no such cell: no guard that was named fits a store that was named")
    screen = Console(stderr=True)
    about = {"when": output.now(), "command": output.as_typed()}
    budget_s = None if budget == math.inf else budget
    with output.folder_to_go_on_in(screen, results, shape, fresh=fresh, kind="compare") as cache:
        if anomalies:
            found, status = compare_anomalies(matrix, shape, cache, budget_s, screen)
            _say_evidence(found, cache, page, screen, as_json=as_json)
            return status
        progress = CompareProgress(screen)
        running = Comparison(cells, shape, cache, progress)
        try:
            with progress:
                running.run(repeats, budget_s, again=again)
        finally:
            report = reports.write_report(cache.folder, running.results, **about)
            output.say_report(screen, report)
        _tell(running, cache, page, screen, as_json=as_json, **about)
        return running.results.status


def _tell(
    running: Comparison, cache: SalesCache, page: Path | None, screen: Console, *, as_json: bool, **about: str
) -> None:
    if page is not None:
        reports.write_section(page, running.results, **about)
        output.say(screen, f"written into {page}")
    if as_json:
        click.echo(msgspec.json.encode(reports.as_json(cache.folder, running.results, **about)))
    else:
        _say(running.results, out_of_time=running.out_of_time)


def _say(results: Results, *, out_of_time: bool) -> None:
    out = output.standard()
    if results.found:
        for table in reports.cells_grid(results).for_console(out):
            out.print(table)
    said = answers(results)
    for name, question in reports.QUESTIONS.items():
        if sentences := getattr(said, name):
            output.say(out, f"\n{question}", "bold")
            for sentence in sentences:
                output.say(out, f"- {sentence}")
    out.print()
    output.say_notes(out, said.notes)
    if out_of_time:
        output.say(out, "The budget is used up. The same command goes on from here.")


def _say_evidence(
    found: list[evidence.PairEvidence], cache: SalesCache, page: Path | None, screen: Console, *, as_json: bool
) -> None:
    """Write the table into the folder and the page, and show it."""
    table = evidence.markdown(
        found, command=output.as_typed(), when=time.strftime("%Y-%m-%d"), machine=cache.machine.in_words
    )
    (cache.folder / _TABLE).write_text(table + "\n", encoding="utf-8")
    output.write_table(screen, page, _EVIDENCE, table)
    click.echo(msgspec.json.encode({"pairs": found, "anomalies": ANOMALIES}) if as_json else table)
