"""kill -9 of the combiner, the process that decides for all workers of a host, at every gate that it passes.

No buyer notices: the worker asks the next combiner under the same key, and who bought is told once what came of it,
never that it was a replay. Kills of workers are in ``test_killed_at_gates`` and ``test_hold_killed``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from test_hold_killed import DURABLE, ERRANDS, PLACES, Killer, ask, mine, prepare
from test_killed_at_gates import gates_of
from typed import Answer, Typed, wait_for

from loadtests.lab.servers.gate_server import GateServer
from service.stores import store_class
from tests.combinations import shortened

pytestmark = pytest.mark.servers

MODULE = b"service.sales.host_line.combiner"
OF_THE_WORKER = ("acquire", "answer")
BUYERS, PURCHASES, KILLS = 6, 15, 6

FORGETFUL = """
import sys

if "service.sales.host_line.combiner" in sys.orig_argv:
    from service.rules.inventory import decide_all
    from service.sales.box_office import BoxOffice

    class Measured:
        held_ms = store_ms = 0.0
        epoch = 1

    def decide_and_write_nothing(office, event, gathered, *_):
        for each in gathered:
            now = office.clock()
            view = office.store.view(event, [each.command], now)
            each.take()
            [each.outcome], each.measured = decide_all(view, [each.command], now), Measured
        return []

    BoxOffice.decide_together = decide_and_write_nothing
"""


def combiners(server: Typed) -> set[int]:
    """The process ids of the combiners of this server."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if MODULE in (folder / "cmdline").read_bytes() and (folder / "cwd").samefile(server.directory):
                found.add(int(folder.name))
        except OSError:
            continue  # it ended just now
    return found


def connected(server: Typed) -> int:
    """How many workers are connected to a combiner: its connected sockets (3) of type SEQPACKET (5)."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    inodes = {each[6] for each in lines if (each[4], each[5]) == ("0005", "03")}
    found = 0
    for pid in combiners(server):
        for fd in Path(f"/proc/{pid}/fd").glob("*"):
            with contextlib.suppress(OSError):
                found += fd.readlink().name.strip("[]").removeprefix("socket:[") in inodes
    return found


def line_of(store: str, folder: Path, **more: str) -> dict[str, str]:
    return {"LASTSEAT_STORE": servers.address_of(store, folder) or store, "LASTSEAT_LINE": "host", **more}


def decided_by_a_combiner(server: Typed) -> None:
    """Return when every worker's purchases go through a combiner; the first ones they decide by themselves."""

    def all_are_connected() -> bool:
        assert server.buy("show").status in (201, 409)
        return connected(server) >= len(server.workers())

    wait_for(all_are_connected, "the connections of all workers to a combiner", 60)


def assert_all_is_there(server: Typed, event: str, answers: list[Answer]) -> None:
    """Everybody who was answered has what he was told, nobody else has it, and no place was sold twice."""
    sold = [answer.json for answer in answers if answer.status == 201]
    assert sold
    records = {record["order"]: record for record in server.records(event) if record["kind"] == "sold"}
    for each in sold:
        assert each["order"] in records, f"{each} was acknowledged, and the audit has no record of it"
        assert records[each["order"]]["tickets"] == each["tickets"]
    tickets = Counter(ticket for record in records.values() for ticket in record["tickets"])
    assert not [ticket for ticket, owners in tickets.items() if owners > 1]
    assert not [answer for answer in answers if "Idempotency-Replayed" in answer.headers]
    for answer in answers:
        assert answer.status == 201 or answer.code in {"sold_out", "outcome_unknown"}, answer


@pytest.fixture
def stage() -> Iterator[GateServer]:
    with GateServer() as opened:
        yield opened


@pytest.fixture
def killer(stage: GateServer) -> Iterator[Killer]:
    killer = Killer(stage)
    yield killer
    killer.end()


def survive(server: Typed, killer: Killer, event: str, errand: str, gate: str) -> None:
    wanted = ERRANDS[errand]
    path = prepare(server, event, errand)
    decided_by_a_combiner(server)
    before, workers = combiners(server), server.workers()
    with killer.waiting(event, gate):
        answer = ask(server, errand, path)
    assert killer.killed[-1] in before, "a worker decided by itself"
    assert sorted(server.workers()) == sorted(workers)
    assert "Idempotency-Replayed" not in answer.headers
    if answer.status != wanted.status:
        # What cannot be told from somebody else's earlier request, or may still arrive in an engine, is left open.
        assert answer.code == "outcome_unknown", answer
        again = ask(server, errand, path)
        assert again.status == wanted.status, again
    [record] = mine(server, event)
    assert record["kind"] == wanted.kind
    if errand in ("hold", "confirm"):
        assert answer.status == wanted.status
        name = "hold" if errand == "hold" else "order"
        assert answer.json[name] == record[name]
        assert answer.json["tickets"] == record["tickets"]
    shown = server.call("GET", f"/events/{event}").json
    assert (shown["sold"], shown["held"]) == (wanted.sold, wanted.held)
    left = PLACES - wanted.sold - wanted.held
    assert server.buy(event, left).status == 201
    assert server.buy(event).code == "sold_out"


def kill_at_gates(store: str, stage: GateServer, killer: Killer, folder: Path, *, every_errand: bool) -> None:
    gates = [gate for gate in gates_of(store_class(store)) if gate not in OF_THE_WORKER]
    errands = list(ERRANDS)
    variables = line_of(store, folder, LASTSEAT_GATES=str(stage.path))
    with Typed("-w 3 service:app", folder / store, **variables) as server:
        wait_for(lambda: len(server.workers()) == 3, "all workers")
        pairs = (
            itertools.product(gates, errands) if every_errand else zip(gates, itertools.cycle(errands), strict=False)
        )
        for number, (gate, errand) in enumerate(pairs):
            survive(server, killer, f"e{number}", errand, gate)
    wait_for(lambda: not combiners(server), "the end of the combiner")


@pytest.mark.parametrize("store", shortened(DURABLE, "journal", "redis"))
def test_who_is_under_way_when_the_combiner_is_killed_is_told_what_came_of_it_and_not_that_it_was_a_replay(
    store: str, stage: GateServer, killer: Killer, tmp_path: Path
) -> None:
    """At each gate once."""
    kill_at_gates(store, stage, killer, tmp_path, every_errand=False)


@pytest.mark.soak
@pytest.mark.parametrize("store", DURABLE)
def test_whatever_is_under_way_when_the_combiner_is_killed_at_any_gate_is_told_what_came_of_it(
    store: str, stage: GateServer, killer: Killer, tmp_path: Path
) -> None:
    kill_at_gates(store, stage, killer, tmp_path, every_errand=True)


def sell_and_kill(server: Typed, kills: int) -> list[Answer]:
    """Buyers who buy one after another, each on connections of his own, while combiners are killed."""
    answers: list[Answer] = []
    mutex = threading.Lock()

    def buy() -> None:
        for _ in range(PURCHASES):
            answer = server.buy("sale")
            with mutex:
                answers.append(answer)

    assert server.call("POST", "/events", {"event": "sale", "capacity": BUYERS * PURCHASES - 20}).status == 201
    decided_by_a_combiner(server)
    buyers = [threading.Thread(target=buy) for _ in range(BUYERS)]
    for each in buyers:
        each.start()
    for number in range(kills):
        wait_for(lambda: len(answers) > 8 * number or not any(each.is_alive() for each in buyers), "more answers")  # noqa: B023
        for pid in wait_for(lambda: combiners(server), "a combiner to be killed"):
            os.kill(pid, signal.SIGKILL)
    for each in buyers:
        each.join(90)
        assert not each.is_alive()
    return answers


WORKERS = ("-w 4", "-w 2 -k gthread --threads 8", "-w 2 -k gevent")


@pytest.mark.parametrize(
    ("store", "worker"),
    shortened(
        itertools.product(DURABLE, WORKERS), ("journal", WORKERS[0]), ("journal", WORKERS[2]), ("redis", WORKERS[0])
    ),
)
def test_a_sale_whose_combiners_are_killed_sells_every_place_once_and_loses_no_answered_order(
    store: str, worker: str, tmp_path: Path
) -> None:
    with Typed(f"{worker} service:app", tmp_path / store, **line_of(store, tmp_path)) as server:
        answers = sell_and_kill(server, KILLS)
        assert_all_is_there(server, "sale", answers)
        assert "Traceback" not in server.said
        server.kill()
        wait_for(lambda: not combiners(server), "the end of the combiner")
        with server.start():
            assert_all_is_there(server, "sale", answers)


def test_a_combiner_that_answers_and_does_not_write_is_found_out(tmp_path: Path) -> None:
    """The negative control: the same check, of a combiner that acknowledges what it never wrote."""
    (tmp_path / "sitecustomize.py").write_text(FORGETFUL)
    variables = line_of("journal", tmp_path, PYTHONPATH=str(tmp_path))
    with Typed("-w 4 service:app", tmp_path / "journal", **variables) as server:
        answers = sell_and_kill(server, 0)
        with pytest.raises(AssertionError, match="was acknowledged, and the audit has no record of it"):
            assert_all_is_there(server, "sale", answers)


@pytest.mark.parametrize("worker", shortened(["-w 2", "-w 1 -k gthread --threads 4", "-w 1 -k gevent"], "-w 2"))
def test_a_combiner_that_hangs_is_killed_and_what_it_had_been_asked_is_unknown(worker: str, tmp_path: Path) -> None:
    variables = line_of("journal", tmp_path, LASTSEAT_LOCK_TIMEOUT_S="0.3")
    with Typed(f"{worker} service:app", tmp_path / "journal", **variables) as server:
        decided_by_a_combiner(server)
        [hung] = combiners(server)
        os.kill(hung, signal.SIGSTOP)
        try:
            answer: Answer = server.buy()
            assert (answer.status, answer.code, answer.json["definite"]) == (504, "outcome_unknown", False)
            wait_for(lambda: hung not in combiners(server), "the end of the one that hung")
        finally:
            if hung in combiners(server):
                os.kill(hung, signal.SIGKILL)
        sold: dict[str, Any] = server.buy().json
        decided_by_a_combiner(server)
        assert sold["order"] in {record["order"] for record in server.records()}
