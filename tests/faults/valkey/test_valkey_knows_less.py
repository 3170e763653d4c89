"""A Valkey that shows less than was committed, and a switch that all nodes follow."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from servers import set_up
from valkey_offices import FAR, GUARDS, beside, buy, open_store, sell, told

from loadtests.lab.servers.valkey import ValkeyServer
from service.errors import Problem
from service.rules.inventory import Event, Sell
from service.runtime.epoch import Mode, Switched, taking_part
from service.stores.redis.store import Redis

pytestmark = pytest.mark.servers


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
    store.append(sell(store, "a"))
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
        store.append(decided)
    assert list(store.audit("show")[1]) == []


@pytest.mark.parametrize("write", ["append", "append_if_unchanged", "append_fenced", "commit_atomically", "view"])
def test_a_transaction_of_an_older_epoch_writes_nothing(store: Redis, write: str) -> None:
    older = store.begin_epoch("none", FAR)
    decided = sell(store, "a")
    token = store.take_fenced_lease("show", 60_000) or ""
    calls: dict[str, Callable[[], object]] = {
        "append": lambda: store.append(decided),
        "append_if_unchanged": lambda: store.append_if_unchanged(decided),
        "append_fenced": lambda: store.append_fenced(decided, [token]),
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
