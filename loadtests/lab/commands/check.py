"""``lastseat check``: judges a recorded history again."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from loadtests.lab.checks.files import judge_files, judge_folder
from loadtests.lab.checks.verdict import EXIT_STATUS, CheckResult, Verdict, Witness, worst
from loadtests.lab.commands.options import DURATION
from loadtests.lab.commands.output import say
from loadtests.lab.commands.places import READ_FILE
from loadtests.lab.report.tables import VERDICT_COLOURS
from loadtests.lab.report.text import thousands
from loadtests.lab.untrusted import printable


@click.command()
@click.argument("history", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--audit",
    "audits",
    type=READ_FILE,
    multiple=True,
    help="The audit of an event; once for each event. A results folder brings its own.",
)
@click.option("--capacity", type=click.IntRange(min=0), help="Tickets that each event was created with.")
@click.option(
    "--resolution",
    type=DURATION,
    default="0",
    metavar="DURATION",
    help="What the clock could not tell, like 1ms or 500us: each operation is widened by it on both sides, so that a "
    "rounded time is no violation. Operations that have resolution_ns say it themselves.",
)
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON on standard output, and nothing else.")
def check(history: Path, audits: tuple[Path, ...], capacity: int | None, resolution: int, as_json: bool) -> int:
    """Judge a recorded history again: a history.jsonl (plain or gzip), or a whole results folder.

    Valid means that no violation was found in this history; it never means that the service was proved correct.

    A folder of several cells, like that of `lastseat demo`, is judged cell by cell; the worst verdict counts.

    Exit status: 0 valid, 1 invalid, 2 unknown, 64 wrong usage, 70 the lab itself failed.

    \b
    Examples:
      lastseat check results/demo/latest
      lastseat check history.jsonl --audit audit.jsonl
      lastseat check history.jsonl.gz --capacity 200      a service without an audit
      lastseat check history.jsonl --resolution 1ms       times that were rounded to milliseconds
      lastseat check results/demo/latest --json | jq .why
    """
    if history.is_dir() and audits:
        raise click.UsageError("A results folder brings its own audits; give --audit with a history file only.")
    if cells := _cells(history):
        return _check_cells(cells, capacity=capacity, resolution_ns=resolution, as_json=as_json)
    if not history.is_dir() and not history.is_file():
        raise click.UsageError(f"{history} is neither a file nor a folder of results.")
    try:
        verdict = (
            judge_folder(history, capacity=capacity, resolution_ns=resolution)
            if history.is_dir()
            else judge_files(history, list(audits), capacity=capacity, resolution_ns=resolution)
        )
    except FileNotFoundError as error:
        raise click.UsageError(str(error)) from error
    except (OSError, MemoryError) as error:
        raise click.ClickException(f"the history could not be judged: {error}") from error
    if as_json:
        click.echo(msgspec.json.encode(verdict))
    else:
        show(verdict, Console())
    return EXIT_STATUS[verdict.verdict]


def _cells(folder: Path) -> list[Path]:
    """The cells of a results folder that has several, by name; none where it is one run or a file."""
    return sorted({path.parent for path in folder.glob("cells/*/history.jsonl*")})


def _check_cells(cells: list[Path], *, capacity: int | None, resolution_ns: int, as_json: bool) -> int:
    judged, console = {}, Console()
    for cell in cells:
        try:
            verdict = judge_folder(cell, capacity=capacity, resolution_ns=resolution_ns)
        except (OSError, MemoryError) as error:
            raise click.ClickException(f"{cell} could not be judged: {error}") from error
        judged[cell.name] = verdict
        if not as_json:
            say(console, f"\n{printable(cell.name)}", "bold")
            show(verdict, console)
    words = worst(verdict.verdict for verdict in judged.values())
    told = {each: sum(verdict.verdict == each for verdict in judged.values()) for each in EXIT_STATUS}
    why = ", ".join(f"{number} {each}" for each, number in told.items() if number) + f" of {len(judged)} cells"
    if as_json:
        click.echo(msgspec.json.encode({"verdict": words, "why": why, "cells": judged}))
    else:
        say(console, f"\n{words.upper()} {why}", "bold")
    return EXIT_STATUS[words]


def show(verdict: Verdict, console: Console) -> None:
    """The verdict in words: the word itself first, then why, one row a check, and each witness as a sentence."""
    console.print(
        Text(verdict.verdict.upper(), style=f"bold {VERDICT_COLOURS[verdict.verdict]}"),
        Text(printable(verdict.why)),
        soft_wrap=True,
    )
    operations = f"{verdict.operations:,} operations of {len(verdict.events)} event(s) in {verdict.seconds:.2f} s"
    console.print(f"tier {verdict.tier} · {operations}", highlight=False)
    console.print(_counts(verdict))
    console.print(_rows(verdict.checks))
    for result in verdict.checks:
        for witness in result.witness:
            _explain(witness, console)


def _counts(verdict: Verdict) -> Table:
    of_seats = ["seats sold", "sold twice"] if verdict.seats_sold is not None else []
    table = Table(
        Column("event", overflow="fold"), "tier", "capacity", "acknowledged", "oversold", "lost", "double-booked",
        *of_seats,
        box=None,
    )  # fmt: skip
    for event, counts in verdict.events.items():
        numbers = [counts.capacity, counts.acknowledged, counts.oversold, counts.lost, counts.double_booked]
        numbers += [counts.seats_sold, counts.seats_sold_twice] if of_seats else []
        table.add_row(Text(printable(event)), counts.tier, *map(thousands, numbers))
    return table


def _rows(checks: list[CheckResult]) -> Table:
    table = Table("check", "verdict", "found", "why", box=None)
    for result in checks:
        verdict = Text(result.verdict, style=VERDICT_COLOURS[result.verdict])
        table.add_row(result.name, verdict, f"{result.count:,}" if result.count else "", Text(printable(result.why)))
    return table


def _explain(witness: Witness, console: Console) -> None:
    text = Text(printable(witness.text), style="not bold")
    console.print(Text(f"\n{witness.violation}: ", style="bold") + text, soft_wrap=True)
    for operation in witness.operations:
        who = f"key {printable(operation.key)}" if operation.key is not None else f"process {operation.process}"
        attempt = f", attempt {operation.attempt}" if operation.attempt > 1 else ""
        until = "never returned" if operation.return_ns is None else f"{operation.return_ns} ns"
        at = "" if operation.version is None else f", version {operation.version}"
        what = f"{operation.op} by {who}{attempt}: {operation.outcome}{at}"
        say(console, f"  line {operation.line}: {what}, {operation.invoke_ns} to {until}")
    for record in witness.records:
        console.print(f"  the audit's record {record}", highlight=False)
