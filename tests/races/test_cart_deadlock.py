"""Two carts that want the same two events, one the other way round: the classic deadlock, and the order that cures it.

Gates make it certain: nobody goes for his second lock before each has his first one or stands before a locked one. The
negative control comes first: where locks are taken in the order in which the buyer names the events, they deadlock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import queue
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from servers import address_of
from typed import ADMIN, JSON, Typed, send

from loadtests.lab.servers.gate_server import Arrival, GateServer
from service.app import create_app
from service.experiments.wait_graph import WaitGraph
from service.settings import Settings

PATIENCE_S = 60.0
CARTS = {"one": ("a", "b"), "two": ("b", "a")}
TWO_LOCKS = [("json", "file"), ("json", "thread"), ("journal", "file"), ("sqlite", "thread")]


class Told(NamedTuple):
    status: int
    content: dict[str, Any]


Post = Callable[[str, dict[str, Any], dict[str, str]], Told]
Get = Callable[[str], bytes]


def meet(post: Post, stage: GateServer) -> dict[str, Told]:
    """Let the two carts meet, and give what each was told."""
    told: dict[str, Told] = {}

    def buy(key: str) -> None:
        items = [{"event": event, "quantity": 1} for event in CARTS[key]]
        told[key] = post("/carts", {"items": items}, {"Idempotency-Key": key})

    buyers = [threading.Thread(target=buy, args=(key,)) for key in CARTS]
    for buyer in buyers:
        buyer.start()
    asked, stuck = dict.fromkeys(CARTS, 0), set()
    standing: list[Arrival] = []
    met = False
    while any(buyer.is_alive() for buyer in buyers):
        try:
            heard = stage.happenings.get(timeout=0.05)
        except queue.Empty:
            continue
        assert isinstance(heard, Arrival)
        [key] = heard.keys
        if heard.note == "blocked":
            stuck.add(key)
        elif heard.gate == "acquire" and not met:
            asked[key] += 1
            standing.append(heard)
        elif heard.gate:
            stage.let_go(heard)
        first = [each for each in standing if asked[each.keys[0]] == 1]
        if len(first) == len(CARTS) and not stuck:  # both stand before their first lock
            standing = []
            for each in first:
                stage.let_go(each)
        met = met or all(asked[each] == 2 or each in stuck for each in CARTS)
        if met:
            for each in standing:
                stage.let_go(each)
            standing = []
    for buyer in buyers:
        buyer.join(PATIENCE_S)
    assert met
    return told


def carts_of(get: Get, event: str) -> list[str]:
    return [json.loads(line)["key"] for line in get(f"/events/{event}/audit").splitlines()[1:]]


def deadlocks(get: Get) -> int:
    found = re.search(rb"^lastseat_deadlocks_total (\d+)", get("/metrics"), re.MULTILINE)
    assert found
    return int(found[1])


def assert_deadlocked(told: dict[str, Told], get: Get) -> None:
    """Ended by the time limit, definitely: who gave up has written nothing, and says what it was."""
    gave_up = {key for key, each in told.items() if each.status != 201}
    assert gave_up
    for key in gave_up:
        status, problem = told[key]
        assert (status, problem["code"], problem["definite"]) == (503, "lock_timeout", True)
        assert problem["event"] == CARTS[key][1]
    # Who gives up last may find that the other one has gone, and then it is none any more.
    known = [each.content["deadlock"] for each in told.values() if "deadlock" in each.content]
    assert known
    assert all(sorted(circle) == ["a", "b"] for circle in known)
    assert deadlocks(get) == len(known)
    sold = sorted(set(told) - gave_up)
    assert sorted(carts_of(get, "a")) == sorted(carts_of(get, "b")) == sold


def assert_both_sold(told: dict[str, Told], get: Get) -> None:
    assert [each.status for each in told.values()] == [201, 201], told
    assert sorted(carts_of(get, "a")) == sorted(carts_of(get, "b")) == sorted(CARTS)
    assert deadlocks(get) == 0


@pytest.fixture
def stage() -> Iterator[GateServer]:
    with GateServer() as opened:
        yield opened


def in_this_process(stage: GateServer, folder: Path, *, lab: bool = True, **settings: Any) -> tuple[Post, Get]:
    app = create_app(
        Settings(
            data=folder, first_event=None, admin_token="t", gates=str(stage.path), allow_unsafe=True,
            **({"lock_timeout_s": 1.0} | settings),
        )
    )  # fmt: skip
    admin = {"Authorization": "Bearer t"}
    for event in "ab":
        made = app.test_client().post("/events", json={"event": event, "capacity": 9, "lab": lab}, headers=admin)
        assert made.status_code == 201

    def post(path: str, content: dict[str, Any], headers: dict[str, str]) -> Told:
        answer = app.test_client().post(path, json=content, headers=headers)
        return Told(answer.status_code, answer.json)

    return post, lambda path: app.test_client().get(path, headers=admin).data


@pytest.mark.parametrize(("store", "guard"), TWO_LOCKS)
def test_locks_taken_in_the_order_asked_deadlock(tmp_path: Path, stage: GateServer, store: str, guard: str) -> None:
    post, get = in_this_process(stage, tmp_path / "data", store=store, guard=guard, locks_as_asked=True)
    assert_deadlocked(meet(post, stage), get)


@pytest.mark.parametrize(("store", "guard"), TWO_LOCKS)
def test_locks_taken_in_one_order_do_not(tmp_path: Path, stage: GateServer, store: str, guard: str) -> None:
    post, get = in_this_process(stage, tmp_path / "data", store=store, guard=guard)
    assert_both_sold(meet(post, stage), get)


def test_one_lock_for_all_events_cannot_deadlock_in_whatever_order(tmp_path: Path, stage: GateServer) -> None:
    """SQLite's writer lock is the database's: whoever has it for one event has it for the other."""
    settings = {"store": "sqlite", "guard": "immediate", "locks_as_asked": True}
    post, get = in_this_process(stage, tmp_path / "data", **settings)
    assert_both_sold(meet(post, stage), get)


@pytest.mark.servers
@pytest.mark.parametrize("guard", ["row", "advisory"])
def test_an_engine_that_sees_the_deadlock_refuses_one_which_is_run_again(
    tmp_path: Path, stage: GateServer, guard: str
) -> None:
    """PostgreSQL looks for one after a second: who is refused has written nothing, and gets the locks then."""
    address = address_of("postgres", tmp_path)
    settings = {"store": "postgres", "store_url": address, "guard": guard, "locks_as_asked": True}
    post, get = in_this_process(stage, tmp_path / "data", **settings, lock_timeout_s=30.0)
    assert_both_sold(meet(post, stage), get)


def test_a_shops_events_are_locked_in_one_order_whatever_the_setting(tmp_path: Path, stage: GateServer) -> None:
    post, get = in_this_process(stage, tmp_path / "data", lab=False, locks_as_asked=True)
    assert_both_sold(meet(post, stage), get)


@pytest.mark.servers
@pytest.mark.parametrize("worker", ["-w 3", "-k gthread --threads 4 -w 2", "-k gevent -w 2"])
@pytest.mark.parametrize("order", ["as-asked", "sorted"])
def test_it_is_the_same_under_gunicorn(tmp_path: Path, stage: GateServer, worker: str, order: str) -> None:
    with Typed(
        f"{worker} service:app", tmp_path / "office", LASTSEAT_EVENT="", LASTSEAT_GATES=str(stage.path),
        LASTSEAT_LOCK_TIMEOUT_S="3", LASTSEAT_LOCK_ORDER=order,
    ) as server:  # fmt: skip
        for event in "ab":
            assert server.call("POST", "/events", {"event": event, "capacity": 9, "lab": True}).status == 201

        def post(path: str, content: dict[str, Any], headers: dict[str, str]) -> Told:
            answer = send(server.port, "POST", path, json.dumps(content).encode(), ADMIN | JSON | headers)
            return Told(answer.status, answer.json)

        told = meet(post, stage)
        judge = assert_deadlocked if order == "as-asked" else assert_both_sold
        judge(told, lambda path: server.call("GET", path).content)
        assert not list(server.data.glob("waits/*"))


def test_who_tidies_a_dead_wait_away_does_not_meet_the_next_one_of_the_cart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at its lock and its removal the same cart writes down that it waits for another event."""
    waits, flock = WaitGraph(tmp_path), fcntl.flock
    with waits.written_down("cart", ["a"], "b"):
        [path] = tmp_path.glob("*.wait")
        content = path.read_bytes()
    path.write_bytes(content)  # as who was killed leaves it
    with contextlib.ExitStack() as waiting:

        def then_the_cart_waits_again(file: object, kind: int) -> None:
            flock(file, kind)  # type: ignore[arg-type]
            if kind & fcntl.LOCK_SH:
                monkeypatch.setattr(fcntl, "flock", flock)
                waiting.enter_context(waits.written_down("cart", ["a", "b"], "c"))

        monkeypatch.setattr(fcntl, "flock", then_the_cart_waits_again)
        waits.circle(["x"], "a")
        assert waits.circle(["c"], "b") == ["b", "c"]


def test_a_wait_is_written_down_though_its_directory_was_removed(tmp_path: Path) -> None:
    waits = WaitGraph(tmp_path / "waits")
    (tmp_path / "waits").rmdir()
    with waits.written_down("cart", ["a"], "b"):
        assert waits.circle(["b"], "a") == ["a", "b"]
