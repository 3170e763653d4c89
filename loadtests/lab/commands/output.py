"""Output that several verbs have: the command as it was typed, notes, the place of the report, a verdict's figures."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from loadtests.lab.compare.cache import FolderInUse, SalesCache, open_cache
from loadtests.lab.compare.matrix import CellSettings
from loadtests.lab.experiment.runner import Result
from loadtests.lab.paths import as_text, shown
from loadtests.lab.report import markdown
from loadtests.lab.servers.process import sigterm_as_interrupt
from loadtests.lab.untrusted import printable


def now() -> str:
    return time.strftime("%Y-%m-%d %H:%M")


def as_typed() -> str:
    """The command line of this process."""
    return shlex.join(["lastseat", *map(as_text, sys.argv[1:])])


def how_to_start(program: str) -> str:
    """A program of this installation as a person types it: its name, or its path where it is not on the PATH."""
    here = Path(sys.argv[0]).absolute()
    path = here if program == "lastseat" else here.with_name(program)
    return program if shutil.which(program) else shown(path)


def refuse_page_without_place(page: Path | None, begin: str, end: str) -> None:
    """Before the time is spent: raise ``UsageError`` where a page has no place for what is to be written."""
    if page is not None and not markdown.has_section(page, begin, end):
        raise click.UsageError(f"{page} has no place for results: it needs the lines {begin} and {end}")


def standard() -> Console:
    """Standard output. A file or a pipe has 80 columns, or as many as ``COLUMNS`` says."""
    return Console(highlight=False)


def say(console: Console, text: str, style: str = "") -> None:
    """Print a text as it is: nothing in it is markup, and the terminal wraps it."""
    console.print(Text(text, style), soft_wrap=True)


@contextlib.contextmanager
def folder_to_go_on_in(
    screen: Console, results: str, shape: CellSettings, *, fresh: bool, kind: str
) -> Iterator[SalesCache]:
    """The results folder of a measurement that goes on where it was ended, for as long as the block lasts.

    Says which folder it is. Raises ``ClickException`` where another command works in it.
    """
    try:
        with sigterm_as_interrupt(), open_cache(results, shape, fresh=fresh, kind=kind) as (cache, said):
            say(screen, f"results: {shown(cache.folder)} ({said})")
            yield cache
    except FolderInUse as error:
        raise click.ClickException(str(error)) from None


def write_table(screen: Console, page: Path | None, section: tuple[str, str], table: str) -> None:
    """Replace a section of a page, where there is one, and say so."""
    if page is not None:
        markdown.replace_section(page, *section, table)
        say(screen, f"written into {page}")


def say_report(screen: Console, path: Path) -> None:
    say(screen, f"report: {shown(path)}")


def say_notes(out: Console, notes: Iterable[str]) -> None:
    """A line for each note; alarming ones begin with ``!``."""
    for note in notes:
        say(out, note, "yellow" if note.startswith("!") else "")


def say_warnings(out: Console, notes: Iterable[str]) -> None:
    """Notes beside a verdict, each once and as an alarming one."""
    say_notes(out, (printable(f"! {note}") for note in dict.fromkeys(notes)))


def figures(result: Result) -> dict[str, Any]:
    """The verdict on a run and its speed, for scripts."""
    verdict, measures = result.verdict, result.measures
    return {
        "verdict": verdict.verdict,
        "rounds": result.rounds,
        "rounds_wrong": result.rounds_wrong,
        "capacity": result.capacity,
        "acknowledged": verdict.acknowledged,
        "oversold": verdict.oversold,
        "lost": verdict.lost,
        "double_booked": verdict.double_booked,
        "seats_sold": verdict.seats_sold,
        "seats_sold_twice": verdict.seats_sold_twice,
        "sold_per_s": measures.sold_per_s,
        "refused_per_s": measures.refused_per_s,
        "unavailable": measures.unavailable,
        "p50_ms": measures.p50_ms,
        "p99_ms": measures.p99_ms,
        "folder": as_text(result.folder),
    }
