"""Valkey refuses, goes away and comes back in the sale: what the buyer is told, and whether it is true."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
import redis
from flask.testing import FlaskClient
from typed import wait_for
from valkey_offices import FAR, GUARDS, SHORT_S, WRITERS, beside, buy, keys, sell, told

from loadtests.lab.servers.valkey import ValkeyServer
from service.errors import TABLE, Problem
from service.rules.inventory import Event
from service.stores.redis.engine import Engine
from service.stores.redis.store import Redis

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("guard", GUARDS)
def test_an_engine_that_is_gone_is_a_definite_refusal_and_back_again_it_sells_on(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, guard: str
) -> None:
    client = open_office(url, guard=guard)
    assert buy(client, "a").status_code == 201
    server.kill()
    for _ in range(3):
        assert told(buy(client, "b")) == (503, "engine_unreachable", True)
    assert client.get("/readyz").status_code == 503
    server.start()
    assert buy(client, "c").status_code == 201
    assert keys(client) == ["a", "c"]


@pytest.mark.parametrize("guard", WRITERS)
def test_an_answer_that_does_not_come_is_indefinite_and_the_same_key_tells_what_became_of_it(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine stands still in the moment in which it was asked to write: it writes when it goes on."""
    client = open_office(url, guard=guard, lock_timeout_s=SHORT_S, lease_ms=60_000)
    assert buy(client, "a").status_code == 201
    _stand_still_before_the_write(server, monkeypatch)
    status, code, definite = told(buy(client, "b"))
    server.resume()
    assert (status, code, definite) == (504, "outcome_unknown", False)
    monkeypatch.undo()
    beside(server).delete("{fresh-1}:event:show:lease")
    again = wait_for(lambda: (answer := buy(client, "b")).status_code == 201 and answer, "an answer")
    assert again.json["tickets"] == [2]
    assert keys(client) == ["a", "b"]


def _stand_still_before_the_write(server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set as soon as the write is on its way to it."""
    sent, on_its_way = Engine.exchange_all, threading.Event()

    def exchange_all(self: Engine, connection: Any, commands: Any, *, writes: bool) -> Any:
        if writes:
            server.pause()
            send = connection.send_packed_command

            def send_and_say(*given: Any, **more: Any) -> None:
                send(*given, **more)
                on_its_way.set()

            connection.send_packed_command = send_and_say
        return sent(self, connection, commands, writes=writes)

    monkeypatch.setattr(Engine, "exchange_all", exchange_all)
    return on_its_way


@pytest.mark.parametrize("guard", WRITERS)
def test_an_engine_killed_after_it_was_asked_to_write_is_indefinite(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_office(url, guard=guard, lease_ms=60_000)
    on_its_way = _stand_still_before_the_write(server, monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(buy, client, "a")
        assert on_its_way.wait(FAR)
        server.kill()
        assert told(asked.result(FAR)) == (504, "outcome_unknown", False)
    monkeypatch.undo()
    server.start()
    beside(server).delete("{fresh-1}:event:show:lease")
    assert buy(client, "a").status_code == 201
    assert keys(client) == ["a"]


def _full(engine: redis.Redis) -> None:
    engine.config_set("maxmemory", "1")


def _replica(engine: redis.Redis) -> None:
    engine.replicaof("127.0.0.1", "1")


def _without_its_replicas(engine: redis.Redis) -> None:
    engine.config_set("min-replicas-to-write", "1")


def _heal(engine: redis.Redis) -> None:
    engine.config_set("maxmemory", "0")
    engine.replicaof("NO", "ONE")
    engine.config_set("min-replicas-to-write", "0")


class Refusing(NamedTuple):
    make: Callable[[redis.Redis], None]
    status: int
    code: str
    says: str


REFUSING = {
    "full": Refusing(_full, 507, "storage_full", "maxmemory"),
    "replica": Refusing(_replica, 503, "engine_refused", "name the primary"),
    "alone": Refusing(_without_its_replicas, 503, "engine_refused", "min-replicas-to-write"),
}


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("refusing", REFUSING.values(), ids=REFUSING)
def test_an_engine_that_refuses_wrote_nothing_and_says_what_to_do(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, guard: str, refusing: Refusing
) -> None:
    client = open_office(url, guard=guard)
    assert buy(client, "a").status_code == 201
    refusing.make(beside(server))
    answer = buy(client, "b")
    assert told(answer) == (refusing.status, refusing.code, True)
    assert refusing.says in answer.json["detail"]
    assert "Nothing was written" in answer.json["detail"]
    assert client.get("/events/show").json["sold"] == 1, "reading goes on"
    _heal(beside(server))
    assert buy(client, "c").status_code == 201
    assert keys(client) == ["a", "c"]


SAID = {
    "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable": "storage_refused",
    "BUSY Valkey is busy running a script": "engine_refused",
    "CLUSTERDOWN The cluster is down": "engine_refused",
    "MOVED 3999 127.0.0.1:6381": "engine_refused",
    "LOADING Valkey is loading the dataset in memory": "engine_unreachable",
    "NOPERM this user has no permissions": "engine_refused",
    "MASTERDOWN Link with MASTER is down": "engine_refused",
    "ERR max number of clients reached": "engine_refused",
}


@pytest.mark.parametrize(("said", "code"), SAID.items(), ids=[said.split()[0] for said in SAID])
def test_whatever_the_engine_says_instead_of_running_a_script_is_definite(said: str, code: str) -> None:
    from redis._parsers.base import BaseParser

    problem = Engine("redis://h", 1, 1.0).problem(BaseParser.parse_error(said))
    assert isinstance(problem, Problem)
    assert (problem.code, TABLE[problem.code].definite) == (code, True)


def test_an_error_inside_a_script_is_nobodys_definite_refusal() -> None:
    """It may have come after the first write: no code, so the office says `internal`, indefinite."""
    error = redis.ResponseError("ERR user_script:7: attempt to index a nil value script: 12ab, on @user_script:7.")
    assert Engine("redis://h", 1, 1.0).problem(error) is error


@pytest.mark.parametrize("guard", GUARDS)
def test_an_engine_that_has_forgotten_the_scripts_is_told_them_again(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, guard: str
) -> None:
    client = open_office(url, guard=guard)
    for key in "abc":
        beside(server).script_flush()
        assert buy(client, key).status_code == 201
    assert keys(client) == ["a", "b", "c"]


def test_who_finds_no_connection_free_is_refused_definitely(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str
) -> None:
    client = open_office(url, pool=1, lock_timeout_s=SHORT_S)
    store = client.application.extensions["office"].store
    with store._engine.connection():
        answer = buy(client)
        assert told(answer) == (503, "pool_exhausted", True)
        assert "LASTSEAT_POOL" in answer.json["detail"]
    assert buy(client).status_code == 201


def test_an_idle_connection_that_the_engine_has_closed_is_replaced_and_nobody_notices(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str
) -> None:
    client = open_office(url)
    for key in "abc":
        beside(server).client_kill_filter(_type="normal", skipme=True)
        assert buy(client, key).status_code == 201


def test_no_connection_crosses_a_fork(store: Redis) -> None:
    """Child and parent ask in turns; answers on one shared connection would be mixed up."""
    store.view("show")
    mine = store._engine._idle[0]
    child = os.fork()
    if not child:
        try:
            for _ in range(10):
                store.append(sell(store, f"child-{os.urandom(4).hex()}"))
            os._exit(0 if store._engine._idle[0] is not mine else 3)
        finally:
            os._exit(1)
    for _ in range(10):
        store.view("show")
    assert os.waitpid(child, 0)[1] == 0
    assert store._engine._idle[0] is mine
    assert len(list(store.audit("show")[1])) == 10


@pytest.mark.parametrize("guard", WRITERS)
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_nothing_acknowledged_is_lost_when_the_engine_is_restarted_in_the_sale(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, guard: str, how: str
) -> None:
    client = open_office(url, guard=guard, lease_ms=100)
    office = client.application.extensions["office"]
    office.create(Event("hall", "Hall", 100_000, lab=True))
    sold: list[str] = []
    unknown: list[str] = []
    others: set[str] = set()
    over = threading.Event()

    def keep_buying(name: int) -> None:
        serial = 0
        while not over.is_set():
            serial += 1
            key = f"{name}-{serial}"
            try:
                office.buy("hall", key=key, request="", quantity=1, buyer=None)
                sold.append(key)
            except Problem as problem:
                (others.add(problem.code) if problem.kind.definite else unknown.append(key))
                over.wait(0.005)

    with ThreadPoolExecutor(4) as pool:
        buyers = [pool.submit(keep_buying, name) for name in range(4)]
        try:
            for _ in range(3):
                before = len(sold)
                wait_for(lambda before=before: len(sold) > before + 20, "twenty sales")  # type: ignore[misc]
                getattr(server, how)()
                server.start()
            before = len(sold)
            wait_for(lambda: len(sold) > before + 20, "sales after the last restart")
        finally:
            over.set()
        for buyer in buyers:
            buyer.result(FAR)
    recorded = [record.key for record in office.audit("hall")[1]]
    assert set(sold) <= set(recorded), "an acknowledged sale is lost"
    assert len(recorded) == len(set(recorded))
    assert set(recorded) <= {*sold, *unknown}, "a definite refusal was written"
    assert others <= {"engine_unreachable", "lock_timeout", "contention", "lease_lost", "pool_exhausted"}
