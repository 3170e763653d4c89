"""A lock whose holder is slow, stuck or killed: the next buyer is served or told so, and nothing is lost."""

from __future__ import annotations

import fcntl
import http.client
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typed import Answer, Typed, flock_holders, wait_for

pytestmark = pytest.mark.servers


@contextmanager
def held(server: Typed) -> Iterator[None]:
    """As if a purchase in another process were inside and did not end."""
    fd = os.open(server.data / "locks" / "show.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def try_to_buy(server: Typed, key: str = "") -> Answer | None:
    """The answer, or None where the connection broke without one."""
    try:
        return server.buy(headers={"Idempotency-Key": key} if key else {}, timeout_s=30)
    except (OSError, http.client.HTTPException):
        return None


# -- gunicorn's time-out against the lock's ---------------------------------------------------------------------------


def test_a_sync_worker_that_waits_longer_than_gunicorns_timeout_is_killed_in_the_purchase(tmp_path: Path) -> None:
    """The negative control: a lock time-out that is not the shorter one, which a start refuses unless it is allowed."""
    variables = {"LASTSEAT_ALLOW_UNSAFE": "1", "LASTSEAT_LOCK_TIMEOUT_S": "20"}
    with Typed("--timeout 1 service:app", tmp_path / "here", **variables) as server:
        (worker,) = server.workers()
        with held(server):
            answer = try_to_buy(server)
            wait_for(lambda: worker not in server.workers(), "the end of the worker")
        assert "WORKER TIMEOUT" in server.said
        assert answer is None or (answer.status == 500 and b"definite" not in answer.content)


def test_with_a_shorter_lock_timeout_the_buyer_is_told_and_the_worker_lives(tmp_path: Path) -> None:
    with Typed("--timeout 10 service:app", tmp_path / "here", LASTSEAT_LOCK_TIMEOUT_S="1") as server:
        workers = server.workers()
        with held(server):
            answer = try_to_buy(server)
        assert answer is not None
        assert (answer.status, answer.code, answer.json["definite"]) == (503, "lock_timeout", True)
        assert answer.headers["Retry-After"] == "1"
        assert server.records() == []
        assert server.buy().json["tickets"] == [1]
        assert server.workers() == workers
        assert "TIMEOUT" not in server.said


def stopped_inside(server: Typed) -> int | None:
    """A worker that holds the lock of the event ``show`` and is stopped there, so that it cannot get out meanwhile."""
    lock = server.data / "locks" / "show.lock"
    for worker in flock_holders(lock) & set(server.workers()):
        os.kill(worker, signal.SIGSTOP)
        if worker in flock_holders(lock):
            return worker
        os.kill(worker, signal.SIGCONT)
    return None


# -- kill -9 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", ["-w 3 service:app", "-w 2 -k gevent service:app"], ids=str)
def test_after_kill_9_of_the_lock_holder_the_next_buyer_is_served_and_nothing_is_lost(
    tmp_path: Path, arguments: str
) -> None:
    """The killed one's purchase may be written or not, never half; all others are exactly as they were answered."""
    variables = {"LASTSEAT_THINK_MS": "300", "LASTSEAT_LOCK_TIMEOUT_S": "20", "LASTSEAT_EVENT": "show:10"}
    with Typed(arguments, tmp_path / "here", **variables) as server:
        first = server.buy(quantity=2)
        answers: dict[str, Answer | None] = {}
        buyers = [
            threading.Thread(target=lambda key=f"k{n}": answers.update({key: try_to_buy(server, key)}))
            for n in range(4)
        ]
        for buyer in buyers:
            buyer.start()
        os.kill(wait_for(lambda: stopped_inside(server), "somebody inside"), signal.SIGKILL)
        for buyer in buyers:
            buyer.join()
        after = server.buy()
        assert after.status == 201

        sold = [first, after, *(answer for answer in answers.values() if answer is not None)]
        assert all(answer.status == 201 for answer in sold)
        acknowledged = {answer.json["order"]: answer.json["tickets"] for answer in sold}
        records = server.records()
        written = {record["order"]: record["tickets"] for record in records}
        assert [record["version"] for record in records] == list(range(1, len(records) + 1))
        assert acknowledged.items() <= written.items()
        unanswered = {key for key, answer in answers.items() if answer is None}
        assert unanswered
        assert {record["key"] for record in records if record["order"] not in acknowledged} <= unanswered
        # With their keys they learn what became of them, and what was not written is bought now: once.
        for key in unanswered:
            again = server.buy(headers={"Idempotency-Key": key})
            assert again.status == 201
        assert sorted(record["key"] for record in server.records() if record["key"] in answers) == sorted(answers)


def test_kill_9_of_one_worker_after_the_other_loses_nothing(tmp_path: Path) -> None:
    with Typed("-w 3 service:app", tmp_path / "here") as server:
        orders = []
        for worker in server.workers():
            orders.append(server.buy().json["order"])
            os.kill(worker, signal.SIGKILL)
            wait_for(lambda worker=worker: worker not in server.workers(), "its end")  # type: ignore[misc]
        wait_for(lambda: len(server.workers()) == 3, "three new workers")
        orders.append(wait_for(lambda: try_to_buy(server), "a purchase").json["order"])
        assert [record["order"] for record in server.records()] == orders


# -- the switch -------------------------------------------------------------------------------------------------------


def test_a_respawned_worker_follows_the_guard_that_was_switched(tmp_path: Path) -> None:
    with Typed("service:app", tmp_path / "here") as server:
        (worker,) = server.workers()
        assert server.call("PUT", "/guard", {"guard": "off"}).json["epoch"] == 2
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: try_to_look(server), "the new worker")
        answer = server.call("GET", "/guard")
        assert int(answer.headers["Last-Seat-Worker"]) != worker
        assert (answer.json["guard"], answer.json["epoch"]) == ("none", 2)
        assert server.buy().headers["Last-Seat-Epoch"] == "2"
        assert server.call("GET", "/events/show").json["guard"] == "none"


def try_to_look(server: Typed) -> Answer | None:
    try:
        return server.call("GET", "/healthz")
    except (OSError, http.client.HTTPException):
        return None


def test_the_switch_is_mended_by_the_next_one_where_its_file_was_damaged(tmp_path: Path) -> None:
    """A damaged file of the switch stops a start, but not a running shop."""
    with Typed("service:app", tmp_path / "here") as server:
        workers = server.workers()
        (server.data / "guard.json").write_text('{"guard":')
        assert server.call("PUT", "/guard", {"guard": "off"}).json["guard"] == "none"
        assert server.buy().status == 201
        assert server.workers() == workers
        os.kill(workers[0], signal.SIGKILL)
        answer = wait_for(lambda: try_to_look(server), "the new worker")
        assert answer.headers["Last-Seat-Epoch"] == "2"
