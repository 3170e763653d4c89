"""One line for the whole host under real gunicorns: every worker class, a reload, a stop, and kill -9 of everything."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from injected import failing
from typed import Answer, Typed, wait_for

from loadtests.lab.faults.disk.tracing import SYNCS

pytestmark = pytest.mark.servers

MODELS = ("-w 3", "-k gthread --threads 8 -w 2", "-k gevent -w 2")
BUYERS, TURNS = 6, 8


def combiners(server: Typed) -> list[int]:
    """The processes that are combiners of this server's directory, by the names of their places."""
    names = {each.name.encode() for each in server.data.glob("combiner/*")}
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if names & set((each / "cmdline").read_bytes().split(b"\0")):
                found.append(int(each.name))
    return found


def combiner(server: Typed) -> int:
    """The combiner, when the workers have one: each looks every second, without a purchase too."""
    wait_for(lambda: [*server.data.glob("combiner/*/socket")], "a combiner's socket")
    (pid,) = combiners(server)
    return pid


def another_than(server: Typed, ended: Sequence[int]) -> int | None:
    return next((pid for pid in combiners(server) if pid not in ended), None)


def metric(server: Typed, name: str) -> float:
    lines = server.call("GET", "/metrics").content.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def sell(server: Typed) -> list[Answer]:
    """Some buyers at once; those whose connection broke have no answer."""

    def several(_: int) -> list[Answer]:
        told = []
        for _ in range(TURNS):
            with contextlib.suppress(OSError, http.client.HTTPException):
                told.append(server.buy())
        return told

    with ThreadPoolExecutor(BUYERS) as pool:
        return [answer for answers in pool.map(several, range(BUYERS)) for answer in answers]


@pytest.mark.parametrize(("store", "model"), [*(("journal", model) for model in MODELS), ("json", MODELS[0])])
def test_the_workers_of_every_class_sell_through_one_combiner_each_ticket_once(
    tmp_path: Path, model: str, store: str
) -> None:
    settings = {"LASTSEAT_LINE": "host", "LASTSEAT_STORE": store, "LASTSEAT_BATCH": "64", "LASTSEAT_EVENT": "show:1000"}
    with Typed(f"{model} service:app", tmp_path / "office", **settings) as server:
        pid = combiner(server)
        sell(server)  # by now each worker has found it
        before = metric(server, "lastseat_batch_commands_sum")
        transactions = metric(server, "lastseat_batch_commands_count")
        answers = sell(server)
        assert {answer.status for answer in answers} == {201}
        workers = set(server.workers())
        assert {int(answer.headers["Last-Seat-Worker"]) for answer in answers} <= workers
        assert pid not in workers
        tickets = [ticket for record in server.records() for ticket in record["tickets"]]
        assert sorted(tickets) == list(range(1, 2 * BUYERS * TURNS + 1))
        # Each was counted once, and somewhere two were decided together.
        sold = metric(server, "lastseat_batch_commands_sum") - before
        assert sold == BUYERS * TURNS
        assert metric(server, "lastseat_batch_commands_count") - transactions < sold
        assert metric(server, "lastseat_workers") == len(workers)
        assert combiners(server) == [pid]


def test_a_sync_that_fails_in_the_combiner_closes_the_store_for_all_workers(tmp_path: Path) -> None:
    settings = {"LASTSEAT_STORE": "journal", "LASTSEAT_EVENT": "show:1000"}
    with Typed("-w 3 service:app", tmp_path / "office", **settings) as server:
        combiner(server)
        sell(server)  # by now each worker has found it
        with failing(server, SYNCS, "EIO"):
            answer = server.buy()
        assert (answer.status, answer.code, answer.json["definite"]) == (500, "not_durable", False)
        assert {each.code for each in sell(server)} == {"store_closed"}


def test_after_kill_9_of_all_others_it_ends_by_itself_and_the_next_master_leaves_nothing_of_it(tmp_path: Path) -> None:
    settings = {"LASTSEAT_STORE": "journal", "LASTSEAT_EVENT": "show:1000"}
    with Typed("-w 2 service:app", tmp_path / "office", **settings) as server:
        pid = combiner(server)
        told = sell(server)
        server.kill()
        wait_for(lambda: not Path(f"/proc/{pid}").exists() or pid not in combiners(server), "its end", 5)
    with Typed("-w 2 service:app", tmp_path / "office", **settings) as again:
        orders = [record["order"] for record in again.records()]
        assert {answer.json["order"] for answer in told if answer.status == 201} == set(orders)
        assert pid not in combiners(again)


def test_under_a_reload_and_a_stop_what_is_under_way_is_answered(tmp_path: Path) -> None:
    settings = {"LASTSEAT_STORE": "journal", "LASTSEAT_EVENT": "show:1000"}
    with Typed("-w 3 service:app", tmp_path / "office", **settings) as server:
        combiner(server)
        first = set(server.workers())
        with ThreadPoolExecutor(1) as pool:
            sale = pool.submit(sell, server)
            os.kill(server.pid, signal.SIGHUP)
            wait_for(lambda: len(set(server.workers()) - first) == 3, "new workers")
            wait_for(lambda: not first & set(server.workers()), "the end of the old ones")
            answers = sale.result()
        assert {answer.status for answer in answers} == {201}
        combiner(server)
        with ThreadPoolExecutor(1) as pool:
            sale = pool.submit(sell, server)
            wait_for(lambda: len(server.records()) > len(answers), "a purchase")
            os.kill(server.pid, signal.SIGTERM)
            answers += sale.result()
        assert server.status_at_exit() == 0
        assert [each for each in answers if each.status != 201 and not each.json["definite"]] == []
        assert "Traceback" not in server.said
        wait_for(lambda: not combiners(server), "its end", 5)
    with Typed("service:app", tmp_path / "office", **settings) as again:
        orders = [record["order"] for record in again.records()]
    assert {answer.json["order"] for answer in answers if answer.status == 201} <= set(orders)
    assert len(orders) == len(set(orders))


@pytest.mark.parametrize("model", [MODELS[0], MODELS[2]])
def test_a_sale_in_which_the_combiner_is_killed_again_and_again_acknowledges_nothing_that_is_not_there(
    tmp_path: Path, model: str
) -> None:
    settings = {"LASTSEAT_LINE": "host", "LASTSEAT_STORE": "journal", "LASTSEAT_EVENT": "show:1000"}
    with Typed(f"{model} service:app", tmp_path / "office", **settings) as server:
        combiner(server)
        answers: list[Answer] = []
        killed: list[int] = []
        for _ in range(4):
            with ThreadPoolExecutor(1) as pool:
                sale = pool.submit(sell, server)
                killed.append(wait_for(partial(another_than, server, killed), "the next combiner"))
                os.kill(killed[-1], signal.SIGKILL)
                answers += sale.result()
        assert {answer.status for answer in answers} == {201}
        assert all("Idempotency-Replayed" not in answer.headers for answer in answers)
        orders = [record["order"] for record in server.records()]
        assert sorted(answer.json["order"] for answer in answers) == sorted(orders)
