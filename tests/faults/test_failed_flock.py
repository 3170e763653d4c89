"""A lock that the system refuses (``EIO``, ``ENOLCK``), once: a definite answer, and the next buyer is served.

Nothing but a false flock shows it on a healthy disk: here in this process, and, with strace, in a real server.
"""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from typed import Typed, wait_for
from werkzeug.test import TestResponse

from loadtests.lab.faults.disk.tracing import why_not

FAR = 90.0


def buy(client: FlaskClient) -> TestResponse:
    return client.post("/events/show/orders", json={"quantity": 1})


def count_locks(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> int:
    """How often something is locked or unlocked while this happens."""
    seen: list[int] = []
    flock = fcntl.flock

    def note(fd: int, kind: int) -> None:
        seen.append(kind)
        flock(fd, kind)

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", note)
        act()
    return len(seen)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOLCK], ids=errno.errorcode.get)
@pytest.mark.parametrize("store", ["json", "journal"])
def test_whichever_lock_fails_in_a_purchase_the_answer_is_definite_and_the_next_one_is_served(
    make_client: Callable[..., FlaskClient], monkeypatch: pytest.MonkeyPatch, store: str, number: int
) -> None:
    client = make_client(store=store, first_event=("show", 100), lock_timeout_s=5.0)
    buy(client)
    calls = count_locks(monkeypatch, lambda: buy(client))
    assert calls >= 4, "the epoch's lock and the guard, taken and given back"
    sold, flock = 2, fcntl.flock
    for failing in range(calls):
        count = iter(range(10_000))
        kinds: list[int] = []

        def fail_once(
            fd: int, kind: int, count: object = count, failing: int = failing, kinds: list[int] = kinds
        ) -> None:
            if next(count) == failing:  # type: ignore[call-overload]
                kinds.append(kind)
                raise OSError(number, os.strerror(number))
            flock(fd, kind)

        with monkeypatch.context() as patched:
            patched.setattr(fcntl, "flock", fail_once)
            answer = buy(client)
        if kinds == [fcntl.LOCK_UN]:
            # What was sold under the lock is sold.
            assert answer.status_code == 201, (failing, answer.json)
            sold += 1
        else:
            assert (answer.status_code, answer.json["code"], answer.json["definite"]) == (503, "storage_refused", True)
        with ThreadPoolExecutor(1) as another_thread:
            assert another_thread.submit(buy, client).result(FAR).status_code == 201, failing
        sold += 1
    assert client.get("/events/show").json["sold"] == sold
    # Nobody has kept a lock: what needs all of them is had.
    assert (
        client.put("/guard", json={"guard": "off"}, headers={"Authorization": "Bearer test-token"}).status_code == 200
    )


@pytest.mark.servers
def test_a_flock_that_fails_in_a_real_worker_leaves_no_lock_held(tmp_path: Path) -> None:
    if why := why_not():
        pytest.skip(why)
    with Typed("-k gthread --threads 4 service:app", tmp_path / "here", LASTSEAT_STORE="journal") as server:
        [worker] = server.workers()
        for when in range(1, 7):
            said = tmp_path / f"strace-{when}"
            tracing = subprocess.Popen(
                ["strace", "-f", "-p", str(worker), "-o", str(said), "-e", "trace=flock",
                 "-e", f"inject=flock:error=EIO:when={when}"],
                stderr=subprocess.PIPE,
            )  # fmt: skip
            try:
                assert tracing.stderr is not None
                assert b"attached" in tracing.stderr.readline()
                # The sweeper locks too, so it may be another one's call that fails.
                wait_for(lambda said=said: server.buy() and "INJECTED" in said.read_text(), "a call that fails")  # type: ignore[misc]
            finally:
                tracing.terminate()
                tracing.communicate()
            assert server.buy().status == 201
        tickets = [ticket for record in server.records() for ticket in record["tickets"]]
        assert tickets == list(range(1, len(tickets) + 1))
        assert server.call("PUT", "/guard", {"guard": "off"}).status == 200


def test_a_start_is_stopped_by_nobody_who_keeps_a_file_of_another_start_locked(
    make_client: Callable[..., FlaskClient], tmp_path: Path
) -> None:
    """filelock's time-out is an ``OSError``, and was told as a directory that cannot be written."""
    (tmp_path / "data" / "locks").mkdir(parents=True)
    fd = os.open(tmp_path / "data" / "locks" / ".start-check.lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert buy(make_client()).status_code == 201
    finally:
        os.close(fd)
