"""kill -9 of whoever writes a cart, before every single call that reaches the disk, and of whoever finishes it.

Whatever came of it, the cart is in all of its events or in none, and once it is sold it stays sold: for the next buyer
in one of its events, for who only reads, for the buyer who asks again with his key, and after a restart. A kill leaves
the page cache as it is, so this says nothing about power cuts: see ``test_power_cut``.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import memory
import pytest
from flask.testing import FlaskClient
from killed_calls import kill_at, killed_in_a_child
from typed import as_admin, wait_for

from service.app import create_app
from service.rules.carts import Granted, decide_cart
from service.rules.inventory import Event
from service.rules.records import Sell
from service.runtime import gunicorn
from service.settings import Settings
from service.stores.base import Conflict
from service.stores.intents import Intents
from service.stores.journal import ledger, segments
from service.stores.json import document
from tests.combinations import shortened

pytestmark = pytest.mark.servers

CART = {"items": [{"event": event, "quantity": 2} for event in "abc"]}
KEYED = {"Idempotency-Key": "k"}
MOST_CALLS = 200
every_kind = pytest.mark.parametrize("kind", ["json", "journal"])
"""The stores of files, each with its default guard; where a second word follows, with that guard."""

Client = FlaskClient
Step = Callable[[Client], object]


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory: a kill is the same there, and nobody waits for the disk."""
    with memory.folder() as made:
        yield made


@pytest.fixture(autouse=True)
def one_master(monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes of a test are workers of one master, so that none of them begins by tidying."""
    new_master(monkeypatch, "first")


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal begins a segment before each record: in the middle of a cart, and again for whoever finishes it. A
    document seals a page there."""
    monkeypatch.setattr(ledger, "SEGMENT_RECORDS", 1)
    monkeypatch.setattr(document, "RECENT", 1)


def new_master(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(gunicorn, "current_server", lambda: gunicorn.Server(name))


OPENED: list[Client] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """A test opens hundreds of offices, and each of them holds files open."""
    yield
    while OPENED:
        extensions = OPENED.pop().application.extensions
        extensions["office"].store.close()
        extensions["office"].control.close()
        extensions["metrics"].close()


def opened(data: Path, kind: str, **settings: Any) -> Client:
    store, _, guard = kind.partition(" ")
    wanted = {"guard": guard} if guard else {}
    made = create_app(Settings(data=data, store=store, first_event=None, admin_token="t", **wanted, **settings))
    OPENED.append(made.test_client())
    return OPENED[-1]


def office(data: Path, kind: str, **settings: Any) -> Client:
    """An office with three events, of which one has a hold that has ended, so that a cart expires it."""
    client = opened(data, kind, **settings)
    for event in "abc":
        client.application.extensions["office"].create(Event(event, event, 9, lab=True))
    held = client.post("/events/b/holds", json={"quantity": 8, "seconds": 0.001}).json
    ends = datetime.fromisoformat(held["expires_at"])
    wait_for(lambda: datetime.now(UTC) > ends, "the end of the hold")
    return client


def killed(data: Path, kind: str, number: int, step: Step, sabotage: Callable[[], object] = lambda: None) -> bool:
    """Take a step in another process of the same office, which is killed at that call; whether it came so far."""

    def steps() -> None:
        client = opened(data, kind)
        client.get("/events/a")
        sabotage()
        kill_at(number)
        step(client)

    return killed_in_a_child(steps)


def buy_cart(client: Client) -> None:
    assert client.post("/carts", json=CART, headers=KEYED).status_code == 201


def buy_in(events: str) -> Step:
    def buy(client: Client) -> None:
        for event in events:
            answer = client.post(f"/events/{event}/orders", json={"quantity": 1})
            assert answer.status_code == 201, answer.json

    return buy


def read(events: str) -> Step:
    return lambda client: [client.get(f"/events/{event}/audit") for event in events]


def ask_again(client: Client) -> None:
    first, again = (client.post("/carts", json=CART, headers=KEYED) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json == again.json
    assert again.headers["Idempotency-Replayed"] == "true"


def tidy(client: Client) -> None:
    """One round of the sweeper, which comes by when nobody asks."""
    for event in "abc":
        client.application.extensions["office"].sweep(event)


def data_of(client: Client) -> Path:
    found: Path = client.application.extensions["readiness"]._data
    return found


def store_of(client: Client) -> Any:
    return client.application.extensions["office"].store


def intents_of(client: Client) -> Path:
    found: Path = store_of(client)._intents._directory
    return found


def restart(client: Client) -> None:
    """A new master, whose first worker starts in the same directory."""
    with pytest.MonkeyPatch.context() as patched:
        new_master(patched, f"{time.monotonic_ns()}")
        opened(data_of(client), store_of(client).name)


NEXT: dict[str, Step] = {
    "buyers in each event": buy_in("cab"),
    "a buyer in the last event": buy_in("c"),
    "who reads": read("bac"),
    "the same buyer": ask_again,
    "the sweeper": tidy,
    "a restart": restart,
}


def records(client: Client, event: str) -> list[dict[str, Any]]:
    answer = client.get(f"/events/{event}/audit", headers=as_admin(client))
    assert answer.status_code == 200, answer.json
    return [json.loads(line) for line in answer.data.splitlines()[1:]]


def carts_in(client: Client) -> list[list[str]]:
    """The carts that each event has; everything else that an audit must be is asserted."""
    found = []
    for event in "abc":
        there = records(client, event)
        assert [each["version"] for each in there] == list(range(1, len(there) + 1))
        given = [ticket for each in there if each["kind"] in ("sold", "held") for ticket in each["tickets"]]
        assert given == list(range(1, len(given) + 1))
        shown = client.get(f"/events/{event}").json
        assert shown["version"] == len(there)
        assert shown["sold"] == sum(each["quantity"] for each in there if each["kind"] == "sold")
        found.append([each["cart"] for each in there if each.get("cart")])
    return found


def kill_everywhere(
    folder: Path, kind: str, step: Step, prepare: Step = lambda _: None
) -> Iterator[tuple[int, Client]]:
    """An office a call: in each, whoever takes the step was killed there. Ends when a step was not killed any more."""
    for number in range(MOST_CALLS):
        data = folder / str(number)
        client = office(data, kind)
        prepare(client)
        if not killed(data, kind, number, step):
            assert number > 3, "nobody was killed"
            return
        yield number, client
    raise AssertionError("the step did not come to an end")


@every_kind
def test_without_an_intent_half_a_cart_is_left(tmp_path: Path, kind: str) -> None:
    """The negative control: the same kills, and files that are written one after the other."""

    def forget() -> None:
        Intents.write = Intents.end = lambda self, intent: None  # type: ignore[method-assign]

    torn = 0
    for number in range(MOST_CALLS):
        client = office(tmp_path / str(number), kind)
        if not killed(tmp_path / str(number), kind, number, buy_cart, forget):
            break
        torn += carts_in(client)[0] != carts_in(client)[2]
    assert torn > 0


@pytest.mark.parametrize(
    ("kind", "following"),
    shortened(
        [*itertools.product(["json", "journal"], NEXT), ("journal optimistic", "buyers in each event")],
        ("json", "buyers in each event"), ("json", "a restart"), ("journal", "the sweeper"), ("journal", "who reads"),
    ),
)  # fmt: skip
def test_a_cart_whose_writer_was_killed_is_in_all_of_its_events_or_in_none(
    tmp_path: Path, following: str, kind: str
) -> None:
    sold = []
    for number, client in kill_everywhere(tmp_path, kind, buy_cart):
        NEXT[following](client)
        a, b, c = carts_in(client)
        assert a == b == c, (number, a, b, c)
        assert len(a) <= 1
        sold.append(len(a))
        assert not list(intents_of(client).glob("*.pending"))
    # Once it is sold it stays sold, and there are kills of either kind.
    assert sold == sorted(sold)
    assert set(sold) == ({1} if following == "the same buyer" else {0, 1})


def test_on_sqlite_too_a_cart_whose_writer_was_killed_is_in_all_or_in_none(tmp_path: Path) -> None:
    """Its calls are the library's, so it is killed at the gates of Python: between reading, writing and committing."""
    from service.stores.sqlite import connections

    for number, where in enumerate(("_begin_immediate", "_commit", "after")):

        def sabotage(where: str = where) -> None:
            right = getattr(connections, "_commit" if where == "after" else where)

            def die(*given: Any) -> None:
                if where == "after":
                    right(*given)
                os.kill(os.getpid(), signal.SIGKILL)

            setattr(connections, "_commit" if where == "after" else where, die)

        data = tmp_path / str(number)
        client = office(data, "sqlite")
        assert killed(data, "sqlite", MOST_CALLS * 10, buy_cart, sabotage)
        a, b, c = carts_in(client)
        assert a == b == c
        assert len(a) == (where == "after")
        ask_again(client)
        assert [len(each) for each in carts_in(client)] == [1, 1, 1]


def leave_unfinished(client: Client) -> None:
    """A cart that is committed, and of which no event has anything: its writer was killed at the first of them."""
    data = data_of(client)

    def die_at_the_first_event() -> None:
        right = Intents.write

        def write(self: Intents, intent: Any) -> None:
            right(self, intent)
            os.kill(os.getpid(), signal.SIGKILL)

        Intents.write = write  # type: ignore[method-assign]

    assert killed(data, store_of(client).name, MOST_CALLS, buy_cart, die_at_the_first_event)
    assert sorted(path.name for path in intents_of(client).glob("*.pending")) == ["a.pending", "b.pending", "c.pending"]


@pytest.mark.parametrize(
    ("kind", "finisher"),
    shortened(
        [
            ("json", "a buyer in one event"), ("json", "a buyer in two"), ("json", "a reader"),
            ("journal", "a buyer in two"), ("journal", "a reader"),
        ],
        ("json", "a reader"), ("journal", "a buyer in two"),
    ),
)  # fmt: skip
def test_whoever_finishes_a_cart_may_be_killed_too(tmp_path: Path, kind: str, finisher: str) -> None:
    step = {"a buyer in one event": buy_in("b"), "a buyer in two": buy_in("ca"), "a reader": read("cb")}[finisher]
    for number, client in kill_everywhere(tmp_path, kind, step, leave_unfinished):
        a, b, c = carts_in(client)
        assert a == b == c, number
        assert len(a) == 1
        carts = intents_of(client)
        assert not list(carts.glob("*.pending"))
        # One that is left says what is already true; the next start removes it.
        restart(client)
        assert not list(carts.iterdir())
        ask_again(client)
        assert [len(each) for each in carts_in(client)] == [1, 1, 1]


def killed_in_the_start(data: Path, kind: str, number: int) -> bool:
    """Start anew, and be killed at that call of those that finish carts; whether it came so far."""
    child = os.fork()
    if not child:
        right = Intents.finish_all

        def finish_all(self: Intents, bring: Any) -> None:
            kill_at(number)
            right(self, bring)
            os._exit(0)

        Intents.finish_all = finish_all  # type: ignore[method-assign]
        gunicorn.current_server = lambda: gunicorn.Server("second")
        opened(data, kind)
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


@pytest.mark.parametrize("kind", shortened(["json", "journal"], "journal"))
def test_a_restart_that_is_killed_while_it_finishes_a_cart_leaves_it_to_the_next(tmp_path: Path, kind: str) -> None:
    for number in range(MOST_CALLS):
        data = tmp_path / str(number)
        client = office(data, kind)
        leave_unfinished(client)
        if not killed_in_the_start(data, kind, number):
            assert number > 3
            return
        restart(client)
        assert [len(each) for each in carts_in(client)] == [1, 1, 1]
        assert not list(intents_of(client).iterdir())
    raise AssertionError("the start did not come to an end")


@every_kind
def test_the_live_writer_of_a_cart_is_not_taken_for_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Who reads an audit in the middle of it waits for the lock, and then sees the whole cart."""
    monkeypatch.setattr(segments, "_APPEND_PATIENCE_S", 0.05)  # a journal's own lock, which no setting is about
    client = office(tmp_path, kind)
    store = store_of(client)
    right, seen = store._intents.write, []

    def write(intent: Any) -> None:
        right(intent)
        other = opened_beside.get("/events/c/audit")
        seen.append((other.status_code, other.json["code"]))

    opened_beside = opened(tmp_path, kind, lock_timeout_s=0.05)
    store._intents.write = write
    buy_cart(client)
    assert seen == [(503, "lock_timeout")]
    assert [len(each) for each in carts_in(client)] == [1, 1, 1]


@pytest.mark.parametrize("kind", ["journal optimistic", "journal none"])
def test_in_a_journal_that_is_so_whatever_the_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Who buys in the middle of a cart waits until it is whole, and finds nothing to finish."""
    client, other = (
        make(tmp_path, kind, allow_unsafe=True, lock_timeout_s=60) for make in (office, opened)
    )  # fmt: skip
    store = store_of(client)
    right, sleep, waiting = store._intents.write, time.sleep, threading.Event()
    buyer = threading.Thread(target=buy_in("c"), args=(other,))

    def told(seconds: float) -> None:
        if threading.current_thread() is buyer:
            waiting.set()
        sleep(seconds)

    def write(intent: Any) -> None:
        right(intent)
        monkeypatch.setattr(segments.time, "sleep", told)
        buyer.start()
        assert waiting.wait(60)

    store._intents.write = write
    buy_cart(client)
    buyer.join(60)
    assert [len(each) for each in carts_in(client)] == [1, 1, 1]
    assert [each.get("cart") for each in records(client, "c")][1:] == [None]


def test_who_compares_a_journal_compares_it_with_a_cart_that_is_sold_and_not_written(tmp_path: Path) -> None:
    """A cart's writer was killed after somebody had read: the journal is as it was read, and the places are taken."""
    client = office(tmp_path, "journal optimistic")
    store = store_of(client)
    now = datetime.now(UTC)
    sales = {event: Sell(f"k{event}", "r", f"o-{event}", 1, None, "c-other") for event in "abc"}
    views = {event: store.view(event, [sale], now) for event, sale in sales.items()}
    assert isinstance(decide_cart(views, sales, now), Granted)
    leave_unfinished(client)
    with pytest.raises(Conflict):
        store.append_if_unchanged([views["c"]])
    with pytest.raises(Conflict):
        store.append_if_unchanged(list(views.values()))
    assert [len(each) for each in carts_in(client)] == [1, 1, 1]


def test_who_does_not_compare_keeps_both_carts_in_all_of_their_events(tmp_path: Path) -> None:
    """Without a guard both are sold, under equal versions, and the journal can be read."""
    client = office(tmp_path, "journal none", allow_unsafe=True)
    store = store_of(client)
    now = datetime.now(UTC)
    sales = {event: Sell(f"k{event}", "r", f"o-{event}", 1, None, "c-other") for event in "abc"}
    views = {event: store.view(event, [sale], now) for event, sale in sales.items()}
    assert isinstance(decide_cart(views, sales, now), Granted)
    leave_unfinished(client)
    store.append(list(views.values()))
    restart(client)
    for event in "abc":
        there = [each["cart"] for each in records(client, event) if "cart" in each]
        assert len(there) == 2
        assert there[1] == "c-other"


@every_kind
def test_a_deleted_event_takes_nothing_of_an_unfinished_cart_into_the_next_of_its_name(
    tmp_path: Path, kind: str
) -> None:
    client = office(tmp_path, kind)
    leave_unfinished(client)
    box = client.application.extensions["office"]
    box.delete("b")
    box.create(Event("b", "b", 9, lab=True))
    assert [len(each) for each in carts_in(client)] == [1, 0, 1]
    restart(client)
    assert [len(each) for each in carts_in(client)] == [1, 0, 1]


@every_kind
def test_an_intent_that_cannot_be_read_stops_the_sale_and_says_where_it_is(tmp_path: Path, kind: str) -> None:
    client = office(tmp_path, kind)
    leave_unfinished(client)
    for path in intents_of(client).iterdir():
        path.write_bytes(b'{"cart":"c')
    answer = client.post("/events/a/orders", json={"quantity": 1})
    assert (answer.status_code, answer.json["code"], answer.json["definite"]) == (500, "corrupt_document", True)
    assert "carts/a.pending" in answer.json["detail"]
    with pytest.raises(SystemExit, match="cannot be finished"):
        restart(client)


def full_after(patched: pytest.MonkeyPatch, number: int) -> None:
    """The disk takes so many writes and names, and no more."""
    left = number

    def full(call: Callable[..., Any]) -> Callable[..., Any]:
        def write(*given: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(28, "No space left on device")
            return call(*given, **more)

        return write

    for name in ("write", "link"):
        patched.setattr(os, name, full(getattr(os, name)))


def test_a_disk_that_is_full_after_the_commit_leaves_a_cart_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal's room is not taken beforehand: until the commit a definite refusal, behind it an unknown outcome."""
    told = []
    for number in range(MOST_CALLS):
        client = office(tmp_path / str(number), "journal")
        with monkeypatch.context() as patched:
            full_after(patched, number)
            answer = client.post("/carts", json=CART, headers=KEYED)
        if answer.status_code == 201:
            break
        told.append((answer.status_code, answer.json["code"], answer.json["definite"]))
        sold = told[-1] == (504, "outcome_unknown", False)
        if not sold:
            assert not list(intents_of(client).iterdir())
        buy_in("b")(client)
        assert [len(each) for each in carts_in(client)] == [sold] * 3
        ask_again(client)
        assert [len(each) for each in carts_in(client)] == [1, 1, 1]
    assert set(told) == {(507, "storage_full", True), (504, "outcome_unknown", False)}


def test_a_full_disk_refuses_a_cart_before_anything_has_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it becomes full, until the cart is committed."""
    client = office(tmp_path, "json")
    before = [path.read_bytes() for path in sorted((tmp_path / "events").glob("*.json"))]
    for number in range(MOST_CALLS):
        with monkeypatch.context() as patched:
            full_after(patched, number)
            answer = client.post("/carts", json=CART, headers=KEYED)
        if answer.status_code == 201:
            break
        assert (answer.status_code, answer.json["code"], answer.json["definite"]) == (507, "storage_full", True)
        assert [path.read_bytes() for path in sorted((tmp_path / "events").glob("*.json"))] == before
        assert not list((tmp_path / "carts").iterdir())
    assert number > 4
    assert [len(each) for each in carts_in(client)] == [1, 1, 1]
