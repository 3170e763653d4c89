"""Seats sold over HTTP by an office in this process, the same on every store: what its own test files ask of it."""

from __future__ import annotations

import json
import socket
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from flask.testing import FlaskClient

from service.rules.halls import unpacked

HALL = {
    "sections": [{"name": "stalls", "rows": 4, "seats": 6}, {"name": "bal-con", "rows": [{"name": "Z", "seats": 5}]}]
}
SIZE = 29
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
BUYERS = 8


def new_hall(client: FlaskClient, admin: dict[str, str], event: str = "hall", **more: Any) -> None:
    made = client.post("/events", json={"event": event, "hall": HALL, "lab": True, **more}, headers=admin)
    assert made.status_code == 201, made.json


def states(client: FlaskClient, event: str = "hall") -> list[int]:
    """The state of each seat, as the map has it."""
    return list(unpacked(b64decode(client.get(f"/events/{event}/seats").json["states"]))[:SIZE])


def seats_of_the_hall(client: FlaskClient, event: str = "hall") -> list[str]:
    sections = client.get(f"/events/{event}/hall").json["sections"]
    return [
        f"{section['name']}-{row['name']}-{number}"
        for section in sections
        for row in section["rows"]
        for number in range(1, row["seats"] + 1)
    ]


def owners(client: FlaskClient, admin: dict[str, str], event: str = "hall") -> dict[str, list[str]]:
    """The open orders and holds that each seat is in, as the audit has them."""
    lines = client.get(f"/events/{event}/audit", headers=admin).get_data(as_text=True).splitlines()
    found: dict[str, list[str]] = {seat: [] for seat in seats_of_the_hall(client, event)}
    for line in map(json.loads, lines[1:]):
        for seat in line["seats"]:
            if line["kind"] in {"confirmed", "released", "expired"}:
                found[seat].remove(line["hold"])
            if line["kind"] == "cancelled":
                found[seat].remove(line["order"])
            if line["kind"] in {"sold", "confirmed"}:
                found[seat].append(line["order"])
            if line["kind"] == "held":
                found[seat].append(line["hold"])
    return found


def sell_out(client: FlaskClient, admin: dict[str, str]) -> None:
    """Eight buyers at once want seats by name, the best, and neighbours, and some give theirs back, until all are
    sold: each to one of them, as they were told."""
    new_hall(client, admin)
    told: list[tuple[str, str]] = []
    strange: list[object] = []
    together = threading.Barrier(BUYERS)

    def buy(number: int) -> None:
        mine, chance = client.application.test_client(), Random(number)
        seats = seats_of_the_hall(mine)
        together.wait(30)
        for attempt in range(1_000):
            free = [seat for seat, state in zip(seats, states(mine), strict=True) if not state]
            named = {"seats": chance.sample(free, min(len(free), 2))}
            best = [{"quantity": 1}, {"quantity": 2, "together": True}, {"quantity": 1, "section": "bal-con"}]
            answer = mine.post("/events/hall/orders", json=chance.choice([*best, named] if free else best))
            if answer.status_code == 201:
                if attempt < 5 and chance.random() < 0.5:
                    assert mine.delete(f"/events/hall/orders/{answer.json['order']}").status_code == 200
                else:
                    told.extend((seat, answer.json["order"]) for seat in answer.json["seats"])
            elif answer.json["code"] == "sold_out" and answer.json["remaining"] == 0:
                return
            elif answer.json["code"] not in {
                "seat_taken", "sold_out", "section_sold_out", "not_together", "contention",
            }:  # fmt: skip
                strange.append(answer.json)
        strange.append("never sold out")

    run_together(buy)
    assert strange == []
    assert owners(client, admin) == {seat: [order] for seat, order in told}
    assert len(told) == SIZE
    assert states(client) == [2] * SIZE


def run_together(buy: Any, count: int = BUYERS) -> None:
    """Call it in as many threads, with their number; the first error of any is raised."""
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            buy(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    if failed:
        raise failed[0]


@contextmanager
def two_meet_before_they_write(path: Path) -> Iterator[None]:
    """A scheduler that lets nobody write before two are about to."""
    meeting = threading.Barrier(2)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def let_go(line: socket.socket) -> None:
        with line:
            heard = json.loads(line.makefile("rb").readline())
            if heard.get("gate") == "append":
                meeting.wait(30)
            if "gate" in heard:
                line.sendall(b"go\n")

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=let_go, args=(line,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def sell_one_seat_twice(client: FlaskClient, admin: dict[str, str], gates: Path) -> None:
    """The negative control, of an office without a guard at these gates."""
    with two_meet_before_they_write(gates):
        new_hall(client, admin)
        answers = []

        def buy(_: int) -> None:
            mine = client.application.test_client()
            answers.append(mine.post("/events/hall/orders", json={"seats": ["stalls-B-2"]}))

        run_together(buy, 2)
    assert [answer.status_code for answer in answers] == [201, 201]
    orders = sorted(answer.json["order"] for answer in answers)
    assert sorted(owners(client, admin)["stalls-B-2"]) == orders
    assert sum(states(client)) == 2, "and on the map one seat is sold"


def follow_the_map(client: FlaskClient, admin: dict[str, str]) -> None:
    """What is bought, held, given back and expired stands on the map, and in what changed since a version."""
    new_hall(client, admin)
    clock = [NOW]
    client.application.extensions["office"].clock = lambda: clock[0]
    seats = seats_of_the_hall(client)
    known, born = states(client), client.get("/events/hall/seats").json["born"]
    version = 0

    def follow(**expected: int) -> None:
        """The changes since the last look are these seats, now in these states; the map agrees with them."""
        nonlocal version
        answer = client.get(f"/events/hall/seats?since={version}&born={born}").json
        version = answer["version"]
        assert {seats[index]: state for index, state in answer["changes"]} == {
            seat.replace("_", "-"): state for seat, state in expected.items()
        }
        for index, state in answer["changes"]:
            known[index] = state
        assert known == states(client)
        assert (answer["free"], answer["held"], answer["sold"]) == tuple(known.count(state) for state in (0, 1, 2))

    def post(path: str, **body: Any) -> Any:
        answer = client.post(f"/events/hall/{path}", json=body or None)
        assert answer.status_code in {200, 201}, answer.json
        return answer.json

    order = post("orders", seats=["stalls-A-3", "stalls-D-6"])["order"]
    follow(stalls_A_3=2, stalls_D_6=2)
    assert client.delete(f"/events/hall/orders/{order}").status_code == 200
    follow(stalls_A_3=0, stalls_D_6=0)
    held = post("holds", quantity=2, together=True, section="bal-con", seconds=60)
    assert held["seats"] == ["bal-con-Z-2", "bal-con-Z-3"]
    short = post("holds", seats=["stalls-A-1", "stalls-A-2"], seconds=1)
    follow(**{"bal_con_Z_2": 1, "bal_con_Z_3": 1, "stalls_A_1": 1, "stalls_A_2": 1})
    clock[0] += timedelta(seconds=2)
    assert post("orders", seats=["stalls-A-2"])["seats"] == ["stalls-A-2"]
    assert post(f"holds/{held['hold']}/confirm")["seats"] == held["seats"]
    follow(**{"bal_con_Z_2": 2, "bal_con_Z_3": 2, "stalls_A_1": 0, "stalls_A_2": 2})
    late = client.post(f"/events/hall/holds/{short['hold']}/confirm")
    assert (late.status_code, late.json["code"]) == (409, "hold_expired"), "one of its two seats is somebody else's"
    taken = client.post("/events/hall/orders", json={"seats": ["stalls-A-1", "stalls-A-2", "bal-con-Z-2"]})
    assert (taken.json["code"], taken.json["seats"]) == ("seat_taken", ["stalls-A-2", "bal-con-Z-2"])
    free = post("holds", seats=["stalls-C-2", "stalls-C-1"], seconds=1)
    assert client.delete(f"/events/hall/holds/{free['hold']}").status_code == 200
    again = post("holds", seats=["stalls-C-2", "stalls-C-1"], seconds=1)
    clock[0] += timedelta(seconds=2)
    assert post(f"holds/{again['hold']}/confirm")["seats"] == ["stalls-C-2", "stalls-C-1"], "late, and they are free"
    follow(stalls_C_1=2, stalls_C_2=2)
    assert "states" in client.get(f"/events/hall/seats?since={version + 1}&born={born}").json
    assert "states" in client.get(f"/events/hall/seats?since={version}&born=another").json


def buy_in_a_cart(client: FlaskClient, admin: dict[str, str]) -> None:
    """Seats in two halls, and a number beside them: all or none."""
    new_hall(client, admin)
    new_hall(client, admin, "other")

    def cart(key: str, here: str, there: str) -> Any:
        items = [
            {"event": "hall", "seats": [here, "stalls-D-1"]},
            {"event": "show", "quantity": 1},
            {"event": "other", "seats": [there]},
        ]
        return client.post("/carts", json={"items": items}, headers={"Idempotency-Key": key})

    sold = cart("a", "stalls-A-1", "bal-con-Z-5")
    assert sold.status_code == 201, sold.json
    assert [order.get("seats") for order in sold.json["orders"]] == [
        ["stalls-A-1", "stalls-D-1"], None, ["bal-con-Z-5"],
    ]  # fmt: skip
    before = [client.get(f"/events/{event}").json["version"] for event in ("hall", "show", "other")]
    refused = cart("b", "stalls-A-2", "bal-con-Z-5")
    assert (refused.status_code, refused.json["code"], refused.json["event"]) == (409, "seat_taken", "hall")
    assert client.delete(f"/events/hall/orders/{sold.json['orders'][0]['order']}").status_code == 200
    refused = cart("c", "stalls-A-1", "bal-con-Z-5")
    assert (refused.json["code"], refused.json["event"], refused.json["seats"]) == (
        "seat_taken", "other", ["bal-con-Z-5"],
    )  # fmt: skip
    assert sum(states(client)) == 0
    assert sum(states(client, "other")) == 2
    after = [client.get(f"/events/{event}").json["version"] for event in ("hall", "show", "other")]
    assert after == [before[0] + 1, *before[1:]]
    assert cart("d", "stalls-A-1", "bal-con-Z-4").status_code == 201
    assert (sum(states(client)), sum(states(client, "other"))) == (4, 4)
