"""Files of the data directory that somebody removes or replaces under a running office, as a tidy job does with files
that nobody writes to: nothing is sold twice, no order is lost, and all workers go on under one guard."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from typed import Answer, Typed, wait_for

from service.rules.inventory import Event
from service.sales.box_office import BoxOffice
from service.settings import Settings
from service.stores import open_store
from service.switch.shared_memory import Control

FAR = 90.0
LOCKED = ["json", "journal"]
ONE_BY_ONE = {"Connection": "close"}


def tried(ask: Callable[[], Answer]) -> Answer | None:
    """The answer; None where the connection broke without one."""
    try:
        return ask()
    except (OSError, http.client.HTTPException):
        return None


class Sale:
    """Buyers of a real event, who buy one ticket after the other under keys of their own until the block ends."""

    def __init__(self, server: Typed, buyers: int = 6) -> None:
        self.told: dict[str, list[int]] = {}
        """The tickets of each order that was acknowledged."""
        self.sold_by: set[int] = set()
        """The workers that did."""
        self._server = server
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._buy, args=(number,)) for number in range(buyers)]

    def __enter__(self) -> Sale:
        assert self._server.call("POST", "/events", {"event": "gala", "capacity": 10_000}).status == 201
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(FAR)

    def _buy(self, buyer: int) -> None:
        serial = 0
        while not self._over.is_set():
            key = {"Idempotency-Key": f"{buyer}-{serial}", **ONE_BY_ONE}
            answer = tried(lambda key=key: self._server.buy("gala", headers=key))  # type: ignore[misc]
            if answer is not None and answer.status == 201:
                self.told[answer.json["order"]] = answer.json["tickets"]
                self.sold_by.add(int(answer.headers["Last-Seat-Worker"]))
                serial += 1

    def wait_for_all(self) -> None:
        """Until every worker has sold something, the new ones too."""
        wait_for(lambda: set(self._server.workers()) <= self.sold_by, "a purchase of every worker", 2 * FAR)

    def assert_right(self) -> None:
        records = self._server.records("gala")
        assert [record["version"] for record in records] == list(range(1, len(records) + 1))
        tickets = sorted(ticket for record in records for ticket in record["tickets"])
        assert tickets == list(range(1, len(records) + 1)), "a seat was sold twice"
        written = {record["order"]: record["tickets"] for record in records}
        assert {order: written.get(order) for order in self.told} == self.told


def kill_a_worker(server: Typed) -> None:
    workers = server.workers()
    os.kill(workers[0], signal.SIGKILL)
    wait_for(lambda: len(set(server.workers()) - {workers[0]}) == len(workers), "the new worker")


def lock_files(server: Typed) -> list[Path]:
    return [*(server.data / "locks").glob("*.lock"), *(server.data / "journal").glob("*/append.lock")]


@pytest.mark.servers
@pytest.mark.parametrize("arguments", ["-w 3 service:app", "-w 3 -k gevent service:app"], ids=str)
@pytest.mark.parametrize("store", LOCKED)
def test_lock_files_are_removed_in_a_sale_and_no_seat_is_sold_twice(tmp_path: Path, store: str, arguments: str) -> None:
    variables = {"LASTSEAT_STORE": store, "LASTSEAT_THINK_MS": "10", "LASTSEAT_EVENT": "", "LASTSEAT_BATCH": "1"}
    with Typed(arguments, tmp_path / "here", **variables) as server:
        with Sale(server) as sale:
            sale.wait_for_all()
            for lose in (lambda: remove(lock_files(server)), lambda: remove([server.data / "locks"])):
                lose()
                kill_a_worker(server)
                sale.wait_for_all()
        sale.assert_right()
        assert "was removed or replaced while the service runs" in server.said


def everything(server: Typed) -> list[Path]:
    """All files that are the service's own, and none of what is sold."""
    names = ("control", "control.lock", "guard.json", "sweeper.lock", "locks", "waits", "metrics")
    return [path for path in (*(server.data / name for name in names), *lock_files(server)) if path.exists()]


def remove(paths: list[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def replace(paths: list[Path]) -> None:
    """By a copy, as who restores a backup does."""
    for path in paths:
        if path.is_file():
            shutil.copy(path, path.with_name("restored"))
            path.with_name("restored").rename(path)


def empty(paths: list[Path]) -> None:
    """By a file with nothing in it."""
    for path in paths:
        if path.is_file():
            path.with_name("empty").touch()
            path.with_name("empty").rename(path)


def guards_of_all(server: Typed) -> set[tuple[str, int]]:
    """What each of the workers says of the guard."""
    found: dict[int, tuple[str, int]] = {}

    def all_were_asked() -> bool:
        answer = tried(lambda: server.call("GET", "/guard", headers=ONE_BY_ONE))
        if answer is not None and answer.status == 200:
            found[int(answer.headers["Last-Seat-Worker"])] = answer.json["guard"], answer.json["epoch"]
        return set(found) >= set(server.workers())

    wait_for(all_were_asked, "an answer of every worker")
    return {found[worker] for worker in server.workers()}


@pytest.mark.servers
@pytest.mark.parametrize("how", [remove, replace, empty], ids=lambda how: how.__name__)
@pytest.mark.parametrize("store", LOCKED)
def test_whatever_is_removed_or_replaced_all_workers_go_on_under_one_guard(
    tmp_path: Path, store: str, how: Callable[[list[Path]], None]
) -> None:
    variables = {"LASTSEAT_STORE": store, "LASTSEAT_GUARD": "thread", "LASTSEAT_ALLOW_UNSAFE": "1"}
    with Typed("-w 2 service:app", tmp_path / "here", **variables) as server:
        assert server.call("PUT", "/guard", {"guard": "on"}).json["epoch"] == 2
        epoch = 2
        for path in everything(server):
            how([path])
            assert server.buy(headers=ONE_BY_ONE).status == 201, path
            assert guards_of_all(server) == {("file", epoch)}, path
            assert server.call("GET", "/readyz").status == 200
        how(everything(server))
        kill_a_worker(server)
        assert guards_of_all(server) == {("file", epoch)}
        for guard, name in (("off", "none"), ("on", "file")):
            epoch += 1
            switched = server.call("PUT", "/guard", {"guard": guard})
            assert (switched.status, switched.json["epoch"]) == (200, epoch)
            assert guards_of_all(server) == {(name, epoch)}
        assert server.buy().status == 201
        records = server.records()
        assert [record["tickets"] for record in records] == [[n] for n in range(1, len(records) + 1)]
        assert "control was removed or replaced while the service runs" in server.said
        assert "Traceback" not in server.said


@pytest.mark.servers
def test_a_closed_store_does_not_open_because_a_file_was_removed(tmp_path: Path) -> None:
    with Typed("-w 2 service:app", tmp_path / "here") as server:
        guards_of_all(server)  # all are there
        Control(server.data).close_store()
        for paths in (["control"], ["guard.json"], ["control", "guard.json", "locks"]):
            remove([server.data / path for path in paths])
            kill_a_worker(server)
            wait_for((server.data / "control").exists, "the file of those who are left")
            guards_of_all(server)
            for _ in range(20):
                assert server.buy(headers=ONE_BY_ONE).code == "store_closed"


@pytest.mark.servers
def test_where_nobody_is_left_who_knows_the_store_is_closed_until_a_restart(tmp_path: Path) -> None:
    with Typed("service:app", tmp_path / "here") as server:
        [worker] = server.workers()
        os.kill(worker, signal.SIGSTOP)  # else it might make the file anew before its end
        (server.data / "control").unlink()
        os.kill(worker, signal.SIGKILL)
        answer = wait_for(lambda: tried(server.buy), "the new worker")
        assert answer.code == "store_closed"
        assert "no process is left that knew whether the store was closed" in server.said
        server.kill()
        server.start()
        assert server.buy().status == 201


@pytest.mark.servers
def test_the_removed_file_of_the_token_comes_again_and_a_new_worker_has_the_same_token(tmp_path: Path) -> None:
    with Typed("-w 2 service:app", tmp_path / "here", LASTSEAT_ADMIN_TOKEN="") as server:
        guards_of_all(server)  # all are there
        path = server.data / "admin-token"
        token = path.read_text()
        path.unlink()
        kill_a_worker(server)
        wait_for(path.exists, "the file of the worker that is left")
        assert path.read_text() == token
        assert path.stat().st_mode & 0o777 == 0o600
        mine = {"Authorization": f"Bearer {token.strip()}"}
        answers: dict[int, int] = {}
        while not set(server.workers()) <= answers.keys():
            answer = server.call("PUT", "/guard", {"guard": "on"}, headers=mine)
            answers[int(answer.headers["Last-Seat-Worker"])] = answer.status
        assert set(answers.values()) == {200}


# -- what makes it right ----------------------------------------------------------------------------------------------


class Process:
    """An office as another process has it: its own control, store and guards."""

    def __init__(self, data: Path, store: str) -> None:
        settings = Settings(data=data, store=store, lock_timeout_s=FAR)
        opened = open_store(settings)
        self.control = Control(data)
        self.office = BoxOffice(settings, opened, self.control, 2)
        self.control.start("file", "test", FAR)

    def buy(self) -> tuple[int, ...]:
        return self.office.buy("show", key="", request="", quantity=1, buyer=None).record.tickets

    @contextmanager
    def inside(self) -> Iterator[None]:
        """A purchase that has the guard."""
        guard = self.office.transactions.guard("file")
        with self.control.transaction(FAR**9), guard.around_request("show", FAR**9):
            yield


@pytest.fixture(params=LOCKED)
def two(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Process, Process]:
    one = Process(tmp_path, request.param)
    one.office.create(Event("show", "Show", 100))
    assert one.buy() == (1,)
    return one, Process(tmp_path, request.param)


def removed(data: Path) -> None:
    (data / "locks" / "show.lock").unlink()


def removed_with_its_directory(data: Path) -> None:
    shutil.rmtree(data / "locks")


def another_in_its_place(data: Path) -> None:
    removed(data)
    (data / "locks" / "show.lock").touch()


def a_copy_in_its_place(data: Path) -> None:
    replace([data / "locks" / "show.lock"])


@pytest.mark.parametrize("lost", [removed, removed_with_its_directory, another_in_its_place, a_copy_in_its_place])
def test_nobody_gets_in_beside_who_has_the_removed_file(
    tmp_path: Path, two: tuple[Process, Process], lost: Callable[[Path], None]
) -> None:
    one, other = two
    with ThreadPoolExecutor(1) as pool:
        with one.inside():
            lost(tmp_path)
            buying = pool.submit(other.buy)
            wait_for(lambda: buying.done() or other.control._somebody_wishes(), "the other one at the door")
            assert not buying.done(), "two are inside"
        assert buying.result(FAR) == (2,)
    assert one.buy() == (3,)


def test_lock_files_that_are_put_back_do_not_count_any_more(tmp_path: Path, two: tuple[Process, Process]) -> None:
    one, other = two
    (tmp_path / "locks").rename(tmp_path / "aside")
    assert one.buy() == (2,)
    with ThreadPoolExecutor(1) as pool:
        with one.inside():
            shutil.rmtree(tmp_path / "locks")
            (tmp_path / "aside").rename(tmp_path / "locks")
            buying = pool.submit(Process(tmp_path, one.office.store.name).buy)
            wait_for(lambda: buying.done() or one.control._somebody_wishes(), "the new one at the door")
            assert not buying.done(), "two are inside"
        assert buying.result(FAR) == (3,)
    assert other.buy() == (4,)


def test_the_first_purchase_of_a_new_event_waits_for_nobody(tmp_path: Path, two: tuple[Process, Process]) -> None:
    one, other = two
    one.office.create(Event("gala", "Gala", 10))
    with one.inside():
        assert other.office.buy("gala", key="", request="", quantity=1, buyer=None).record.tickets == (1,)


def test_where_the_lock_cannot_be_mended_in_time_nothing_was_written(
    tmp_path: Path, two: tuple[Process, Process]
) -> None:
    from service.errors import Problem

    one, other = two
    other.office._settings = Settings(data=tmp_path, lock_timeout_s=0.05)
    with one.inside():
        removed(tmp_path)
        with pytest.raises(Problem) as problem:
            other.buy()
    assert (problem.value.code, problem.value.kind.definite) == ("switching", True)
    assert one.buy() == (2,)


def test_one_of_two_writers_of_a_journal_waits_though_a_file_was_removed(tmp_path: Path) -> None:
    """The lock that keeps lines whole, under no guard."""
    from service.stores.journal.segments import Appending

    Process(tmp_path, "journal").office.create(Event("show", "Show", 100))
    directory = tmp_path / "journal" / "show"
    began: list[Any] = []
    with ThreadPoolExecutor(1) as pool:
        with Appending(directory):
            for path in directory.glob("*.lock"):
                path.unlink()
            other = Appending(directory)
            trying = pool.submit(other._try)
            assert not trying.result(FAR)
        with other:
            began.append(True)
    assert began


def test_a_cart_goes_on_though_the_lock_files_of_its_events_were_removed(
    make_client: Callable[..., FlaskClient], tmp_path: Path, admin: dict[str, str]
) -> None:
    client = make_client()
    client.post("/events", json={"event": "gala", "capacity": 5}, headers=admin)
    remove([tmp_path / "data" / "locks"])
    items = [{"event": event, "quantity": 1} for event in ("gala", "show")]
    assert client.post("/carts", json={"items": items}).status_code == 201


@pytest.mark.parametrize("store", LOCKED)
def test_a_guard_around_the_whole_request_is_mended_and_the_next_request_is_served(
    make_client: Callable[..., FlaskClient], tmp_path: Path, store: str
) -> None:
    client = make_client(store=store, request_scope=True)
    remove([tmp_path / "data" / "locks"])
    answer = client.post("/events/show/orders", json={"quantity": 1})
    assert (answer.status_code, answer.json["code"], answer.json["definite"]) == (503, "switching", True)
    assert client.post("/events/show/orders", json={"quantity": 1}).json["tickets"] == [1]
