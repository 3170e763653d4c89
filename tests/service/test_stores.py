"""What every store of the registry must do, one set of tests for all of them."""

from __future__ import annotations

import gc
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from servers import settings_of

from service.errors import Problem
from service.guards import fitting
from service.rules.inventory import Cancel, Event, Record, Sell, decide_all, records_of
from service.settings import Settings
from service.stores import STORES, Store, open_store

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)
SHOW = Event("show", "Show", 10, lab=True, max_per_buyer=9, opens_at=NOW)


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(settings_of(request.param, tmp_path))


def sell(key: str, quantity: int = 1) -> Sell:
    return Sell(key, "r", f"o-{key}", quantity, "ann")


def commit(store: Store, *commands: Sell | Cancel) -> list[Record]:
    view = store.view("show", commands)
    records = records_of(decide_all(view, commands, NOW))
    [position] = store.append([view])
    store.make_durable("show", position)
    return records


def test_a_new_event_has_everything_left_and_nothing_written(store: Store) -> None:
    store.create(SHOW)
    view = store.view("show")
    assert (view.event, view.version, view.sold, view.held, view.remaining) == (SHOW, 0, 0, 0, 10)
    assert store.names() == ["show"]
    event, records, _ = store.audit("show")
    assert (event, list(records)) == (SHOW, [])


def test_what_was_appended_is_seen_by_the_next_view(store: Store) -> None:
    store.create(SHOW)
    written = commit(store, sell("a", 2), sell("b"), Cancel("c", "r", "o-a"))
    view = store.view("show", [sell("b")], order="o-a")
    assert (view.version, view.sold, view.next_ticket) == (3, 1, 4)
    assert view.keys["b"] == written[1]
    assert view.orders["o-a"].status == "cancelled"
    assert view.bought["ann"] == 1
    assert list(store.audit("show")[1]) == written


def test_without_a_guard_two_writers_take_the_same_place(store: Store) -> None:
    """The negative control: a store excludes nobody and repairs nothing."""
    if "none" not in fitting(store):
        pytest.fail("every store must fit the guard that does nothing")
    store.create(SHOW)
    ann, bob = store.view("show", [sell("a")]), store.view("show", [sell("b")])
    for view, command in ((ann, sell("a")), (bob, sell("b"))):
        decide_all(view, [command], NOW)
        store.append([view])
    # One sale replaces the other, or both stand there under one version: either way two buyers have ticket 1.
    assert [(record.version, record.tickets) for record in store.audit("show")[1]] in ([(1, (1,))], [(1, (1,))] * 2)


def test_an_event_that_exists_is_not_made_again_and_keeps_its_sales(store: Store) -> None:
    store.create(SHOW)
    commit(store, sell("a"))
    with pytest.raises(Problem) as problem:
        store.create(Event("show", "Other", 99))
    assert problem.value.code == "event_exists"
    assert store.view("show").version == 1


def test_an_unknown_event_is_said_to_be_unknown_everywhere(store: Store) -> None:
    for call in (store.view, store.audit, store.delete):
        with pytest.raises(Problem) as problem:
            call("nowhere")  # type: ignore[operator]
        assert problem.value.code == "unknown_event"


def test_a_deleted_event_is_gone_and_its_name_is_free(store: Store) -> None:
    store.create(SHOW)
    commit(store, sell("a"))
    store.delete("show")
    assert store.names() == []
    store.create(SHOW)
    assert store.view("show").version == 0


def test_another_opening_of_a_durable_store_finds_everything(store: Store, tmp_path: Path) -> None:
    store.create(SHOW)
    written = commit(store, sell("a", 3), sell("b"))
    if store.durable:
        again = open_store(settings_of(store.name, tmp_path))
        assert list(again.audit("show")[1]) == written
    else:
        assert store.scope == "process"


def test_a_json_document_is_whole_at_every_instant_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    store = open_store(Settings(data=tmp_path, store="json"))
    store.create(SHOW)
    for number in range(5):
        commit(store, sell(f"k{number}"))
        assert [path.name for path in (tmp_path / "events").iterdir()] == ["show.json"]


def test_what_a_killed_writer_left_is_tidied(tmp_path: Path) -> None:
    store = open_store(Settings(data=tmp_path, store="json"))
    store.create(SHOW)
    (tmp_path / "events" / "show.json.4711.0.tmp").write_bytes(b'{"about":')
    store.tidy()
    assert [path.name for path in (tmp_path / "events").iterdir()] == ["show.json"]


def open_descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors where Linux shows them")
@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("name", [name for name in STORES if name != "memory"])
def test_a_store_that_was_closed_keeps_nothing_open(name: str, closes: bool, tmp_path: Path) -> None:
    """The canary: who leaves out the closing is found out."""
    first = open_store(settings_of(name, tmp_path))
    first.create(SHOW)
    opened: list[Store] = []

    def open_another(key: str) -> None:
        opened.append(open_store(settings_of(name, tmp_path)))
        commit(opened[-1], sell(key))
        if closes:
            opened[-1].close()
            opened[-1].close()
            opened.pop()

    open_another("before")  # what is kept for the next one is there by now
    before = open_descriptors()
    for number in range(5):
        open_another(f"k{number}")
    grown = open_descriptors() - before
    for each in (first, *opened):
        each.close()
    assert (grown == 0) if closes else (grown >= 5)
