"""The guard switched while the sale goes on: in every worker, and drained, so that no straggler spoils the epoch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pause import FAR, Pause
from typed import wait_for

from loadtests.lab.servers.office import RunningOffice
from service.rules.inventory import Event, View
from service.sales.box_office import BoxOffice
from service.settings import Settings
from service.stores import open_store
from service.switch.shared_memory import Control


def open_office(data: Path) -> BoxOffice:
    settings = Settings(data=data)
    control = Control(data)
    control.start("none", "test", FAR)
    office = BoxOffice(settings, open_store(settings), control, 1)
    office.create(Event("show", "Show", 10, lab=True))
    return office


def buy(office: BoxOffice, key: str) -> str:
    return office.buy("show", key=key, request="", quantity=1, buyer=None).record.key


def test_without_the_drain_a_straggler_erases_a_sale_of_the_new_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: the epoch is changed as the switch does it, but nobody waits for the older one to end."""
    office, pause = open_office(tmp_path), Pause(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        straggler = pool.submit(buy, office, "straggler")
        assert pause.reached.wait(FAR)
        office.control._begin_epoch("file", 2, "test")
        assert buy(office, "guarded") == "guarded"
        pause.go.set()
        straggler.result(FAR)
    assert [record.key for record in office.audit("show")[1]] == ["straggler"]


def test_the_switch_answers_only_when_the_straggler_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    office, pause = open_office(tmp_path), Pause(monkeypatch)
    with ThreadPoolExecutor(3) as pool:
        straggler = pool.submit(buy, office, "straggler")
        assert pause.reached.wait(FAR)
        switching = pool.submit(office.switch, "on")
        while not office.control._somebody_wishes():
            time.sleep(0.001)
        guarded = pool.submit(buy, office, "guarded")
        assert not switching.done()
        assert not guarded.done()
        pause.go.set()
        assert switching.result(FAR).guard == "file"
        guarded.result(FAR)
        straggler.result(FAR)
    assert [record.key for record in office.audit("show")[1]] == ["straggler", "guarded"]


# -- an event that is deleted, and made anew for real sales -----------------------------------------------------------


def sells_for_real(office: BoxOffice) -> bool:
    """Whether a transaction knows that the event is not the lab's any more: else guard ``none`` would act on it."""
    with office.control.transaction(time.monotonic() + FAR) as mode:
        about = office.transactions.about("show", mode)
        return not about.lab and office.transactions.acting_guard(about, mode) == "file"


def test_who_read_the_event_before_it_was_deleted_lets_nobody_believe_it_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = open_office(tmp_path)
    view, read, go = office.store.view, threading.Event(), threading.Event()

    def held_up(*arguments: Any, **more: Any) -> View:
        found = view(*arguments, **more)
        if not read.is_set():
            read.set()
            assert go.wait(FAR)
        return found

    monkeypatch.setattr(office.store, "view", held_up)

    def replaced() -> None:
        office.delete("show")
        office.create(Event("show", "Show", 10))
        assert buy(office, "first") == "first"

    with ThreadPoolExecutor(2) as pool:
        looking = pool.submit(office.about, "show")
        assert read.wait(FAR)
        replacing = pool.submit(replaced)
        wait_for(lambda: replacing.done() or office.control._somebody_wishes(), "the deletion, or its wait")
        go.set()
        assert looking.result(FAR).lab
        replacing.result(FAR)
    assert sells_for_real(office)


def test_who_reads_the_event_while_it_is_deleted_lets_nobody_believe_it_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have been told to forget it, and it is still there."""
    office = open_office(tmp_path)
    delete, enter, at_the_door = office.store.delete, office.control._enter, threading.Event()

    def seen_at_the_door(deadline: float, blocked: Callable[[], None]) -> None:
        at_the_door.set()
        enter(deadline, blocked)

    with ThreadPoolExecutor(1) as pool:

        def looked_at(event: str) -> None:
            looking = pool.submit(office.about, event)
            wait_for(lambda: looking.done() or at_the_door.is_set(), "a look, or its wait")
            delete(event)

        monkeypatch.setattr(office.control, "_enter", seen_at_the_door)
        monkeypatch.setattr(office.store, "delete", looked_at)
        office.delete("show")
    office.create(Event("show", "Show", 10))
    assert sells_for_real(office)


class Crowd:
    """Buyers who buy one ticket after the other and keep what they were told, until the block ends.

    Each purchase has a connection of its own: kept ones would stay with the worker that first took them.
    """

    def __init__(self, running: RunningOffice, event: str, size: int) -> None:
        self.told: list[tuple[float, int, int, str]] = []
        """When it was asked, under which epoch and by which worker it was decided, the order."""
        self._address = running.url.removeprefix("http://")
        self._event = event
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._buy) for _ in range(size)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(FAR)

    def wait_until(self, condition: Callable[[list[tuple[float, int, int, str]]], bool]) -> None:
        deadline = time.monotonic() + FAR
        while not condition(self.told):
            assert time.monotonic() < deadline, f"it never happened; {len(self.told)} purchases were answered"
            time.sleep(0.005)

    def _buy(self) -> None:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        while not self._stop.is_set():
            asked = time.monotonic()
            connection = HTTPConnection(self._address, timeout=FAR)
            connection.request("POST", f"/events/{self._event}/orders", b'{"quantity":1}', headers)
            answer = connection.getresponse()
            order = msgspec.json.decode(answer.read()).get("order", "")
            connection.close()
            epoch, worker = int(answer.headers["Last-Seat-Epoch"]), int(answer.headers["Last-Seat-Worker"])
            self.told.append((asked, epoch, worker, order))


@pytest.mark.servers
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_the_switch_reaches_every_worker_at_once_under_load(serve: Callable[..., RunningOffice], worker: str) -> None:
    running = serve(worker=worker, guard="file", think_ms=2)
    running.office.create_event("show", 100_000)
    switched: list[tuple[float, int]] = []
    with Crowd(running, "show", 6) as crowd:
        for guard in ("off", "on", "off", "on"):
            seen = len(crowd.told)
            crowd.wait_until(lambda told, seen=seen: len(told) > seen + 30)  # type: ignore[misc]
            state = running.office.switch(guard)
            switched.append((time.monotonic(), state.epoch))
        crowd.wait_until(lambda told: len({worker for _, epoch, worker, _ in told if epoch == 5}) > 1)
    told = crowd.told
    assert [epoch for _, epoch in switched] == [2, 3, 4, 5]
    for at, epoch in switched:
        assert all(decided >= epoch for asked, decided, _, _ in told if asked > at), "an older guard decided later"
    recorded = running.office.audit("show").decode()
    last_epoch = [order for _, epoch, _, order in told if epoch == 5 and order]
    assert last_epoch
    assert [order for order in last_epoch if f'"{order}"' not in recorded] == [], "a straggler erased a guarded sale"
