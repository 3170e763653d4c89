"""A scheduler that is gone: before the commit the purchase is refused for certain, after it the buyer is answered."""

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
def scheduler(path: Path, leaves_at: str) -> Iterator[list[str]]:
    """Lets everybody go on until somebody comes to one gate; there it hangs up. Yields the gates it saw."""
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
                    line.sendall(b"go\n")

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
    with scheduler(tmp_path / "gates", leaves_at="") as seen:
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
