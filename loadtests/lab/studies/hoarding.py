"""One client that sets a whole house aside, again and again: ``python -m loadtests.lab.studies.hoarding``.

Beside a running office. One client, at an address of its own, asks for holds of ten tickets for an hour as fast as it
is let, twenty of which are all of a house of 200. Then fifty others, each at its own address, want to buy one ticket.
Told is what the first holds and how many of the others could buy: in an event without limits, and in one that lets a
quarter be held at once. What a rate limit does beside it is the office's setting (``LASTSEAT_RATE``).

The addresses are those of the loopback network, so the office has to be on this machine.
"""

from __future__ import annotations

import http.client
import json
import secrets
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click

from loadtests.lab.protocol.admin_api import find_token

CAPACITY, QUARTER, AT_ONCE, OTHERS = 200, 50, 10, 50
_PAUSE_S = 0.02


class Hoarded(NamedTuple):
    """What became of an event."""

    held: int
    """Tickets that the one client holds."""
    bought: int
    """How many of the others could buy."""
    refusals: dict[str, int]
    """Why the one client was refused, and how often."""


def hoard(url: str, token: str, seconds: float, **limits: Any) -> Hoarded:
    """Make an event with these limits; the one client has so many seconds, and is refused, before the others come."""
    office, event, refusals, held = urlsplit(url), f"house-{secrets.token_hex(4)}", dict[str, int](), 0

    def ask(client: str, path: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        with closing(http.client.HTTPConnection(office.netloc, timeout=30, source_address=(client, 0))) as connection:
            connection.request("POST", path, json.dumps(content), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    status, told = ask("127.0.0.1", "/events", {"event": event, "capacity": CAPACITY, "lab": True, **limits})
    if status != http.client.CREATED:
        raise click.ClickException(f"the office made no event and said: {told}")
    until = time.monotonic() + seconds
    while time.monotonic() < until or not refusals:
        status, told = ask("127.0.0.2", f"/events/{event}/holds", {"quantity": AT_ONCE, "seconds": 3600})
        if status == http.client.CREATED:
            held += AT_ONCE
        else:
            refusals[told["code"]] = refusals.get(told["code"], 0) + 1
            time.sleep(_PAUSE_S)
    clients = [f"127.0.1.{last}" for last in range(1, OTHERS + 1)]
    bought = [ask(client, f"/events/{event}/orders", {"quantity": 1})[0] == http.client.CREATED for client in clients]
    return Hoarded(held, sum(bought), refusals)


@click.command()
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The office.")
@click.option("--data", type=click.Path(path_type=Path), default="data", show_default=True, help="It has the token.")
@click.option("--seconds", default=20.0, show_default=True, help="How long the one client goes on.")
def main(url: str, data: Path, seconds: float) -> None:
    """Let one client hold what it can, and see what is left for the others."""
    token = find_token(None, data) or ""
    for name, limits in (("no limit", {}), (f"max_held {QUARTER}", {"max_held": QUARTER})):
        held, bought, refusals = hoard(url, token, seconds, **limits)
        click.echo(f"{name}: one client holds {held} of {CAPACITY}, {bought} of {OTHERS} others bought; {refusals}")


if __name__ == "__main__":
    main()
