"""A scheduler that is gone: before the commit the purchase is refused for certain, after it the buyer is answered. And
what a scheduler decides besides: that the disk refuses, what time it is, when the sweeper looks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from flask.testing import FlaskClient

from service.experiments.gates import GATES


@contextmanager
def scheduler(path: Path, leaves_at: str = "", refuses_at: str = "") -> Iterator[list[str]]:
    """Lets everybody go on until somebody comes to one gate; there it hangs up, or has the disk refuse. Yields the
    gates it saw."""
    seen: list[str] = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line:
                heard = msgspec.json.decode(line.makefile("rb").readline())
                seen.append(heard["gate"])
                if heard["gate"] != leaves_at:
                    line.sendall(b"refuse\n" if heard["gate"] == refuses_at else b"go\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def buy(client: FlaskClient) -> tuple[int, dict[str, object]]:
    answer = client.post("/events/show/orders", json={"quantity": 1})
    return answer.status_code, answer.get_json()


def test_a_purchase_passes_all_gates_in_order(make_client: Callable[..., FlaskClient], tmp_path: Path) -> None:
    with scheduler(tmp_path / "gates") as seen:
        status, _ = buy(make_client(gates=str(tmp_path / "gates"), gates_patience_s=5))
    assert status == 201
    assert tuple(seen) == GATES


@pytest.mark.parametrize("gate", ["acquire", "view", "append"])
def test_without_its_scheduler_a_purchase_is_refused_definitely_before_the_commit(
    make_client: Callable[..., FlaskClient], tmp_path: Path, gate: str
) -> None:
    with scheduler(tmp_path / "gates", leaves_at=gate):
        client = make_client(gates=str(tmp_path / "gates"), gates_patience_s=5)
        status, problem = buy(client)
    assert (status, problem["code"], problem["definite"]) == (503, "scheduler_gone", True)
    assert client.get("/events/show").get_json()["version"] == 0


@pytest.mark.parametrize("gate", ["release", "durable", "answer"])
def test_after_the_commit_the_buyer_gets_the_outcome(
    make_client: Callable[..., FlaskClient], tmp_path: Path, gate: str
) -> None:
    with scheduler(tmp_path / "gates", leaves_at=gate):
        client = make_client(gates=str(tmp_path / "gates"), gates_patience_s=5)
        status, _ = buy(client)
    assert status == 201
    assert client.get("/events/show").get_json()["version"] == 1


def test_a_scheduler_that_was_never_there_refuses_every_purchase_and_nothing_else(
    make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    client = make_client(gates=str(tmp_path / "nobody"), gates_patience_s=5)
    assert buy(client)[1]["code"] == "scheduler_gone"
    assert client.get("/events/show").status_code == 200


def test_a_disk_that_is_full_before_a_write_refuses_definitely_and_the_next_purchase_is_sold(
    make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    client = make_client(gates=str(tmp_path / "gates"), gates_patience_s=5)
    with scheduler(tmp_path / "gates", refuses_at="append"):
        _, problem = buy(client)
    assert (problem["code"], problem["definite"]) == ("storage_full", True)
    (tmp_path / "gates").unlink()
    with scheduler(tmp_path / "gates"):
        assert buy(client)[0] == 201


def test_a_sync_that_fails_leaves_the_outcome_open_and_closes_the_store(
    make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    client = make_client(gates=str(tmp_path / "gates"), gates_patience_s=5)
    with scheduler(tmp_path / "gates", refuses_at="durable"):
        _, problem = buy(client)
        _, after = buy(client)
    assert (problem["code"], problem["definite"]) == ("not_durable", False)
    assert (after["code"], after["definite"]) == ("store_closed", True)


def test_a_hold_ends_by_the_clock_of_the_scheduler_and_the_sweeper_looks_when_it_is_asked(
    make_client: Callable[..., FlaskClient], tmp_path: Path, admin: dict[str, str]
) -> None:
    clock = tmp_path / "clock"
    clock.write_bytes((10**18).to_bytes(8, "little"))
    client = make_client(gates=str(tmp_path / "gates"), gates_patience_s=5)
    with scheduler(tmp_path / "gates"):
        held = client.post("/events/show/holds", json={"quantity": 10, "seconds": 60}).get_json()
        assert held["expires_at"].startswith("2001-09-09T01:47:40")
        sweeps = [client.post("/events/show/sweep", headers=admin).get_json()]
        sold = [buy(client)[0]]
        clock.write_bytes((10**18 + 60 * 10**9).to_bytes(8, "little"))
        sweeps.append(client.post("/events/show/sweep", headers=admin).get_json())
        sold.append(buy(client)[0])
    assert sweeps == [{"swept": False}, {"swept": True}]
    assert sold == [409, 201]


def test_the_doors_close_by_the_clock_of_the_scheduler(
    make_client: Callable[..., FlaskClient], tmp_path: Path, admin: dict[str, str]
) -> None:
    clock = tmp_path / "clock"
    clock.write_bytes((10**18).to_bytes(8, "little"))
    client = make_client(gates=str(tmp_path / "gates"), gates_patience_s=5)
    with scheduler(tmp_path / "gates"):
        closing = client.patch("/events/show", json={"closes_at": "2001-09-09T01:47:00Z"}, headers=admin)
        assert closing.status_code == 200, closing.get_json()
        before = buy(client)
        clock.write_bytes((10**18 + 60 * 10**9).to_bytes(8, "little"))
        after = buy(client)
    assert (before[0], after[1]["code"]) == (201, "doors_closed")


def test_outside_of_experiments_nobody_can_ask_for_a_sweep(client: FlaskClient, admin: dict[str, str]) -> None:
    assert client.post("/events/show/sweep", headers=admin).status_code == 404
