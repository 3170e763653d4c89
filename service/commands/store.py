"""``lastseat store init``: sets an engine up for the store; for PostgreSQL that is its tables and functions."""

from __future__ import annotations

import os

import click

from service.errors import Problem, RefusedToStart
from service.settings import Settings, from_environment
from service.stores import SharesSwitch, open_store


def set_up(settings: Settings) -> str:
    """Set the engine of these settings up for the store; returns what was done, as a sentence.

    Errors: ``RefusedToStart`` and those of ``SharesSwitch.set_up``.
    """
    store = open_store(settings)
    try:
        if not isinstance(store, SharesSwitch):
            raise RefusedToStart(f"the store {settings.store} needs no set-up. Nothing was written.")
        return store.set_up()
    finally:
        store.close()


@click.group()
def store() -> None:
    """Set up the engine that keeps the sales of many hosts.

    \b
    Examples:
      lastseat store init postgresql://office@db.example/tickets
      LASTSEAT_STORE=redis://cache.example:6379/0 lastseat store init
    """


@store.command()
@click.argument("address", required=False)
def init(address: str | None) -> None:
    """Make the schema in the engine at ADDRESS (LASTSEAT_STORE by default), or bring an older one up to date.

    Can be repeated, and by several at once; what is sold is kept. A password is better left out of the address:
    PGPASSWORD or ~/.pgpass has it for PostgreSQL, and neither the shell's history nor `ps` then.
    """
    address = address or os.environ.get("LASTSEAT_STORE", "")
    if "://" not in address:
        raise click.UsageError(
            "name the engine, like `lastseat store init postgresql://user@host/database`, or let LASTSEAT_STORE name "
            "it; stores that keep files need no set-up"
        )
    try:
        settings = from_environment({"LASTSEAT_STORE": address})
        click.echo(f"{settings.store}: {set_up(settings)}")
    except RefusedToStart as refusal:
        raise click.ClickException(str(refusal)) from None
    except Problem as problem:
        raise click.ClickException(problem.sentences) from None
