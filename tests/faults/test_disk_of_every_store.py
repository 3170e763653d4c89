"""What a failing disk, a damaged file, an older copy and a clock that goes back do to each durable store.

Every message says what happened, whether anything was written, and what to do next.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import disks
import pytest
from flask.testing import FlaskClient
from injected import failing
from typed import Answer, Typed

from loadtests.lab.faults.disk.calls import WRITES
from loadtests.lab.faults.disk.tracing import SYNCS
from service.stores import STORES, store_class


def durable_stores() -> list[str]:
    """Those that keep their events on this host's disk themselves; an engine's disk is its own business."""
    return [name for name in STORES if store_class(name).durable and store_class(name).scope == "host"]


every_store = pytest.mark.parametrize("store", durable_stores())


Refusing = Callable[[Typed], AbstractContextManager[None]]


def assert_refused(answer: Answer, status: int, *codes: str) -> None:
    assert answer.status == status, answer
    assert answer.code in codes
    assert answer.json["definite"] is True
    assert answer.json["detail"]


def assert_sells_on(server: Typed, orders: list[str]) -> None:
    """What was acknowledged is there, nothing else, and the next buyer is served."""
    assert [record["order"] for record in server.records()] == orders
    after = server.buy()
    assert after.status == 201
    assert after.json["version"] == len(orders) + 1
    assert "Traceback" not in server.said


def limited(server: Typed) -> AbstractContextManager[None]:
    """RLIMIT_FSIZE: no file may grow beyond what it has."""
    kept = (path for path in server.data.rglob("*") if path.is_file() and "metrics" not in path.parts)
    return disks.limited(server, max(path.stat().st_size for path in kept))


# -- refused, definitely ----------------------------------------------------------------------------------------------

REFUSALS: dict[str, tuple[Refusing, set[str]]] = {
    "no_space": (lambda server: failing(server, WRITES, "ENOSPC"), {"storage_full"}),
    # SQLite's library knows of no quotas: to it that is an error like any other.
    "over_quota": (lambda server: failing(server, WRITES, "EDQUOT"), {"storage_full", "storage_refused"}),
    "read_only": (lambda server: failing(server, WRITES, "EROFS"), {"storage_refused"}),
    "file_size_limit": (limited, {"storage_refused"}),
}
STATUS = {"storage_full": 507, "storage_refused": 503}


@pytest.mark.servers
@every_store
@pytest.mark.parametrize("refusal", REFUSALS)
def test_where_the_disk_takes_no_write_the_buyer_is_told_that_nothing_was_written_and_readers_are_served(
    tmp_path: Path, store: str, refusal: str
) -> None:
    refusing, codes = REFUSALS[refusal]
    with Typed("service:app", tmp_path / "here", LASTSEAT_STORE=store, LASTSEAT_EVENT="show:1000") as server:
        orders = [server.buy().json["order"] for _ in range(3)]
        with refusing(server):
            while (answer := server.buy(quantity=10)).status == 201:
                assert refusal == "file_size_limit"  # there was room for some yet
                orders.append(answer.json["order"])
            assert_refused(answer, STATUS[answer.code], *codes)
            assert "try again" in answer.json["detail"]
            seen = server.call("GET", "/events/show")
            if store == "sqlite":
                # Its library needs to write before it can read, where no other process has the database open.
                assert seen.status == 200 or (seen.status, seen.json["definite"]) == (503, True)
            else:
                assert seen.json["version"] == len(orders)
        assert_sells_on(server, orders)
        server.kill()
        server.start()
        assert len(server.records()) == len(orders) + 1


@pytest.mark.servers
@pytest.mark.parametrize("store", [store for store in durable_stores() if store != "json"])  # see test_disk
def test_a_disk_fills_with_sales_and_the_last_acknowledged_one_is_the_last_there(tmp_path: Path, store: str) -> None:
    """No ballast: the sales themselves use up the room, so the failure comes in the middle of a write."""
    if not disks.may_mount():
        pytest.skip("this machine does not allow mounts; a limit on file sizes stands in for it above")
    data = tmp_path / "data"
    variables = {"LASTSEAT_DATA": str(data), "LASTSEAT_EVENT": "show:100000", "LASTSEAT_STORE": store}
    # SQLite's log alone may take more than the others' whole sale.
    through = disks.on_small_disk(data, kib=1200 if store == "sqlite" else 240)
    with Typed("service:app", tmp_path / "here", through=through, **variables) as server:
        sold: list[str] = []
        while (answer := server.buy(quantity=10)).status == 201:
            sold.append(answer.json["order"])
        assert_refused(answer, 507, "storage_full")
        assert len(sold) > 20
        assert [record["order"] for record in server.records()] == sold


# -- a sync that fails ------------------------------------------------------------------------------------------------


@pytest.mark.servers
@every_store
def test_after_a_failed_sync_nothing_is_acknowledged_until_a_restart(tmp_path: Path, store: str) -> None:
    """A second sync would succeed without having written anything; so nobody may try, and nobody is told anything."""
    key = {"Idempotency-Key": "k1"}
    with Typed("-w 2 service:app", tmp_path / "here", LASTSEAT_STORE=store) as server:
        orders = [server.buy().json["order"]]
        with failing(server, SYNCS, "EIO"):
            answer = server.buy(headers=key)
        # Replacing a document it may be that only its new content was not synced: it counts for nothing, and says so.
        if not answer.json["definite"]:
            assert (answer.status, answer.code) == (500, "not_durable")
            for each in (server.buy(), server.call("GET", "/events/show"), server.buy(headers=key)):
                assert_refused(each, 503, "store_closed")
                assert "restart the service" in each.json["detail"]
        else:
            assert_refused(answer, 503, "storage_refused")
        assert answer.json["definite"] is (store == "json")
        server.kill()
        server.start()
        again = server.buy(headers=key)
        assert again.status == 201
        assert [record["order"] for record in server.records()] == [*orders, again.json["order"]]


# -- an older copy ----------------------------------------------------------------------------------------------------


def files_of(data: Path) -> list[Path]:
    """Where a store keeps its events; locks and control files are not among them."""
    return [each for each in data.iterdir() if each.name.startswith(("events", "journal", "lastseat.db"))]


def put_back(copy: Path, data: Path) -> None:
    for each in files_of(data):
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    for each in copy.iterdir():
        target = data / each.name
        shutil.copytree(each, target) if each.is_dir() else shutil.copy(each, target)


def older_copy(client: FlaskClient, data: Path, copy: Path) -> None:
    """A copy of the data after one sale, put back after three."""
    assert client.post("/events/show/orders", json={"quantity": 1}).status_code == 201
    copy.mkdir()
    for each in files_of(data):
        shutil.copytree(each, copy / each.name) if each.is_dir() else shutil.copy(each, copy / each.name)
    for _ in range(2):
        assert client.post("/events/show/orders", json={"quantity": 1}).status_code == 201
    put_back(copy, data)


@pytest.mark.parametrize("store", ["journal", "sqlite"])
def test_an_older_copy_put_back_under_a_running_office_is_refused_by_who_saw_more(
    make_client: Callable[..., FlaskClient], tmp_path: Path, store: str
) -> None:
    client = make_client(store=store)
    older_copy(client, tmp_path / "data", tmp_path / "copy")
    for answer in (client.post("/events/show/orders", json={"quantity": 1}), client.get("/events/show")):
        assert (answer.status_code, answer.json["code"], answer.json["definite"]) == (500, "corrupt_document", True)
        assert "Nothing was written" in answer.json["detail"]
        assert "Stop the service" in answer.json["detail"]


@every_store
def test_after_a_restart_an_older_copy_cannot_be_told_from_the_truth(
    make_client: Callable[..., FlaskClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """The limit of the promise, which the documentation states: nobody is left who saw more."""
    older_copy(make_client(store=store), tmp_path / "data", tmp_path / "copy")
    monkeypatch.setattr("service.runtime.gunicorn._identity", lambda pid: "the next master")
    answer = make_client(store=store).post("/events/show/orders", json={"quantity": 1})
    assert (answer.status_code, answer.json["version"], answer.json["tickets"]) == (201, 2, [2])


def test_a_journal_whose_segment_was_removed_under_a_running_office_is_refused(
    make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    client = make_client(store="journal")
    assert client.post("/events/show/orders", json={"quantity": 1}).status_code == 201
    (tmp_path / "data" / "journal" / "show" / "00000001.jsonl").unlink()
    answer = client.post("/events/show/orders", json={"quantity": 1})
    assert (answer.status_code, answer.json["code"]) == (500, "corrupt_document")
    assert "Nothing was written" in answer.json["detail"]


# -- damaged ----------------------------------------------------------------------------------------------------------


def flip_a_bit(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def cut_out_of_the_middle(content: bytes) -> bytes:
    return content[: len(content) // 3] + content[2 * len(content) // 3 :]


@pytest.mark.parametrize("damage", [flip_a_bit, cut_out_of_the_middle], ids=lambda damage: damage.__name__)
def test_a_damaged_journal_stops_its_event_alone_says_where_and_what_to_do_and_is_left_as_it_is(
    make_client: Callable[..., FlaskClient], admin: dict[str, str], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    client = make_client(store="journal")
    client.post("/events", json={"event": "gala", "capacity": 5}, headers=admin)
    for _ in range(6):
        client.post("/events/show/orders", json={"quantity": 1})
    segment = tmp_path / "data" / "journal" / "show" / "00000001.jsonl"
    whole = segment.read_bytes()
    segment.write_bytes(damage(whole))
    client = make_client(store="journal")
    for answer in (
        client.post("/events/show/orders", json={"quantity": 1}),
        client.get("/events/show"),
        client.get("/events/show/audit"),
    ):
        assert (answer.status_code, answer.json["code"], answer.json["definite"]) == (500, "corrupt_document", True)
        for said in ("damaged at byte", "Nothing was written", "lastseat journal repair"):
            assert said in answer.json["detail"]
    assert segment.read_bytes() == damage(whole)
    assert client.post("/events/gala/orders", json={"quantity": 1}).status_code == 201
    segment.write_bytes(whole)
    assert client.post("/events/show/orders", json={"quantity": 1}).json["tickets"] == [7]


# -- a clock that goes back -------------------------------------------------------------------------------------------


class Clock:
    """In the place of ``datetime`` in the box office: tells the time that a test wants."""

    def __init__(self, now: datetime) -> None:
        self.time = now

    def now(self, _: object) -> datetime:
        return self.time


@every_store
def test_a_clock_that_goes_back_closes_the_doors_again_and_neither_loses_nor_repeats_anything(
    make_client: Callable[..., FlaskClient],
    admin: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    store: str,
) -> None:
    opens = datetime(2026, 11, 23, 8, tzinfo=UTC)
    clock = Clock(opens)
    monkeypatch.setattr("service.sales.command_handler.datetime", clock)
    client = make_client(store=store)
    client.post("/events", json={"event": "gala", "capacity": 9, "opens_at": opens.isoformat()}, headers=admin)

    def buy(event: str) -> tuple[int, dict[str, object]]:
        answer = client.post(f"/events/{event}/orders", json={"quantity": 1}, headers={"Idempotency-Key": "k"})
        return answer.status_code, answer.get_json()

    first = buy("gala")
    assert first[0] == 201
    clock.time = opens - timedelta(hours=1)
    assert buy("gala") == first  # decided before: the clock is not asked
    later = client.post("/events/gala/orders", json={"quantity": 1})
    assert (later.status_code, later.json["code"], later.json["definite"]) == (409, "doors_closed", True)
    assert later.headers["Retry-After"] == "3600"
    assert [client.post("/events/show/orders", json={"quantity": 1}).json["version"] for _ in range(3)] == [1, 2, 3]
    clock.time = opens
    assert client.post("/events/gala/orders", json={"quantity": 1}).json["version"] == 2
