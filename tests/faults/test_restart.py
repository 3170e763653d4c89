"""Everything killed at once, and started again: what was sold is sold, byte for byte, under the next epoch."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

import pytest
from typed import Answer, Typed, flock_holders, wait_for

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("arguments", ["-w 2 service:app", "-k gthread --threads 4 service:app"], ids=str)
def test_after_kill_9_of_everything_the_audit_has_the_same_bytes_and_the_epoch_grows_by_one(
    tmp_path: Path, arguments: str
) -> None:
    with Typed(arguments, tmp_path / "here") as server:
        sold = server.buy(quantity=3, headers={"Idempotency-Key": "k1"})
        server.call("DELETE", f"/events/show/orders/{server.buy().json['order']}")
        assert server.call("PUT", "/guard", {"guard": "off"}).json["epoch"] == 2
        before = server.audit()
        server.kill()
        server.start()
        assert server.audit() == before
        # A new master starts with the guard of its settings, whatever was switched before.
        assert server.call("GET", "/guard").json == {
            "guard": "file",
            "epoch": 3,
            "guards": ["none", "thread", "file", "leaky"],
        }
        again = server.buy(quantity=3, headers={"Idempotency-Key": "k1"})
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (again.status, again.json) == (sold.status, sold.json)
        assert server.buy().json["tickets"] == [5]


def test_after_kill_9_in_the_middle_of_many_purchases_all_that_was_acknowledged_is_there(tmp_path: Path) -> None:
    with Typed("-w 3 service:app", tmp_path / "here", LASTSEAT_EVENT="show:10000") as server:
        acknowledged: list[Answer] = []
        killed = threading.Event()

        def keep_buying() -> None:
            while not killed.is_set():
                try:
                    acknowledged.append(server.buy())
                except (OSError, http.client.HTTPException):
                    return

        buyers = [threading.Thread(target=keep_buying) for _ in range(6)]
        for buyer in buyers:
            buyer.start()
        wait_for(lambda: len(acknowledged) >= 60, "sixty purchases")
        server.kill()
        killed.set()
        for buyer in buyers:
            buyer.join()
        server.start()

        assert all(answer.status == 201 for answer in acknowledged)
        told = {answer.json["order"]: answer.json["tickets"] for answer in acknowledged}
        records = server.records()
        written = {record["order"]: record["tickets"] for record in records}
        assert told.items() <= written.items()
        assert len(written) - len(told) <= len(buyers)
        assert [record["version"] for record in records] == list(range(1, len(records) + 1))
        assert sorted(ticket for tickets in written.values() for ticket in tickets) == list(range(1, len(records) + 1))
        assert list((server.data / "events").glob("*.tmp")) == []


def test_a_server_that_is_asked_to_end_finishes_the_purchase_under_way(tmp_path: Path) -> None:
    with Typed("service:app", tmp_path / "here", LASTSEAT_THINK_MS="1500") as server:
        answers: list[Answer] = []
        buyer = threading.Thread(target=lambda: answers.append(server.buy()))
        buyer.start()
        wait_for(lambda: inside(server), "the purchase inside")
        server.end()
        buyer.join()
        assert [answer.status for answer in answers] == [201]
        server.start()
        assert [record["order"] for record in server.records()] == [answers[0].json["order"]]


def inside(server: Typed) -> bool:
    return bool(flock_holders(server.data / "locks" / "show.lock") & set(server.workers()))
