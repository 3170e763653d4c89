"""``lastseat journal``: verify, show and repair what the store ``journal`` keeps; the office may be running or not."""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.text import Text

from service.errors import Problem
from service.rules.inventory import Record
from service.runtime.files import keep_to_ourselves
from service.stores.journal.repair import repair_journal
from service.stores.journal.segments import Appending, segment_numbers, segment_path
from service.stores.journal.verification import read_lines, verify_journal

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=lambda: os.environ.get("LASTSEAT_DATA") or "data",
    show_default="LASTSEAT_DATA or ./data",
    help="The service's data directory.",
)


def _printable(text: str) -> str:
    """Text that may be of a damaged file: what a terminal would obey, or what changes the direction of writing, as JSON
    escapes it. JSON in one line stays the same JSON."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or unicodedata.category(each) == "Zs" else json.dumps(each)[1:-1] for each in text
    )


def _say(text: str) -> None:
    click.echo(_printable(text))


@contextlib.contextmanager
def _failures_said() -> Iterator[None]:
    """Not a traceback, but what happened and what to do."""
    try:
        yield
    except Problem as problem:
        raise click.ClickException(_printable(problem.detail or problem.kind.title)) from problem
    except OSError as error:
        raise click.ClickException(f"{_printable(str(error))}. Mend that and begin again.") from error


@click.group()
def journal() -> None:
    """Look into the journals of the store `journal`.

    \b
    Examples:
      lastseat journal verify                  every event: is each line whole, is none missing?
      lastseat journal show gala --from 100    the records from version 100 on
      lastseat journal repair gala             set damaged lines aside (stop the office first)
    """


@journal.command()
@click.argument("event", required=False)
@data_option
@click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output.")
@_failures_said()
def verify(event: str | None, data: Path, as_json: bool) -> int:
    """Read every line of an event's journal, or of all; nothing is written.

    Exits 0 if all is whole (an unfinished line at the end is: the next writer cuts it), 1 if something is damaged.
    """
    reports = [verify_journal(directory) for directory in _journals(data, event)]
    if as_json:
        _say(msgspec.json.encode([vars(report) for report in reports]).decode())
    else:
        console = Console()
        for report in reports:
            state = ("damaged", "red") if report.damages else ("whole", "green")
            told = (
                f", {report.records:,} records in {report.segments} segment(s), "
                f"{report.sold:,} of {report.capacity:,} sold" + (f", {report.held:,} held" if report.held else "")
            )
            console.print(Text.assemble(_printable(report.event), ": ", state, told))
            if report.torn:
                console.print(f"  an unfinished line of {report.torn} bytes at the end; the next purchase cuts it")
            for damage in report.damages:
                console.print(Text(f"  {_printable(damage)}", "red"))
    return 1 if any(report.damages for report in reports) else 0


@journal.command()
@click.argument("event")
@data_option
@click.option("--from", "first", type=int, default=1, show_default=True, help="The first version to show.")
@click.option("--count", type=click.IntRange(1), help="How many records at most.")
@_failures_said()
def show(event: str, data: Path, first: int, count: int | None) -> None:
    """Print an event's records as JSON lines, without their checksums."""
    [directory] = _journals(data, event)
    shown = 0
    for number in segment_numbers(directory):
        for _, _, meaning in read_lines(segment_path(directory, number)):
            if isinstance(meaning, Record) and meaning.version >= first:
                _say(msgspec.json.encode(meaning).decode())
                shown += 1
                if count is not None and shown >= count:
                    return


@journal.command()
@click.argument("event")
@data_option
@click.option("--yes", is_flag=True, help="Do it; without, it is only said what would be done.")
@_failures_said()
def repair(event: str, data: Path, yes: bool) -> int:
    """Set damaged lines of an event's journal aside, so that the office can open it again.

    Stop the office first. A single flipped bit is put right. Else what a damaged line said is lost: whoever holds its
    answer has a ticket that the journal does not know, and its place is not sold again. A copy from before the damage
    is better where there is one. Each damaged segment is kept as *.damaged; in its place comes one with a gap where a
    line could not be read. Where a cancellation may be lost, no order from before is cancelled any more.
    """
    [directory] = _journals(data, event)
    report = verify_journal(directory)
    if not report.damages:
        _say(f"{event}: nothing to repair; nothing was written")
        return 0
    for damage in report.damages:
        _say(damage)
    if not yes:
        _say("nothing was written; with --yes these lines are set aside")
        return 1
    keep_to_ourselves()
    with Appending(directory):
        done = repair_journal(directory)
    for each in done:
        _say(each)
    left = verify_journal(directory).damages
    for damage in left:
        _say(damage)
    if left:
        _say(f"{event}: still damaged; the segments as they were are kept beside as *.damaged")
        return 1
    _say(f"{event}: repaired; the damaged segments are kept beside as *.damaged")
    return 0


def _journals(data: Path, event: str | None) -> list[Path]:
    root = data / "journal"
    found = sorted(path for path in root.glob("[!.]*") if path.is_dir() and event in (None, path.name))
    if not found:
        what = f"journal of the event {event!r}" if event else "journal"
        raise click.UsageError(f"there is no {what} in {data}; name the data directory with --data")
    return found
