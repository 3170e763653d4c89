"""A disk that is full, refuses, damages or fails: buyers are told the truth, and what they were promised is there."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import disks
import pytest
from flask.testing import FlaskClient
from typed import Answer, Typed
from werkzeug.test import TestResponse

from service.app import create_app
from service.settings import Settings
from service.switch.shared_memory import Control

STATUS = {"storage_full": 507, "storage_refused": 503}


def assert_problem(answer: Answer | TestResponse, status: int, code: str, *, definite: bool) -> None:
    found = answer.json
    got = answer.status if isinstance(answer, Answer) else answer.status_code
    assert (got, found["code"], found["definite"]) == (status, code, definite)
    assert answer.headers["Content-Type"] == "application/problem+json"


def buy(client: FlaskClient, event: str = "show") -> TestResponse:
    return client.post(f"/events/{event}/orders", json={"quantity": 1})


# -- full, and refusing -----------------------------------------------------------------------------------------------


@pytest.mark.servers
def test_when_the_disk_is_full_buyers_are_told_and_all_that_was_sold_is_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    through = disks.on_small_disk(data, kib=160)
    variables = {"LASTSEAT_DATA": str(data), "LASTSEAT_EVENT": "show:1000"}
    with Typed("-w 2 service:app", tmp_path / "here", through=through, **variables) as server:
        orders = [server.buy().json["order"] for _ in range(5)]
        with disks.full(server) as code:
            status = STATUS[code]
            for answer in (server.buy() for _ in range(4)):
                assert_problem(answer, status, code, definite=True)
                assert answer.headers["Retry-After"]
                assert answer.json["detail"]
            cancelled = server.call("DELETE", f"/events/show/orders/{orders[0]}")
            assert_problem(cancelled, status, code, definite=True)
            made = server.call("POST", "/events", {"event": "gala", "capacity": 5})
            assert_problem(made, status, code, definite=True)
            switched = server.call("PUT", "/guard", {"guard": "off"})
            assert_problem(switched, status, code, definite=True)
            assert server.call("GET", "/guard").json["guard"] == "file"
            assert [record["order"] for record in server.records()] == orders
            assert server.call("GET", "/events/show").json["sold"] == 5
        assert server.call("GET", "/events/gala").status == 404
        orders.append(server.buy().json["order"])
        assert [record["order"] for record in server.records()] == orders
        assert server.call("POST", "/events", {"event": "gala", "capacity": 5}).status == 201
        assert server.call("PUT", "/guard", {"guard": "off"}).status == 200
        assert "Traceback" not in server.said


@pytest.mark.servers
def test_a_disk_fills_with_sales_and_the_last_acknowledged_one_is_the_last_there(tmp_path: Path) -> None:
    """No ballast: the sales themselves use up the room, so the failure comes in the middle of a document."""
    data = tmp_path / "data"
    through = disks.on_small_disk(data, kib=64)
    variables = {"LASTSEAT_DATA": str(data), "LASTSEAT_EVENT": "show:100000"}
    with Typed("service:app", tmp_path / "here", through=through, **variables) as server:
        sold: list[str] = []
        with disks.growing_full(server, kib=20) as code:
            while (answer := server.buy(quantity=10)).status == 201:
                sold.append(answer.json["order"])
        assert_problem(answer, STATUS[code], code, definite=True)
        assert len(sold) > 20
        assert [record["order"] for record in server.records()] == sold


@pytest.mark.servers
def test_when_the_disk_turns_read_only_buyers_are_told_and_readers_served(tmp_path: Path) -> None:
    data = tmp_path / "data"
    through = disks.on_small_disk(data, kib=256)
    with Typed("-w 2 service:app", tmp_path / "here", through=through, LASTSEAT_DATA=str(data)) as server:
        orders = [server.buy().json["order"]]
        before = server.audit()
        with disks.read_only(server) as code:
            for answer in (server.buy(), server.call("DELETE", f"/events/show/orders/{orders[0]}")):
                assert_problem(answer, 503, code, definite=True)
                assert "mend it" in answer.json["detail"]
            assert_problem(server.call("POST", "/events", {"event": "gala", "capacity": 5}), 503, code, definite=True)
            assert server.audit() == before
        assert server.call("GET", "/events/gala").status == 404
        orders.append(server.buy().json["order"])
        assert [record["order"] for record in server.records()] == orders
        assert "Traceback" not in server.said


def test_an_event_that_cannot_be_removed_is_still_there(
    client: FlaskClient, admin: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = buy(client).json["order"]

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as read_only:
        read_only.setattr(os, "unlink", refuse)
        assert_problem(client.delete("/events/show", headers=admin), 503, "storage_refused", definite=True)
    assert client.get(f"/events/show/orders/{order}").json["status"] == "sold"
    assert buy(client).status_code == 201


# -- damaged ----------------------------------------------------------------------------------------------------------


def cut_in_half(document: bytes) -> bytes:
    return document[: len(document) // 2]


def empty(document: bytes) -> bytes:
    return b""


def other_letters(document: bytes) -> bytes:
    return document.replace(b'"sold"', b'"s\xff\xfed"', 1)


def not_an_event(document: bytes) -> bytes:
    return b'{"hello":"world"}\n'


DAMAGES: list[Callable[[bytes], bytes]] = [cut_in_half, empty, other_letters, not_an_event]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_document_stops_its_event_alone_and_is_left_as_it_is(
    client: FlaskClient, admin: dict[str, str], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    order = buy(client).json["order"]
    client.post("/events", json={"event": "gala", "capacity": 5}, headers=admin)
    document = tmp_path / "data" / "events" / "show.json"
    whole = document.read_bytes()
    document.write_bytes(damage(whole))
    for answer in (
        buy(client),
        client.delete(f"/events/show/orders/{order}"),
        client.get(f"/events/show/orders/{order}"),
        client.get("/events/show"),
        client.get("/events/show/audit"),
    ):
        assert_problem(answer, 500, "corrupt_document", definite=True)
        assert "events/show.json" in answer.json["detail"]
        assert "Nothing was written" in answer.json["detail"]
    assert document.read_bytes() == damage(whole)
    assert buy(client, "gala").status_code == 201
    assert [each["event"] for each in client.get("/events").json["events"]] == ["gala"]
    assert client.get("/").status_code == 200
    assert client.get("/readyz").status_code == 200
    # A good copy put back is all that it takes.
    document.write_bytes(whole)
    assert buy(client).json["tickets"] == [2]


def test_a_start_with_a_damaged_document_sells_the_other_events(
    make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    make_client()
    document = tmp_path / "data" / "events" / "show.json"
    document.write_bytes(b"{")
    client = make_client(first_event=("gala", 5))
    assert buy(client, "gala").status_code == 201
    assert_problem(buy(client), 500, "corrupt_document", definite=True)
    assert document.read_bytes() == b"{"


def test_a_damaged_event_is_not_removed_since_nobody_can_say_what_was_sold(
    client: FlaskClient, admin: dict[str, str], tmp_path: Path
) -> None:
    document = tmp_path / "data" / "events" / "show.json"
    document.write_bytes(b"{")
    for query in ("", "?even_if_sold=0"):
        answer = client.delete(f"/events/show{query}", headers=admin)
        assert_problem(answer, 500, "corrupt_document", definite=True)
    assert document.read_bytes() == b"{"


# -- left behind ------------------------------------------------------------------------------------------------------


def test_what_killed_writers_left_is_gone_after_the_next_start_and_nothing_else(
    make_client: Callable[..., FlaskClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    order = buy(make_client()).json["order"]
    before = _kept_files(data)
    (data / "events" / "show.json.4711.0.tmp").write_bytes(b'{"about":{"event":"show","na')
    (data / "events" / "gala.json.4711.1.tmp").write_bytes(b"")
    (data / "guard.json.4711.0.tmp").write_bytes(b'{"gua')
    monkeypatch.setattr("service.runtime.gunicorn._identity", lambda pid: "the next master")
    client = make_client()
    assert _kept_files(data) == before
    assert client.get(f"/events/show/orders/{order}").json["status"] == "sold"


def _kept_files(data: Path) -> set[Path]:
    """All files but the metrics: each master has those in a directory of its own."""
    return {path for path in data.rglob("*") if path.is_file() and "metrics" not in path.parts}


def test_a_respawned_worker_leaves_the_others_files_alone(
    make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    make_client()
    being_written = tmp_path / "data" / "events" / "show.json.4711.0.tmp"
    being_written.write_bytes(b'{"about":')
    make_client()
    assert being_written.exists()


def test_nobody_writes_while_a_new_master_tidies(
    make_client: Callable[..., FlaskClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would take a living writer's file for a dead one's, and a purchase would fail for nothing."""
    from service.errors import Problem
    from service.stores.json.document import JsonDocuments

    could_enter: list[bool] = []

    def tidy(self: JsonDocuments) -> None:
        another = Control(tmp_path / "data")
        try:
            with another.transaction(0.0):
                could_enter.append(True)
        except Problem as problem:
            could_enter.append(problem.code != "switching")
        finally:
            another.close()

    monkeypatch.setattr(JsonDocuments, "tidy", tidy)
    make_client()
    assert could_enter == [False]


# -- a failed sync ----------------------------------------------------------------------------------------------------


@pytest.fixture
def failing_disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """``os.fsync`` fails while ``failing_disk["now"]`` is true: how a disk says that it lost what was written."""
    state = {"now": False}
    fsync = os.fsync

    def fail(fd: int) -> None:
        if state["now"]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail)
    return state


def test_after_a_failed_sync_nobody_is_told_anything_that_might_not_last(
    client: FlaskClient, admin: dict[str, str], tmp_path: Path, failing_disk: dict[str, bool]
) -> None:
    """A second sync would succeed without having written anything; so nobody may try, in no process, nor read on."""
    order = buy(client).json["order"]
    other_process = create_app(Settings(data=tmp_path / "data", admin_token="test-token")).test_client()
    assert other_process.get("/events/show").json["sold"] == 1

    failing_disk["now"] = True
    assert_problem(buy(client), 500, "not_durable", definite=False)
    failing_disk["now"] = False

    for each in (client, other_process):
        new = {"event": "gala", "capacity": 5}
        for answer in (
            buy(each),
            each.delete(f"/events/show/orders/{order}"),
            each.get(f"/events/show/orders/{order}"),
            each.get("/events/show"),
            each.get("/events"),
            each.get("/events/show/audit"),
            each.get("/readyz"),
            each.post("/events", json=new, headers=admin),
            each.delete("/events/show", headers=admin),
        ):
            assert_problem(answer, 503, "store_closed", definite=True)
            assert "restart the service" in answer.json["detail"]
        assert each.get("/healthz").status_code == 200


def test_after_a_restart_the_store_is_open_and_the_doubtful_sale_is_found_by_its_key(
    make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch, failing_disk: dict[str, bool]
) -> None:
    client = make_client()
    failing_disk["now"] = True
    key = {"Idempotency-Key": "k1"}
    assert_problem(
        client.post("/events/show/orders", json={"quantity": 1}, headers=key), 500, "not_durable", definite=False
    )
    failing_disk["now"] = False
    monkeypatch.setattr("service.runtime.gunicorn._identity", lambda pid: "the next master")
    after = make_client()
    answer = after.post("/events/show/orders", json={"quantity": 1}, headers=key)
    assert answer.status_code == 201
    assert after.get("/events/show").json["sold"] == 1


@pytest.mark.parametrize("admins_call", ["create", "delete"])
def test_a_failed_sync_of_an_admins_call_closes_the_store_too(
    client: FlaskClient, admin: dict[str, str], failing_disk: dict[str, bool], admins_call: str
) -> None:
    """The event is there, or gone, for who looks now; nobody knows whether it will be after a power cut."""
    failing_disk["now"] = True
    if admins_call == "create":
        answer = client.post("/events", json={"event": "gala", "capacity": 5}, headers=admin)
    else:
        answer = client.delete("/events/show", headers=admin)
    assert_problem(answer, 500, "not_durable", definite=False)
    failing_disk["now"] = False
    assert_problem(buy(client), 503, "store_closed", definite=True)


def test_a_read_that_cannot_be_made_durable_is_not_answered(
    client: FlaskClient, tmp_path: Path, failing_disk: dict[str, bool]
) -> None:
    """No answer leaves at a version that is not durable; another process wrote it, and nobody synced it yet."""
    other_process = create_app(Settings(data=tmp_path / "data", admin_token="test-token")).test_client()
    buy(other_process)
    failing_disk["now"] = True
    assert_problem(client.get("/events/show"), 500, "not_durable", definite=False)


def test_a_failed_write_of_the_content_changes_nothing_and_the_store_stays_open(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it has the name of the document, a new content is nothing: its failure is definite."""
    order = buy(client).json["order"]
    before = client.get("/events/show/audit").data
    with monkeypatch.context() as broken:

        def fail(fd: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        broken.setattr(os, "fdatasync", fail)
        assert_problem(buy(client), 503, "storage_refused", definite=True)
    assert client.get("/events/show/audit").data == before
    assert [path.name for path in (tmp_path / "data" / "events").iterdir()] == ["show.json"]
    assert buy(client).status_code == 201
    assert client.get(f"/events/show/orders/{order}").json["status"] == "sold"


def test_a_file_of_the_same_number_and_time_is_synced_all_the_same(
    client: FlaskClient, tmp_path: Path, failing_disk: dict[str, bool]
) -> None:
    """A file system gives a freed number away at once, and its clock may stand still for some milliseconds."""
    buy(client)
    document = tmp_path / "data" / "events" / "show.json"
    known = tmp_path / "known"
    known.hardlink_to(document)
    before = known.stat()
    other_process = create_app(Settings(data=tmp_path / "data", admin_token="test-token")).test_client()
    buy(other_process)
    known.write_bytes(document.read_bytes())
    known.rename(document)
    os.utime(document, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (document.stat().st_ino, document.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    failing_disk["now"] = True
    assert_problem(client.get("/events/show"), 500, "not_durable", definite=False)
