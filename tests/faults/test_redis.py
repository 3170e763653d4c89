"""Valkey refuses, goes away, comes back, comes back empty or older: what the buyer is told, and whether it is true.

Each on a private server of its own that may be killed. The office runs in this process, over its HTTP interface.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from flask.testing import FlaskClient
from typed import wait_for

from loadtests.lab.engines import NoEngine, set_up
from loadtests.lab.valkey_server import ValkeyServer
from service.control import Mode, Switched, taking_part
from service.errors import TABLE, Problem, RefusedToStart
from service.inventory import Event, Record, Sell, View, decide_all, records_of
from service.settings import Settings
from service.stores import LateToken
from service.stores.redis import Redis
from service.stores.redis_engine import Engine

pytestmark = pytest.mark.servers
FAR = 30.0
SHORT_S = 0.4
PASSWORD = "s3cret-w0rd"
GUARDS = ["none", "thread", "optimistic", "atomic", "lease", "fenced"]
WRITERS = [guard for guard in GUARDS if guard not in {"none", "thread"}]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path / "valkey") as running:
        yield running


@pytest.fixture
def url(server: ValkeyServer) -> str:
    made = server.fresh_database()
    set_up(made)
    return made


@pytest.fixture
def open_office(make_client: Callable[..., FlaskClient]) -> Iterator[Callable[..., FlaskClient]]:
    opened = []

    def make(url: str, **settings: Any) -> FlaskClient:
        client = make_client(store="redis", store_url=url, **({"lock_timeout_s": 5.0, "lease_ms": 300} | settings))
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.application.extensions["office"].store.close()


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[Redis]:
    opened = open_store(url, tmp_path)
    opened.create(Event("show", "Show", 10, lab=True))
    yield opened
    opened.close()


def open_store(url: str, data: Path, **settings: Any) -> Redis:
    return Redis(Settings(data=data, store="redis", store_url=url, **settings))


def beside(server: ValkeyServer) -> redis.Redis:
    """Somebody else at the engine."""
    return redis.Redis.from_url(server.url)


def buy(client: FlaskClient, key: str = "", event: str = "show") -> Any:
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(f"/events/{event}/orders", json={"quantity": 1}, headers=headers)


def told(answer: Any) -> tuple[int, str, bool]:
    return answer.status_code, answer.json["code"], answer.json["definite"]


def keys(client: FlaskClient) -> list[str]:
    """The keys in the audit, in order."""
    answer = client.get("/events/show/audit")
    assert answer.status_code == 200, answer.json
    return [line["key"] for line in map(json.loads, answer.data.splitlines()[1:])]


def sell(store: Redis, key: str, quantity: int = 1) -> tuple[View, list[Record]]:
    """A view, and what was decided on it; to be written."""
    command = Sell(key, "r", f"o-{key}", quantity)
    view = store.view("show", [command])
    return view, records_of(decide_all(view, [command], datetime.now(UTC)))


# -- at start ---------------------------------------------------------------------------------------------------------


def test_an_engine_that_is_not_there_is_refused_at_start_with_its_place(
    open_office: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    with pytest.raises(RefusedToStart, match=r"nowhere.*Nothing was written.*name an engine that runs"):
        open_office(f"unix://{tmp_path}/nowhere?password={PASSWORD}")


def test_an_engine_without_an_office_is_refused_with_the_command_that_makes_one(
    open_office: Callable[..., FlaskClient], server: ValkeyServer
) -> None:
    with pytest.raises(RefusedToStart, match="lastseat store init"):
        open_office(server.url)
    assert beside(server).dbsize() == 0


def test_an_office_of_another_format_is_refused_and_left_as_it_is(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str
) -> None:
    beside(server).hset("{fresh-1}:office", "format", "2")
    for call in (lambda: open_office(url), lambda: open_store(url, Path()).set_up()):
        with pytest.raises(RefusedToStart, match="has format 2, and this service reads 1"):
            call()


def test_setting_up_twice_changes_nothing_and_says_so(server: ValkeyServer, url: str) -> None:
    before = beside(server).hgetall("{fresh-1}:office")
    assert "nothing was changed" in set_up(url)
    assert beside(server).hgetall("{fresh-1}:office") == before


@pytest.mark.parametrize("given", ["", ":wrong@", f":{PASSWORD}x@", f"nobody:{PASSWORD}@"])
def test_a_wrong_password_is_refused_at_start_and_never_shown(
    open_office: Callable[..., FlaskClient], tmp_path: Path, given: str
) -> None:
    with ValkeyServer(tmp_path / "valkey", ["requirepass", PASSWORD]) as server:
        right = f"unix://:{PASSWORD}@{server.socket}"
        set_up(right)
        assert buy(open_office(right)).status_code == 201
        with pytest.raises(RefusedToStart, match="password") as refused:
            open_office(f"unix://{given}{server.socket}")
        assert PASSWORD not in str(refused.value)
        assert "wrong" not in str(refused.value)
        with pytest.raises(NoEngine, match="password"):
            set_up(f"unix://{given}{server.socket}")


@pytest.mark.parametrize(
    "bad", ["redis://h:port/0", "redis://h/0?nonsense=1", "unix:///x?prefix=a:b", "redis://h/0?db=x"]
)
def test_an_address_that_cannot_be_meant_is_refused_without_what_it_says(bad: str) -> None:
    with pytest.raises(RefusedToStart, match="LASTSEAT_STORE") as refused:
        Engine(bad.replace("//", f"//u:{PASSWORD}@", 1), 1, 1.0)
    assert PASSWORD not in str(refused.value)


def test_an_engine_that_throws_sales_away_when_it_is_full_is_refused(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str
) -> None:
    beside(server).config_set("maxmemory", "100mb")
    beside(server).config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(RefusedToStart, match="CONFIG SET maxmemory-policy noeviction"):
        open_office(url)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("appendonly no", "all sales since its last snapshot"),
        ("appendfsync everysec", "the last second of sales"),
        ("appendfsync no", "some seconds of sales"),
        ("no-appendfsync-on-rewrite yes", "while it rewrites"),
        ("maxmemory-policy volatile-ttl", "leases away early"),
    ],
)
def test_an_engine_that_may_lose_what_it_acknowledged_is_named_in_a_warning(
    store: Redis, server: ValkeyServer, caplog: pytest.LogCaptureFixture, setting: str, says: str
) -> None:
    store.check()
    assert not caplog.records
    beside(server).config_set(*setting.split())
    store.check()
    assert says in caplog.text


# -- during the sale --------------------------------------------------------------------------------------------------


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


def _stand_still_before_the_write(server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = Engine.exchange_all

    def exchange_all(self: Engine, connection: Any, commands: Any, *, writes: bool) -> Any:
        if writes:
            server.pause()
        return sent(self, connection, commands, writes=writes)

    monkeypatch.setattr(Engine, "exchange_all", exchange_all)


@pytest.mark.parametrize("guard", WRITERS)
def test_an_engine_killed_after_it_was_asked_to_write_is_indefinite(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_office(url, guard=guard, lease_ms=60_000)
    _stand_still_before_the_write(server, monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(buy, client, "a")
        wait_for(lambda: _is_stopped(server.pid), "an engine that stands still")
        server.kill()
        assert told(asked.result(FAR)) == (504, "outcome_unknown", False)
    monkeypatch.undo()
    server.start()
    beside(server).delete("{fresh-1}:event:show:lease")
    assert buy(client, "a").status_code == 201
    assert keys(client) == ["a"]


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


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
                store.append(*sell(store, f"child-{os.urandom(4).hex()}"))
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


# -- an engine that knows less than before ----------------------------------------------------------------------------


@pytest.mark.parametrize("guard", GUARDS)
def test_an_engine_that_comes_back_empty_is_refused_by_who_has_seen_more(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, guard: str
) -> None:
    client = open_office(url, guard=guard)
    assert buy(client).status_code == 201
    beside(server).flushall()
    for call in (lambda: buy(client), lambda: client.get("/events/show"), lambda: client.get("/events/show/audit")):
        assert told(call()) == (500, "engine_went_back", True)
    set_up(url)
    assert told(buy(client)) == (500, "engine_went_back", True), "another office of the same name"
    assert beside(server).keys("{fresh-1}:event*") == []


@pytest.mark.parametrize("guard", GUARDS)
def test_an_older_copy_is_refused_by_who_has_seen_more(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, guard: str, tmp_path: Path
) -> None:
    """As a backup that was put back, or a replica that was behind when it took over."""
    client = open_office(url, guard=guard)
    assert buy(client, "a").status_code == 201
    server.kill()
    shutil.copytree(server.folder, tmp_path / "copy")
    server.start()
    assert buy(client, "b").status_code == 201
    server.kill()
    shutil.rmtree(server.folder)
    shutil.move(tmp_path / "copy", server.folder)
    server.start()
    for call in (lambda: buy(client, "c"), lambda: client.get("/events/show")):
        assert told(call()) == (500, "engine_went_back", True)
    later = open_store(url, tmp_path)
    assert [record.key for record in later.audit("show")[1]] == ["a"], "nothing was written to it"
    later.close()


def test_an_older_epoch_is_refused_too(store: Redis, server: ValkeyServer) -> None:
    store.begin_epoch("atomic", FAR)
    store.begin_epoch("none", FAR)
    beside(server).hset("{fresh-1}:office", "epoch", "1")
    with pytest.raises(Problem, match="engine_went_back"):
        store.mode()


def test_an_event_that_was_deleted_by_another_node_and_made_again_is_no_loss(
    store: Redis, url: str, tmp_path: Path
) -> None:
    store.append(*sell(store, "a"))
    other = open_store(url, tmp_path)
    other.delete("show")
    with pytest.raises(Problem, match="unknown_event"):
        store.view("show")
    other.create(Event("show", "Show", 5, lab=True))
    assert store.view("show").version == 0
    other.close()


def test_a_sale_decided_on_an_event_that_was_made_anew_meanwhile_is_not_written(store: Redis) -> None:
    decided = sell(store, "a")
    store.delete("show")
    store.create(Event("show", "Show", 10, lab=True))
    with pytest.raises(Problem, match="unknown_event"):
        store.append(*decided)
    assert list(store.audit("show")[1]) == []


# -- the switch -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", ["append", "append_if_unchanged", "append_fenced", "commit_atomically", "view"])
def test_a_transaction_of_an_older_epoch_writes_nothing(store: Redis, write: str) -> None:
    older = store.begin_epoch("none", FAR)
    view, records = sell(store, "a")
    token = store.take_fenced_lease("show", 60_000) or ""
    calls: dict[str, Callable[[], object]] = {
        "append": lambda: store.append(view, records),
        "append_if_unchanged": lambda: store.append_if_unchanged(view, records),
        "append_fenced": lambda: store.append_fenced(view, records, token),
        "commit_atomically": lambda: store.commit_atomically("show", [Sell("b", "r", "o", 1)], datetime.now(UTC), FAR),
        "view": lambda: store.view("show"),
    }
    newer = store.begin_epoch("atomic", FAR)
    for mode in (older, Mode("atomic", newer.epoch, newer.generation + 1), Mode("none", *newer[1:])):
        taken = taking_part.set(mode)
        try:
            with pytest.raises(Switched):
                calls[write]()
        finally:
            taking_part.reset(taken)
    assert list(store.audit("show")[1]) == []
    taken = taking_part.set(newer)
    calls[write]()
    taking_part.reset(taken)


def test_two_nodes_follow_one_switch(open_office: Callable[..., FlaskClient], url: str, tmp_path: Path) -> None:
    admin = {"Authorization": "Bearer test-token"}
    one, two = (open_office(url, guard="atomic", data=tmp_path / name) for name in ("one", "two"))
    told = one.put("/guard", json={"guard": "none"}, headers=admin).json
    assert told["guard"] == "none"
    answer = buy(two)
    assert (answer.status_code, answer.headers["Last-Seat-Epoch"]) == (201, str(told["epoch"]))


# -- losing the lease key ---------------------------------------------------------------------------------------------


def test_a_lease_that_is_deleted_by_hand_lets_two_sell_the_same_seat(store: Redis, server: ValkeyServer) -> None:
    """The negative control: as documented, the plain lease oversells here."""
    assert store.take_lease("show", "ann", 60_000)
    assert not store.take_lease("show", "bob", 60_000), "held: it does exclude"
    late = sell(store, "a")
    beside(server).delete("{fresh-1}:event:show:lease")
    assert store.take_lease("show", "bob", 60_000)
    store.append(*sell(store, "b"))
    store.append(*late)
    assert [record.tickets for record in store.audit("show")[1]] == [(1,), (1,)]


def test_a_fenced_lease_that_is_deleted_by_hand_costs_the_late_one_his_write(
    store: Redis, server: ValkeyServer
) -> None:
    ann = store.take_fenced_lease("show", 60_000)
    assert ann is not None
    assert store.take_fenced_lease("show", 60_000) is None
    late = sell(store, "a")
    beside(server).delete("{fresh-1}:event:show:lease")
    bob = store.take_fenced_lease("show", 60_000)
    assert bob is not None
    # Before the newer one has written anything: a store that compares with what was written would let this pass.
    on_the_same_view = sell(store, "b")
    with pytest.raises(LateToken):
        store.append_fenced(*late, ann)
    store.append_fenced(*on_the_same_view, bob)
    assert [record.key for record in store.audit("show")[1]] == ["b"]


def test_a_late_holder_does_not_give_back_the_lease_of_the_next_one(store: Redis, server: ValkeyServer) -> None:
    assert store.take_lease("show", "ann", 60_000)
    beside(server).delete("{fresh-1}:event:show:lease")
    assert store.take_lease("show", "bob", 60_000)
    assert not store.give_lease_back("show", "ann")
    assert not store.take_lease("show", "eve", 60_000)
    assert store.give_lease_back("show", "bob")


def test_a_lease_whose_holder_has_died_comes_free_by_itself(store: Redis) -> None:
    assert store.take_lease("show", "dead", 30)
    wait_for(lambda: store.take_lease("show", "next", 60_000), "the end of the lease")


@pytest.mark.parametrize("guard", ["lease", "fenced"])
def test_who_waits_too_long_for_a_lease_is_refused_definitely(
    open_office: Callable[..., FlaskClient], url: str, guard: str
) -> None:
    client = open_office(url, guard=guard, lock_timeout_s=0.1)
    store = client.application.extensions["office"].store
    assert store.take_lease("show", "somebody", 60_000)
    assert told(buy(client)) == (503, "lock_timeout", True)
    assert keys(client) == []


def test_a_late_write_that_has_no_time_left_is_refused_definitely(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_office(url, guard="fenced", lock_timeout_s=0.2)
    really = Redis.append_fenced

    def after_somebody_else(self: Redis, view: View, records: Any, token: str) -> object:
        beside(server).hincrby("{fresh-1}:event:show", "fence", 1)
        return really(self, view, records, token)

    monkeypatch.setattr(Redis, "append_fenced", after_somebody_else)
    answer = buy(client, "a")
    assert told(answer) == (503, "lease_lost", True)
    assert keys(client) == []
