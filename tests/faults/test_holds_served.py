"""Holds under a real gunicorn: kept over kill -9 of everything, and tidied when nobody asks, whoever is killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from typed import Answer, Typed, flock_holders, wait_for

pytestmark = pytest.mark.servers

WORKERS = ["-w 2 service:app", "-w 2 -k gthread --threads 4 service:app", "-w 2 -k gevent service:app"]
DURABLE = ["json", "journal", "sqlite"]


def hold(server: Typed, seconds: float, quantity: int = 2, key: str = "") -> Answer:
    content = {"quantity": quantity, "seconds": seconds}
    return server.call("POST", "/events/show/holds", content, headers={"Idempotency-Key": key} if key else {})


def held(server: Typed) -> int:
    found: int = server.call("GET", "/events/show").json["held"]
    return found


@pytest.mark.parametrize("store", DURABLE)
def test_after_kill_9_of_everything_a_hold_is_as_open_as_before(tmp_path: Path, store: str) -> None:
    with Typed("-w 2 service:app", tmp_path / "here", LASTSEAT_STORE=store) as server:
        answer = hold(server, 600, key="k")
        late = hold(server, 0.001).json["hold"]
        server.kill()
        server.start()
        again = hold(server, 600, key="k")
        assert (again.json, again.headers["Idempotency-Replayed"]) == (answer.json, "true")
        confirmed = server.call("POST", f"/events/show/holds/{answer.json['hold']}/confirm")
        assert (confirmed.status, confirmed.json["tickets"]) == (201, answer.json["tickets"])
        # Paid before the crash and confirmed after it: late, and not lost.
        assert server.call("POST", f"/events/show/holds/{late}/confirm").json["tickets"] == [5, 6]


@pytest.mark.parametrize("arguments", WORKERS, ids=str)
def test_a_hold_that_nobody_asks_about_is_tidied_and_when_its_sweeper_is_killed_another_does_it(
    tmp_path: Path, arguments: str
) -> None:
    with Typed(arguments, tmp_path / "here", LASTSEAT_STORE="journal") as server:
        office = tmp_path / "here" / "data" / "sweeper.lock"
        hold(server, 0.001)
        wait_for(lambda: held(server) == 0, "the hold is tidied")
        [elected] = flock_holders(office)
        os.kill(elected, signal.SIGKILL)
        hold(server, 0.001)
        wait_for(lambda: held(server) == 0, "the hold is tidied by another")
        assert elected not in flock_holders(office)
        assert [record["kind"] for record in server.records()] == ["held", "expired", "held", "expired"]
