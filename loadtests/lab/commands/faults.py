"""``lastseat faults``: what can be made to go wrong here; and ``--matrix``: what comes of it, store by store."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from loadtests.lab.commands import options, output
from loadtests.lab.compare import fault_page
from loadtests.lab.compare.fault_plan import FaultMatrix, plan_faults
from loadtests.lab.compare.fault_table import FaultResults, collect, fault_grids
from loadtests.lab.compare.matrix import CellSettings
from loadtests.lab.compare.run import CompareProgress, Comparison
from loadtests.lab.faults import FAULTS, fault_class
from loadtests.lab.faults.base import FaultUnfit
from loadtests.lab.faults.leavings import NotCleanedUp, clean_up
from loadtests.lab.knob import OneOf
from loadtests.lab.paths import shown
from service.catalogue import GUARDS, STORES

RETRIES = 6
"""A buyer whose answer is lost asks again, as a shop's page does: only so it is seen whether a key is remembered."""


@click.command(
    epilog="""\b
Examples:
  lastseat faults                                   what each does, what it needs, and whether this machine can
  lastseat faults --json
  lastseat faults --matrix                          ten minutes of stores × faults; again: goes on
  lastseat faults --matrix --store json --fault kill-worker --worker sync
  lastseat faults --matrix --budget none --write docs/faults.md

Exit status of --matrix: 0 each cell came out as store and guard promise, also those that have to lose, 1 one did not, 2
undecided or a fault did not happen, 64 wrong usage, 70 the lab failed.
"""
)
@click.option("--matrix", is_flag=True, help="Hold a sale of each store under each fault, and draw what came of it.")
@options.only("fault", "faults", "this fault", kind=OneOf(lambda: [*FAULTS]))
@options.only("store", "stores", "this store", kind=OneOf(lambda: [*STORES]))
@options.only("guard", "guards", "this guard", kind=OneOf(lambda: [*GUARDS]))
@options.only("worker", "workers", "this worker model")
@options.setting("buyers", default=16, kind=click.IntRange(2, 1000))
@options.option("--seconds", click.FloatRange(0.1, 600), "About how long a sale shall take.", default=4.0)
@options.option("--repeats", click.IntRange(1, 100), "Sales of each cell.", default=1)
@options.budget("No sale is begun that would not end in time.")
@options.setting("seed", "Decides what each buyer wishes for.", default=1)
@options.fresh
@options.write("Replace the table in this Markdown page, between its markers.")
@options.results()
@options.as_json
def faults(
    *,
    matrix: bool,
    buyers: int,
    seconds: float,
    repeats: int,
    budget: float,
    seed: int,
    fresh: bool,
    page: Path | None,
    results: str,
    as_json: bool,
    **asked: tuple[Any, ...],
) -> int:
    """The faults that `lastseat run --fault` injects into a sale: what they do, and what they need.

    With --matrix: stores × faults, each cell a sale that is judged. What was measured once is not measured again.
    Faults of processes and disks are injected under every worker model, all others under sync, unless --worker names
    models.

    \b
    Examples:
      lastseat faults
      lastseat faults --json
      lastseat faults --matrix --store journal --fault kill-worker --worker sync --budget 1m
    """
    try:
        for left in clean_up():
            output.say(Console(stderr=True), f"removed what a run that was killed had left: {left}")
    except NotCleanedUp as error:
        raise click.ClickException(str(error)) from None
    if not matrix:
        _list(as_json=as_json)
        return 0
    output.refuse_page_without_place(page, fault_page.BEGIN, fault_page.END)
    plan = plan_faults(FaultMatrix(**{name: tuple(dict.fromkeys(values)) for name, values in asked.items()}))
    if not plan.cells:
        reasons = dict.fromkeys(plan.impossible.values())
        raise click.UsageError("there is no such cell. " + " ".join(reasons))
    shape = CellSettings(buyers=buyers, seconds=seconds, seed=seed, retries=RETRIES)
    screen, about = Console(stderr=True), {"when": output.now(), "command": output.as_typed()}
    with output.folder_to_go_on_in(screen, results, shape, fresh=fresh, kind="faults") as cache:
        progress = CompareProgress(screen)
        running, ended = Comparison(plan, shape, cache, progress), False
        try:
            with progress:
                running.run(repeats, None if budget == math.inf else budget)
            ended = True
        finally:
            found = collect(plan, running.sales, running.failures, shape, ended=ended)
            report = fault_page.write_fault_page(cache.folder, found, shape, cache.machine, **about)
            output.say_report(screen, report)
        if page is not None:
            fault_page.write_fault_section(page, found, cache.machine, **about)
        _say(found, cache.folder, as_json=as_json)
        return found.status


def _say(found: FaultResults, folder: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(fault_page.as_json(folder, found)))
        return
    out = output.standard()
    for grid in fault_grids(found):
        for table in grid.for_console(out):
            table.title, table.title_justify = grid.title, "left"
            out.print(table)
    for each in found.found:
        if each.counterexample:
            output.say(out, f"{each.cell.spelled}: {shown(folder / each.counterexample)}")
    output.say_notes(out, fault_page.notes(found))


def _list(*, as_json: bool) -> None:
    """Each fault, what it does, and whether this machine can do it."""
    kinds = {name: fault_class(name) for name in FAULTS}
    listed = [
        {"name": name, "says": kind.says, "needs": kind.takes, "missing": kind.needs(), "of_target": _of_target(name)}
        | {"missing_under": {store: missing for store in STORES if (missing := kind.needs_under(store))}}
        for name, kind in kinds.items()
    ]
    if as_json:
        click.echo(msgspec.json.encode(listed))
        return
    out = output.standard()
    for each in listed:
        output.say(out, str(each["name"]), "bold")
        output.say(out, f"  {each['says']}")
        output.say(out, f"  needs {each['needs']}{'; also done to a target' if each['of_target'] else ''}")
        output.say(out, f"  {_here(each)}")


def _here(each: dict[str, Any]) -> str:
    if each["missing"]:
        return f"not on this machine: {each['missing']}"
    but = "".join(f"; but not with --store {store}: {missing}" for store, missing in each["missing_under"].items())
    return f"this machine can do it{but}"


def _of_target(name: str) -> bool:
    try:
        fault_class(name).of_target()
    except FaultUnfit:
        return False
    return True
