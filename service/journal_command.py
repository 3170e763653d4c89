"""``lastseat journal``: verify, show and repair what the store ``journal`` keeps; the office may be running or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import msgspec
from rich.console import Console

from service.files import keep_to_ourselves, replace_durably
from service.inventory import Record
from service.stores.journal_holds import Holds
from service.stores.journal_lines import ANY_VERSION, Counters, Damaged, Gap, Head, Seal, count_in, decode, encode
from service.stores.journal_segments import Appending, segment_numbers, segment_path, sync_directory

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=lambda: os.environ.get("LASTSEAT_DATA") or "data",
    show_default="LASTSEAT_DATA or ./data",
    help="The service's data directory.",
)


_NO_SEAL = "it ends without its seal, so what stood there is gone"


@click.group()
def journal() -> None:
    """Look into the journals of the store `journal`.

    \b
    Examples:
      lastseat journal verify                  every event: is each line whole, is none missing?
      lastseat journal show gala --from 100    the records from version 100 on
      lastseat journal repair gala             set damaged lines aside (stop the office first)
    """


@dataclass
class Report:
    """What a reading of a whole journal found."""

    event: str
    segments: int = 0
    records: int = 0
    sold: int = 0
    held: int = 0
    capacity: int = 0
    torn: int = 0
    """Bytes of an unfinished line at the very end, as a crash leaves it."""
    gaps: int = 0
    """Lines that a repair set aside."""
    damages: list[str] = field(default_factory=list)


def read_lines(path: Path) -> Iterator[tuple[int, bytes, object]]:
    """Every line of a segment: where it begins, its bytes, and its meaning or the ``Damaged`` that it is."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            try:
                yield offset, line, decode(line)
            except Damaged as damage:
                yield offset, line, damage
            offset += len(line)


def verify_journal(directory: Path) -> Report:
    """Read a whole journal, every line of every segment."""
    report, counters, holds = Report(directory.name), Counters(), Holds(())
    numbers = segment_numbers(directory)
    for number in numbers:
        report.segments += 1
        damaged: list[tuple[int, str, int]] = []
        sealed = False
        for offset, line, meaning in read_lines(segment_path(directory, number)):
            if isinstance(meaning, Damaged):
                damaged.append((offset, meaning.reason, len(line)))
                continue
            report.damages += [_damage(number, at, why) for at, why, _ in damaged]
            damaged = []
            if isinstance(meaning, Head):
                report.capacity = meaning.about.capacity
                if not report.gaps:
                    report.damages += [_damage(number, offset, why) for why in _untrue(meaning, counters, holds)]
                counters, holds = msgspec.structs.replace(meaning.before), Holds(meaning.open)
            elif isinstance(meaning, Record):
                if meaning.hold:
                    holds.take_in(meaning, lambda _: None)  # what became of a closed one matters to nobody here
                try:
                    count_in(counters, meaning)
                except Damaged as damage:
                    report.damages.append(_damage(number, offset, damage.reason))
                    counters.highest = meaning.version
            elif isinstance(meaning, Gap):
                report.gaps += 1
                counters.highest = ANY_VERSION
            sealed = isinstance(meaning, Seal)
        if number == numbers[-1]:
            report.torn = sum(length for _, _, length in damaged)
        else:
            report.damages += [_damage(number, at, why) for at, why, _ in damaged]
            if not sealed:
                end = segment_path(directory, number).stat().st_size
                report.damages.append(_damage(number, end, _NO_SEAL))
    report.records, report.sold, report.held = counters.count, counters.sold, counters.held
    return report


def _untrue(head: Head, counters: Counters, holds: Holds) -> Iterator[str]:
    """What a head says of all that stands before it, and is not so."""
    if head.before.count != counters.count:
        yield f"it says {head.before.count} records stand before"
    if head.open != holds.open():
        yield "it says other holds are open than stood before"


def _damage(number: int, offset: int, why: str) -> str:
    return f"{number:08d}.jsonl, byte {offset}: {why}"


@journal.command()
@click.argument("event", required=False)
@data_option
@click.option("--json", "as_json", is_flag=True, help="JSON alone on standard output.")
def verify(event: str | None, data: Path, as_json: bool) -> int:
    """Read every line of an event's journal, or of all; nothing is written.

    Exits 0 if all is whole (an unfinished line at the end is: the next writer cuts it), 1 if something is damaged.
    """
    reports = [verify_journal(directory) for directory in _journals(data, event)]
    if as_json:
        click.echo(msgspec.json.encode([vars(report) for report in reports]).decode())
    else:
        console = Console()
        for report in reports:
            state = "[red]damaged[/]" if report.damages else "[green]whole[/]"
            console.print(
                f"{report.event}: {state}, {report.records:,} records in {report.segments} segment(s), "
                f"{report.sold:,} of {report.capacity:,} sold" + (f", {report.held:,} held" if report.held else "")
            )
            if report.torn:
                console.print(f"  an unfinished line of {report.torn} bytes at the end; the next purchase cuts it")
            for damage in report.damages:
                console.print(f"  {damage}", style="red")
    return 1 if any(report.damages for report in reports) else 0


@journal.command()
@click.argument("event")
@data_option
@click.option("--from", "first", type=int, default=1, show_default=True, help="The first version to show.")
@click.option("--count", type=click.IntRange(1), help="How many records at most.")
def show(event: str, data: Path, first: int, count: int | None) -> None:
    """Print an event's records as JSON lines, without their checksums."""
    [directory] = _journals(data, event)
    shown = 0
    for number in segment_numbers(directory):
        for _, _, meaning in read_lines(segment_path(directory, number)):
            if isinstance(meaning, Record) and meaning.version >= first:
                click.echo(msgspec.json.encode(meaning).decode())
                shown += 1
                if count is not None and shown >= count:
                    return


@journal.command()
@click.argument("event")
@data_option
@click.option("--yes", is_flag=True, help="Do it; without, it is only said what would be done.")
def repair(event: str, data: Path, yes: bool) -> int:
    """Set damaged lines of an event's journal aside, so that the office can open it again.

    Stop the office first. What a damaged line said is lost: whoever holds its answer has a ticket that the journal
    does not know. A copy from before the damage is better where there is one. Each damaged segment is kept as
    *.damaged; in its place comes one with a gap where a line could not be read.
    """
    [directory] = _journals(data, event)
    report = verify_journal(directory)
    if not report.damages:
        click.echo(f"{event}: nothing is damaged; nothing was written")
        return 0
    for damage in report.damages:
        click.echo(damage)
    if not yes:
        click.echo("nothing was written; with --yes these lines are set aside")
        return 1
    keep_to_ourselves()
    with Appending(directory):
        numbers = segment_numbers(directory)
        for number in numbers:
            _repair_segment(segment_path(directory, number), number if number != numbers[-1] else None)
        for index in directory.glob("index-*"):
            index.unlink()
        # Else a power cut could bring the damaged segment back, without what is sold from now on.
        sync_directory(directory)
    click.echo(f"{event}: repaired; the damaged segments are kept beside as *.damaged")
    return 0


def _repair_segment(path: Path, closed: int | None) -> None:
    """Write a segment anew without what cannot be read; nothing happens to one that is whole.

    ``closed``: its number, where another segment follows; then it ends with a seal.
    """
    content = []
    damaged, meaning = False, None
    for offset, _, meaning in read_lines(path):
        if isinstance(meaning, Damaged):
            damaged = True
            content.append(encode(Gap(f"byte {offset}: {meaning.reason}")))
        elif isinstance(meaning, Record | Head | Seal | Gap):
            content.append(encode(meaning))
    if closed is not None and not isinstance(meaning, Seal):
        damaged = True
        content += [encode(Gap(f"byte {path.stat().st_size}: {_NO_SEAL}")), encode(Seal(closed))]
    if damaged:
        os.link(path, path.with_suffix(".damaged"))
        replace_durably(path, b"".join(content))


def _journals(data: Path, event: str | None) -> list[Path]:
    root = data / "journal"
    found = sorted(path for path in root.glob("[!.]*") if path.is_dir() and event in (None, path.name))
    if not found:
        what = f"journal of the event {event!r}" if event else "journal"
        raise click.UsageError(f"there is no {what} in {data}; name the data directory with --data")
    return found
