"""``lastseat import``: makes a history out of the records of another tool."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from loadtests.lab.commands import options
from loadtests.lab.commands.places import READ_FILE, WRITTEN_FILE
from loadtests.lab.history.recorder import Recorder
from loadtests.lab.imports import FORMATS
from loadtests.lab.imports.errors import ImportFailed
from loadtests.lab.imports.mapping import Imported, operations_of, read_map, told
from loadtests.lab.untrusted import printable


@click.command("import")
@click.argument("format_", metavar="FORMAT")
@click.argument("file", type=READ_FILE)
@options.option(
    "--map map_path", READ_FILE, "A TOML file that says what the fields mean: docs/history-format.md.", required=True
)
@click.option(
    "--output", "-o",
    type=WRITTEN_FILE,
    default=Path("history.jsonl"),
    show_default=True,
    help="The history that is written; a file that is there is not overwritten.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="What was read, as JSON on standard output, and nothing else.")
def import_(format_: str, file: Path, map_path: Path, output: Path, as_json: bool) -> int:
    """Make a history out of the records of another tool, for `lastseat check`.

    FORMAT is csv (JMeter, a log, a query of a database), or jepsen (history.edn, or the same as JSON Lines). The map
    says in which fields the times, the operation and its outcome stand; what it does not say is unknown or left out,
    and counted.

    Exit status: 0 a history was written, 64 wrong usage or a file that cannot be understood; then nothing was written.

    \b
    Examples:
      lastseat import csv results.jtl --map map.toml
      lastseat import jepsen store/latest/history.edn --map map.toml --output shop.jsonl
      lastseat check history.jsonl --capacity 200
    """
    if format_ not in FORMATS:
        raise click.UsageError(
            f"there is no format {format_!r}; there are {', '.join(FORMATS)}. Other records can be written as CSV, "
            "or directly as a history: docs/history-format.md."
        )
    try:
        imported = operations_of(FORMATS[format_](file), read_map(map_path), file.name)
    except (ImportFailed, UnicodeDecodeError, EOFError) as error:
        raise click.UsageError(f"{error}. Nothing was written.") from None
    if not imported.operations:
        raise click.UsageError(
            f"{file.name} holds no operation by this map. Nothing was written. {_left_out(imported)}"
        )
    if output.exists():
        raise click.UsageError(f"{output} is there already; nothing was written. Name another with --output.")
    recorder = Recorder(output)
    try:
        for operation in imported.operations:
            recorder.write(operation)
    finally:
        recorder.close()
    if as_json:
        facts = {
            "history": str(output), "operations": len(imported.operations), "outcomes": imported.outcomes,
            "left_out": imported.left_out, "unknown": imported.unknown, "resolution_ns": imported.resolution_ns,
        }  # fmt: skip
        click.echo(msgspec.json.encode(facts))
    else:
        _say(imported, output)
    return 0


def _say(imported: Imported, output: Path) -> None:
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in imported.outcomes.most_common())
    click.echo(f"{output}: {len(imported.operations):,} operations ({outcomes})")
    for line in told(imported.unknown):
        click.echo(printable(f"  unknown, since the map does not name it: {line}"))
    for line in told(imported.left_out):
        click.echo(printable(f"  left out, since the map does not name it: {line}"))
    if imported.resolution_ns:
        click.echo(f"Each time is widened by {imported.resolution_ns:,} ns, which its clock could not tell.")
    click.echo(f"Judge it: lastseat check {output} --capacity …")


def _left_out(imported: Imported) -> str:
    return printable("Left out: " + "; ".join(told(imported.left_out)) if imported.left_out else "It has no rows.")
