"""One client that holds all tickets of an event: ``python -m loadtests.lab.studies.hoarding``, beside a running office.

One client, at an address of its own, asks for holds of ten tickets for an hour, as fast as the office allows; twenty
such holds take all 200 tickets. Then fifty other clients, each at its own address, want to buy one ticket. The output
says how many tickets the first client holds and how many of the others could buy: in an event without limits, and in
one that limits holds to a quarter. The rate limit is a setting of the office (``LASTSEAT_RATE``).

The addresses belong to the loopback network, so the office must run on this machine.
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
    """The result of one event."""

    held: int
    """The tickets that the one client holds."""
    bought: int
    """The number of other clients that could buy."""
    refusals: dict[str, int]
    """The refusals of the one client, counted by code."""


def hoard(url: str, token: str, seconds: float, **limits: Any) -> Hoarded:
    """Make an event with these limits. The others come after ``seconds``, and not before the client was refused."""
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
@click.option(
    "--data", type=click.Path(path_type=Path), default="data", show_default=True, help="Directory of the token."
)
@click.option("--seconds", default=20.0, show_default=True, help="How long the one client goes on.")
def main(url: str, data: Path, seconds: float) -> None:
    """Let one client hold all it can, and count the tickets that the others can still buy."""
    token = find_token(None, data) or ""
    for name, limits in (("no limit", {}), (f"max_held {QUARTER}", {"max_held": QUARTER})):
        held, bought, refusals = hoard(url, token, seconds, **limits)
        click.echo(f"{name}: one client holds {held} of {CAPACITY}, {bought} of {OTHERS} others bought; {refusals}")


if __name__ == "__main__":
    main()
