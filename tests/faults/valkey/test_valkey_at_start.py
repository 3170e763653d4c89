"""What a Valkey has to be before an office sells from it, and what is said of one that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from redis import DriverInfo
from servers import set_up
from typed import Typed, wait_for
from valkey_offices import PASSWORD, WRITERS, beside, buy, open_store, told

from loadtests.lab.servers import engines
from loadtests.lab.servers.valkey import ValkeyServer
from service.errors import Problem, RefusedToStart
from service.rules.inventory import Cancel, Sell
from service.stores.redis.engine import Engine
from service.stores.redis.store import Redis

pytestmark = pytest.mark.servers


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
    beside(server).hset("{fresh-1}:office", "format", "4")
    before = beside(server).hgetall("{fresh-1}:office")
    for call in (lambda: open_office(url), lambda: open_store(url, Path()).set_up()):
        with pytest.raises(RefusedToStart, match="has format 4, and this service reads 3"):
            call()
    assert beside(server).hgetall("{fresh-1}:office") == before


OLDER = {"1": ("made", "holds"), "2": ("identity", "halls")}
"""The formats of before: the field that an office is known by, and from before what they are."""


def make_older(server: ValkeyServer, form: str = "1") -> None:
    """An office of an older format as its services left it: two sold to ann, one of them given back."""
    engine, show = beside(server), "{fresh-1}:event:show"
    engine.delete("{fresh-1}:office")
    switch = {"epoch": 4, "generation": 2, "guard": "atomic"}
    engine.hset("{fresh-1}:office", mapping={OLDER[form][0]: "aa", "format": form, **switch})
    about = '{"event":"show","name":"Show","capacity":3,"max_per_buyer":3}'
    fields = {"about": about, "born": "bb", "count": 2, "version": 2, "sold": 1, "next": 3, "fence": 0, "capacity": 3}
    engine.hset(show, mapping={**fields, "per_order": 10, "per_buyer": 3})
    engine.sadd("{fresh-1}:events", "show")
    for seq, kind, order, first, left in (
        (1, "sold", "o1", 1, 2),
        (2, "sold", "o2", 2, 1),
        (3, "cancelled", "o2", 2, 2),
    ):
        line = (
            f'{{"version":{seq},"first":{first},"remaining":{left},"kind":"{kind}","key":"k{seq}","order":"{order}",'
            '"quantity":1,"request":"r","buyer":"ann"}'
        )
        engine.xadd(f"{show}:records", {"record": line}, id=f"{seq}-0")
        engine.hset(f"{show}:keys", f"k{seq}", seq)
        engine.hset(f"{show}:orders", order, seq)
    engine.hset(f"{show}:bought", "ann", 1)
    engine.hset(show, mapping={"count": 3, "version": 3})
    if form == "2":
        engine.hset(show, "held", 0)


@pytest.mark.parametrize("form", OLDER)
def test_an_older_office_is_refused_with_the_command_that_upgrades_it(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, form: str
) -> None:
    make_older(server, form)
    before = beside(server).hgetall("{fresh-1}:office")
    with pytest.raises(
        RefusedToStart,
        match=rf"(?s)format {form}, from before {OLDER[form][1]}.*Nothing was written.*lastseat store init",
    ):
        open_office(url)
    assert beside(server).hgetall("{fresh-1}:office") == before


@pytest.mark.parametrize("form", OLDER)
@pytest.mark.parametrize("guard", WRITERS)
def test_an_upgraded_office_has_all_its_sales_and_sells_and_holds_the_rest(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, guard: str, form: str
) -> None:
    make_older(server, form)
    assert "brought to format 3; all its sales were kept" in set_up(url)
    assert "nothing was changed" in set_up(url)
    store = open_store(url, Path())
    mode = store.mode()
    assert mode is not None
    assert (mode.epoch, mode.generation) == (4, 2), "the switch goes on from where it was"
    view = store.view("show", [Cancel("c", "r", "o1"), Sell("k1", "r", "o9", 1, "ann")])
    assert (view.version, view.sold, view.held, view.next_ticket, view.bought) == (3, 1, 0, 3, {"ann": 1})
    assert [(each.kind, each.order, each.tickets) for each in store.audit("show")[1]] == [
        ("sold", "o1", (1,)),
        ("sold", "o2", (2,)),
        ("cancelled", "o2", (2,)),
    ]
    store.close()
    beside(server).hdel("{fresh-1}:event:show", "per_buyer")
    beside(server).hset("{fresh-1}:event:show", "about", '{"event":"show","name":"Show","capacity":3,"lab":true}')
    client = open_office(url, guard=guard)
    assert buy(client, "k9").status_code == 201
    held = client.post("/events/show/holds", json={"quantity": 1, "buyer": "bob"})
    assert held.status_code == 201, held.json
    assert told(buy(client)) == (409, "sold_out", True)
    assert client.post(f"/events/show/holds/{held.json['hold']}/confirm").status_code == 201
    event = client.get("/events/show").json
    assert (event["sold"], event["held"], event["remaining"], event["version"]) == (3, 0, 0, 6)


@pytest.mark.parametrize("form", OLDER)
def test_a_service_of_an_older_format_that_still_runs_is_refused_after_the_upgrade(
    server: ValkeyServer, url: str, form: str
) -> None:
    """It does not know of holds, and would sell them, or of halls, and would sell tickets without seats. All that its
    scripts begin with is to read this one field."""
    make_older(server, form)
    set_up(url)
    assert beside(server).hget("{fresh-1}:office", OLDER[form][0]) is None
    assert beside(server).hget("{fresh-1}:office", "id") == b"aa"


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
        with pytest.raises(engines.NoEngine, match="password") as not_set_up:
            engines.set_up(f"unix://{given}{server.socket}")
        assert PASSWORD not in str(not_set_up.value)


@pytest.mark.parametrize("first_command", ["check", "mode", "names"])
def test_a_missing_password_is_said_to_be_missing_whatever_is_asked_first(
    server_with_a_password: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first_command: str
) -> None:
    """To a command of more than ten parts the engine answers with a protocol error. The client library tells its name
    when it connects, and learns by that of the password; not from a Redis 7.0, which does not know what it is told."""
    store = open_store(f"unix://{server_with_a_password.socket}", tmp_path)
    monkeypatch.setitem(store._engine._options, "driver_info", DriverInfo(name="", lib_version=""))
    store._engine._idle.clear()
    with pytest.raises((Problem, RefusedToStart), match="It wants a password, and LASTSEAT_STORE has none"):
        getattr(store, first_command)()


@pytest.fixture
def server_with_a_password(tmp_path: Path) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path / "valkey", ["requirepass", PASSWORD]) as running:
        yield running


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
    store: Redis, server: ValkeyServer, setting: str, says: str
) -> None:
    assert not store.check()
    beside(server).config_set(*setting.split())
    [warning] = store.check()
    assert says in warning


def test_the_warning_comes_once_and_not_from_every_worker(server: ValkeyServer, url: str, tmp_path: Path) -> None:
    beside(server).config_set("appendfsync", "everysec")
    with Typed("-w 3 service:app", tmp_path / "office", LASTSEAT_STORE=url) as office:
        wait_for(lambda: b"lastseat_workers 3.0" in office.call("GET", "/metrics").content, "three workers")
        assert office.said.count("the last second of sales") == 1
