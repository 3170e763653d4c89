"""``lastseat lock``: switch the guard of a running office, for all its processes at once, without restarting it."""

from __future__ import annotations

import click
import msgspec

from loadtests.lab.commands.places import ADDRESS
from loadtests.lab.protocol.admin_api import GuardState, Office, OfficeError, find_token
from service.catalogue import OFF

_WITHOUT_TOKEN = frozenset({"status"})


@click.command(epilog="Examples: `lastseat lock off`, `lastseat lock thread`, `lastseat lock status --json`.")
@click.argument("to", metavar="on|off|status|GUARD")
@click.option("--url", type=ADDRESS, default="http://127.0.0.1:8000", show_default=True, help="Where the office is.")
@click.option(
    "--data",
    type=click.Path(file_okay=False),
    help="Its data directory, where its admin token is.  [default: $LASTSEAT_DATA or ./data]",
)
@click.option(
    "--admin-token",
    "--token",
    "token",
    help="The admin token itself.  [default: $LASTSEAT_ADMIN_TOKEN, then the file in --data]",
)
@click.option("--json", "as_json", is_flag=True, help="The answer as JSON on standard output.")
def lock(*, to: str, url: str, data: str | None, token: str | None, as_json: bool) -> int:
    """Put the lock on, take it off, or say which guard is on.

    It returns when every purchase under the old guard has ended, so two guards never overlap. An office that sells real
    tickets cannot be disarmed: without a lock only lab events are touched.
    """
    office = Office(url, find_token(token, data))
    try:
        before = office.guard()
        after = before if to in _WITHOUT_TOKEN else office.switch(to)
    except OfficeError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(after))
    else:
        click.echo(_words(before, after))
    return 0


def _words(before: GuardState, after: GuardState) -> str:
    choice = f"There are: {', '.join(after.guards)}."
    if before.epoch == after.epoch:
        return f"The guard is {after.guard}, in epoch {after.epoch}. {choice}"
    off = " Nothing keeps purchases apart now; only lab events are sold so." if after.guard == OFF else ""
    return f"The guard was {before.guard}; it is {after.guard} now, from epoch {after.epoch} on.{off} {choice}"
