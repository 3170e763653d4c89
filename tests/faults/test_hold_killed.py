"""kill -9 of the worker in which tickets are held, paid, given back or cancelled, at every gate of the commit.

Whoever asks again with his key gets what came of it: the same answer where it was written, and else it happens now.
Once, and every ticket that nobody has is for sale again. Purchases are killed in ``test_killed_at_gates``.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import servers
from test_killed_at_gates import gates_of
from typed import Answer, Typed, wait_for

from loadtests.lab.servers.gate_server import Arrival, GateServer
from service.stores import STORES, store_class
from tests.combinations import shortened

pytestmark = pytest.mark.servers

PLACES, HELD = 4, 2
DURABLE = [name for name in STORES if store_class(name).durable]
KEYED = {"Idempotency-Key": "mine"}


class Errand(NamedTuple):
    """What a buyer does with his hold, what it answers, and how many places are sold and held then."""

    method: str
    path: str
    status: int
    kind: str
    sold: int
    held: int


ERRANDS = {
    "hold": Errand("POST", "holds", 201, "held", 0, HELD),
    "confirm": Errand("POST", "holds/{hold}/confirm", 201, "confirmed", HELD, 0),
    "release": Errand("DELETE", "holds/{hold}", 200, "released", 0, 0),
    "cancel": Errand("DELETE", "orders/{order}", 200, "cancelled", 0, 0),
}


class Killer:
    """Opens every gate to everybody, but for one errand at one gate: its worker is killed there."""

    def __init__(self, stage: GateServer) -> None:
        self._stage = stage
        self._wanted = ("", "")
        self.killed: list[int] = []
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def waiting(self, event: str, gate: str) -> Iterator[None]:
        """Whoever comes to that gate of that event inside this block is killed, the first one only."""
        self._wanted = (event, gate)
        try:
            yield
        finally:
            self._wanted = ("", "")

    def end(self) -> None:
        self._stage.happenings.put(Arrival("", ["end"], 0))
        self._thread.join(10)

    def _keep(self) -> None:
        while True:
            heard = self._stage.happenings.get()
            if not isinstance(heard, Arrival) or heard.note:
                continue
            if not heard.event:
                return
            if (heard.event, heard.gate) == self._wanted and KEYED["Idempotency-Key"] in heard.keys:
                self._wanted = ("", "")
                self.killed.append(heard.pid)
                os.kill(heard.pid, signal.SIGKILL)
            self._stage.let_go(heard)


@pytest.fixture
def stage() -> Iterator[GateServer]:
    with GateServer() as opened:
        yield opened


def prepare(server: Typed, event: str, errand: str) -> str:
    """An event in which the errand can be run; the path to run it at."""
    assert server.call("POST", "/events", {"event": event, "capacity": PLACES, "lab": True}).status == 201
    hold = order = ""
    if errand in ("confirm", "release"):
        answer = server.call("POST", f"/events/{event}/holds", {"quantity": HELD, "seconds": 600})
        hold = answer.json["hold"]
    if errand == "cancel":
        order = server.buy(event, HELD).json["order"]
    return f"/events/{event}/{ERRANDS[errand].path.format(hold=hold, order=order)}"


def ask(server: Typed, errand: str, path: str) -> Answer:
    content = {"quantity": HELD, "seconds": 600} if errand == "hold" else None
    return server.call(ERRANDS[errand].method, path, content, KEYED)


def mine(server: Typed, event: str) -> list[dict[str, Any]]:
    return [record for record in server.records(event) if record["key"] == KEYED["Idempotency-Key"]]


def survive(server: Typed, killer: Killer, event: str, errand: str, gate: str) -> None:
    wanted = ERRANDS[errand]
    path = prepare(server, event, errand)
    before = len(killer.killed)
    with killer.waiting(event, gate), pytest.raises((OSError, http.client.HTTPException)):
        answer = ask(server, errand, path)
        pytest.fail(f"nobody was killed at {gate}: {answer}")
    assert len(killer.killed) == before + 1

    written = mine(server, event)
    assert [record["kind"] for record in written] in ([], [wanted.kind])
    if gate in ("acquire", "view", "append", "half"):
        assert written == []
    if gate in ("durable", "answer"):
        assert written != []

    again = ask(server, errand, path)
    assert again.status == wanted.status, again
    assert ("Idempotency-Replayed" in again.headers) == bool(written)
    assert [record["kind"] for record in mine(server, event)] == [wanted.kind]
    assert written in ([], mine(server, event))
    shown = server.call("GET", f"/events/{event}").json
    assert (shown["sold"], shown["held"]) == (wanted.sold, wanted.held)
    # What nobody has can be sold, and no more than that.
    left = PLACES - wanted.sold - wanted.held
    assert server.buy(event, left).status == 201
    assert server.buy(event).code == "sold_out"


@pytest.fixture
def killer(stage: GateServer) -> Iterator[Killer]:
    killer = Killer(stage)
    yield killer
    killer.end()


@pytest.fixture
def server(store: str, stage: GateServer, tmp_path: Path) -> Iterator[Typed]:
    address = servers.address_of(store, tmp_path) or store
    gated = {"LASTSEAT_STORE": address, "LASTSEAT_GATES": str(stage.path)}
    with Typed("-w 3 service:app", tmp_path / store, **gated) as running:
        wait_for(lambda: len(running.workers()) == 3, "all workers")
        yield running


@pytest.mark.parametrize("store", ["json"])
def test_who_asks_again_without_a_key_holds_twice(server: Typed, killer: Killer) -> None:
    """The negative control: what was written before the kill was written."""
    path = prepare(server, "e", "hold")
    with killer.waiting("e", "answer"), pytest.raises((OSError, http.client.HTTPException)):
        ask(server, "hold", path)
    assert server.call("POST", path, {"quantity": HELD, "seconds": 600}).status == 201
    assert server.call("GET", "/events/e").json["held"] == 2 * HELD


@pytest.mark.parametrize("store", shortened(DURABLE, "journal", "redis"))
def test_after_kill_9_at_every_gate_who_asks_again_gets_what_came_of_it(
    store: str, server: Typed, killer: Killer
) -> None:
    for errand in ERRANDS:
        for gate in gates_of(store_class(store)):
            survive(server, killer, f"{errand}-{gate}", errand, gate)
