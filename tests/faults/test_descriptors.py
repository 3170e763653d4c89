"""Few file descriptors, and a crowd that only connects: a definite refusal, which closes nothing."""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from disks import no_descriptor_left
from flask.testing import FlaskClient
from injected import failing
from test_disk_of_every_store import every_store
from typed import Answer, Typed, wait_for

from loadtests.lab.faults.disk.tracing import SYNCS
from loadtests.lab.faults.process.no_descriptors import NoDescriptors
from loadtests.lab.faults.processes import replaced_by_master
from loadtests.lab.servers.office import RunningOffice
from service.errors import Problem
from service.runtime.files import storage_problems


def limited_to(descriptors: int) -> list[str]:
    return ["prlimit", f"--nofile={descriptors}:{descriptors}"]


@contextmanager
def crowd(server: Typed, count: int) -> Iterator[None]:
    """So many who connect and say nothing."""
    with ExitStack() as connected:
        for _ in range(count):
            each = socket.socket()
            connected.enter_context(each)
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", server.port))
        yield


class Early:
    """A buyer who was connected before the crowd came."""

    def __init__(self, server: Typed) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        self._connection.connect()

    def buy(self) -> Answer:
        body, headers = json.dumps({"quantity": 1}), {"Content-Type": "application/json"}
        self._connection.request("POST", "/events/show/orders", body, headers)
        answer = self._connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())  # type: ignore[arg-type]


@pytest.mark.servers
@every_store
@pytest.mark.parametrize("worker", ["gevent", "gthread --threads 4"])
def test_a_crowd_that_only_connects_leaves_the_store_open_and_the_descriptors_to_sell(
    tmp_path: Path, store: str, worker: str
) -> None:
    """The first purchase of the process is among them: it opens its files when the crowd is there."""
    with Typed(f"-k {worker} service:app", tmp_path / "here", through=limited_to(128), LASTSEAT_STORE=store) as server:
        early = [Early(server) for _ in range(4)]
        with crowd(server, 300):
            assert [each.buy().status for each in early] == [201] * 4
        assert wait_for(lambda: server.buy().status == 201, "the crowd is gone")
        assert len(server.records()) == 5
        assert server.call("GET", "/readyz").status == 200
        assert re.search(
            r"only 128 file descriptors: it takes at most \d+ connections at once instead of 1000", server.said
        )
        assert "Traceback" not in server.said


@pytest.mark.servers
@every_store
@pytest.mark.parametrize("descriptors", [36, 40, 44])
def test_with_hardly_any_descriptor_every_refusal_is_definite_and_every_sale_is_there(
    tmp_path: Path, store: str, descriptors: int
) -> None:
    through = limited_to(descriptors)
    with Typed("-k gevent service:app", tmp_path / "here", through=through, LASTSEAT_STORE=store).launch() as server:
        wait_for(lambda: "Booting worker" in server.said, "a worker")
        answers: list[Answer] = []
        early = [Early(server) for _ in range(4)]
        with crowd(server, 60):
            answers += [each.buy() for each in early]
        answers += [server.buy() for _ in range(5)]
        for answer in answers:
            assert answer.status == 201 or (answer.status, answer.json["definite"]) == (503, True), answer
        assert len(server.records()) == sum(answer.status == 201 for answer in answers)
        assert "Traceback" not in server.said


@every_store
def test_whatever_is_asked_where_nothing_can_be_opened_is_done_or_definitely_refused(
    make_client: Callable[..., FlaskClient], admin: dict[str, str], store: str
) -> None:
    """Of events that this process has never opened, of one that it sells, of new ones; and the switch."""
    make_client(store=store, first_event=("show", 50))
    client = make_client(store=store, first_event=None)
    other = make_client(store=store, first_event=None)
    for event in ("gala", "ball"):
        assert other.post("/events", json={"event": event, "capacity": 5}, headers=admin).status_code == 201
    new, one = {"event": "new", "capacity": 5}, {"quantity": 1}

    def ask_everything() -> list[tuple[int, str]]:
        answers = [
            *(client.post(f"/events/{event}/orders", json=one) for event in ("show", "gala", "show")),
            client.post("/events/show/holds", json=one),
            client.post("/carts", json={"items": [{"event": "show", "quantity": 1}, {"event": "gala", "quantity": 1}]}),
            client.get("/events"),
            client.get("/events/gala"),
            client.get("/events/gala/audit", headers=admin),
            client.get("/readyz"),
            client.post("/events", json=new, headers=admin),
            client.delete("/events/ball", headers=admin),
            client.put("/guard", json={"guard": "none"}, headers=admin),
        ]
        return [(answer.status_code, (answer.get_json(silent=True) or {}).get("code", "")) for answer in answers]

    with no_descriptor_left():
        refused = ask_everything()
    assert {code for status, code in refused if status >= 400} <= {"storage_refused", "not_supported"}
    assert (503, "storage_refused") in refused
    assert client.get("/readyz").status_code == 200
    sold = client.get("/events/show").json["version"] + client.get("/events/gala").json["version"]
    assert sold == sum(status == 201 for status, _ in refused[:4]) + 2 * (refused[4][0] == 201)
    assert {status for status, code in ask_everything() if code != "not_supported"} <= {200, 201, 204, 404, 409}


@pytest.mark.parametrize(("error", "seconds"), [(errno.EMFILE, 1), (errno.ENFILE, 1), (errno.EIO, 5)])
def test_who_is_refused_for_want_of_descriptors_is_asked_back_soon(error: int, seconds: int) -> None:
    with pytest.raises(Problem) as refused, storage_problems():
        raise OSError(error, os.strerror(error))
    assert refused.value.retry_after_s == seconds


@pytest.mark.servers
@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_a_worker_without_a_descriptor_for_a_connection_does_not_end_and_takes_it_later(
    serve: Callable[..., RunningOffice], worker: str
) -> None:
    office = serve(worker=worker, store="journal", guard="on")
    shortage, before = NoDescriptors(), replaced_by_master(office)
    try:
        shortage.begin(office)
        waiting = http.client.HTTPConnection("127.0.0.1", int(office.url.rpartition(":")[2]), timeout=60)
        waiting.request("GET", "/readyz")
        assert wait_for(lambda: "no descriptor is left for a connection" in office.log.read_text(), "it was refused")
    finally:
        shortage.heal(office)
    assert waiting.getresponse().status == 200
    waiting.close()
    assert replaced_by_master(office) == before
    assert "Exception in worker process" not in office.log.read_text()


@pytest.mark.servers
def test_a_store_that_a_failed_sync_closed_says_in_the_log_of_which_file_and_why(tmp_path: Path) -> None:
    with Typed("service:app", tmp_path / "here", LASTSEAT_STORE="journal") as server:
        with failing(server, SYNCS, "EIO"):
            assert server.buy().code == "not_durable"
        assert "the store is closed for all processes" in server.said
        assert "journal/show/00000001.jsonl failed: Input/output error (errno 5)" in server.said
