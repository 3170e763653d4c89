"""SIGTERM in the middle of a sale: what was begun is answered, what was answered is there, nobody gets half of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from pathlib import Path

import pytest
from typed import Answer, Typed, flock_holders, send_raw, wait_for

from service.app import create_app
from service.errors import Problem
from service.settings import Settings

pytestmark = pytest.mark.servers

MODELS = ("-w 3", "-k gthread --threads 4 -w 2", "-k gevent -w 2")
BUYERS = 6
ENOUGH = 30


class Sale:
    """Buyers who buy one ticket after another until nobody answers any more."""

    def __init__(self, server: Typed) -> None:
        self._server = server
        self._mutex = threading.Lock()
        self.answers: list[Answer] = []
        self.broken: list[Exception] = []
        self.under_way = threading.Event()
        self._buyers = [threading.Thread(target=self._buy) for _ in range(BUYERS)]
        for buyer in self._buyers:
            buyer.start()

    def _buy(self) -> None:
        while True:
            try:
                answer = self._server.buy()
            except http.client.IncompleteRead as half:
                self.broken.append(half)
                return
            except (OSError, http.client.HTTPException):
                return  # no answer at all: nobody listens any more
            with self._mutex:
                self.answers.append(answer)
                if len(self.answers) >= ENOUGH:
                    self.under_way.set()

    def end(self) -> None:
        for buyer in self._buyers:
            buyer.join(30)
            assert not buyer.is_alive()


@pytest.mark.parametrize("store", ["json", "journal"])
@pytest.mark.parametrize("model", MODELS)
def test_a_stop_in_the_middle_of_a_sale_leaves_nothing_half_done(tmp_path: Path, model: str, store: str) -> None:
    settings = {"LASTSEAT_EVENT": "show:100000", "LASTSEAT_STORE": store, "LASTSEAT_ADMIN_TOKEN": "test-token"}
    # A little time between reading and writing, so that the signal finds purchases under way.
    with Typed(f"{model} service:app", tmp_path / "office", LASTSEAT_THINK_MS="5", **settings) as server:
        sale = Sale(server)
        assert sale.under_way.wait(30)
        os.kill(server.pid, signal.SIGTERM)
        sale.end()
        status = server.status_at_exit(30)
        assert status == 0
        assert sale.broken == []
        # A purchase that was still waiting may be told to come again, definitely; an error of ours there is none.
        refused = [answer for answer in sale.answers if answer.status != 201]
        assert [answer for answer in refused if answer.status < 503 or not answer.json["definite"]] == []
        assert "Traceback" not in server.said
    told = {answer.json["order"] for answer in sale.answers if answer.status == 201}
    with Typed("service:app", tmp_path / "office", **settings) as again:
        recorded = [record["order"] for record in again.records()]
    assert told <= set(recorded)
    assert len(set(recorded)) == len(recorded)


@pytest.mark.parametrize("model", MODELS)
def test_a_purchase_that_is_being_decided_when_the_stop_comes_is_answered(tmp_path: Path, model: str) -> None:
    with Typed(f"{model} service:app", tmp_path / "office", LASTSEAT_THINK_MS="1500") as server:
        answered: list[bytes] = []
        body = b'{"quantity":1}'
        request = (
            b"POST /events/show/orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        buyer = threading.Thread(target=lambda: answered.append(send_raw(server.port, request)))
        buyer.start()
        _wait_until_decided(server)
        os.kill(server.pid, signal.SIGTERM)
        buyer.join(30)
        assert server.status_at_exit(30) == 0
    [answer] = answered
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201"), answer
    assert json.loads(content)["tickets"] == [1]


def _wait_until_decided(server: Typed) -> None:
    """Until somebody has the guard's lock."""
    wait_for(lambda: flock_holders(server.data / "locks" / "show.lock"), "somebody with the guard")


def test_a_process_that_is_being_stopped_says_that_it_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings(data=tmp_path / "data"))
    client = app.test_client()
    assert client.get("/readyz").status_code == 200
    monkeypatch.setattr(app.extensions["readiness"], "_stopping", lambda: True)
    refused = client.get("/readyz")
    assert (refused.status_code, refused.json["code"]) == (503, "stopping")
    assert client.get("/healthz").status_code == 200


def test_an_office_whose_directory_was_taken_away_is_not_ready(tmp_path: Path) -> None:
    client = create_app(Settings(data=tmp_path / "data")).test_client()
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    refused = client.get("/readyz")
    assert (refused.status_code, refused.json["code"]) == (503, "storage_refused")
    (tmp_path / "data").mkdir()
    assert client.get("/readyz").json["code"] == "storage_refused"
    (tmp_path / "data").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "data")
    assert client.get("/readyz").status_code == 200


def test_an_office_whose_store_is_closed_is_not_ready(tmp_path: Path) -> None:
    app = create_app(Settings(data=tmp_path / "data"))
    app.extensions["office"].control.close_store()
    refused = app.test_client().get("/readyz")
    assert (refused.status_code, refused.json["code"]) == (503, "store_closed")


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), Problem("storage_refused")])
def test_an_office_whose_engine_is_gone_is_not_ready(
    tmp_path: Path, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(Settings(data=tmp_path / "data"))

    def gone() -> list[str]:
        raise failure

    monkeypatch.setattr(app.extensions["office"].store, "names", gone)
    refused = app.test_client().get("/readyz")
    assert (refused.status_code, refused.json["code"]) == (503, "storage_refused")
