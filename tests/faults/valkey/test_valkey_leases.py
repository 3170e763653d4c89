"""A lease that is lost, outlasted, or not had: what ``lease`` does then, and what ``fenced`` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from flask.testing import FlaskClient
from typed import wait_for
from valkey_offices import beside, buy, keys, sell, told

from loadtests.lab.servers.valkey import ValkeyServer
from service.rules.inventory import View
from service.stores.base import LateToken
from service.stores.redis.store import Redis

pytestmark = pytest.mark.servers


def test_a_lease_that_is_deleted_by_hand_lets_two_sell_the_same_seat(store: Redis, server: ValkeyServer) -> None:
    """The negative control: as documented, the plain lease oversells here."""
    assert store.take_lease("show", "ann", 60_000)
    assert not store.take_lease("show", "bob", 60_000), "held: it does exclude"
    late = sell(store, "a")
    beside(server).delete("{fresh-1}:event:show:lease")
    assert store.take_lease("show", "bob", 60_000)
    store.append(sell(store, "b"))
    store.append(late)
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
        store.append_fenced(late, [ann])
    store.append_fenced(on_the_same_view, [bob])
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
    client = open_office(url, guard=guard, lock_timeout_s=1.0)
    store = client.application.extensions["office"].store
    assert store.take_lease("show", "somebody", 60_000)
    assert told(buy(client)) == (503, "lock_timeout", True)
    assert keys(client) == []


def test_a_late_write_that_has_no_time_left_is_refused_definitely(
    open_office: Callable[..., FlaskClient], server: ValkeyServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_office(url, guard="fenced", lock_timeout_s=1.0)
    really = Redis.append_fenced

    def after_somebody_else(self: Redis, views: Sequence[View], tokens: Sequence[str]) -> Sequence[object]:
        beside(server).hincrby("{fresh-1}:event:show", "fence", 1)
        return really(self, views, tokens)

    monkeypatch.setattr(Redis, "append_fenced", after_somebody_else)
    answer = buy(client, "a")
    assert told(answer) == (503, "lease_lost", True)
    assert keys(client) == []
