"""kill -9 of the worker that a purchase is in, at every gate of the commit and in the middle of an append.

Whoever was answered has what he was told; whoever was not asks again with his key and is sold to once. The page cache
survives a kill, so this says nothing about power cuts: see ``test_power_cut``.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typed import send

from loadtests.lab.explore.execution import ExecutedSchedule, ScheduleRunner
from loadtests.lab.explore.exploration import Scenario, schedule_runner
from loadtests.lab.explore.schedules import Chooser, Token
from loadtests.lab.servers.office import RunningOffice, Service
from service.experiments.gates import GATES
from service.rules.inventory import Event, Sell, decide_all
from service.settings import Settings
from service.stores import STORES, Store, store_class
from service.stores.journal.store import Journal
from tests.combinations import shortened

BUYERS = 3
SEED = 20261123
NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def durable_stores() -> list[type[Store]]:
    """Those of this host; what a killed worker leaves in an engine is tested with the engine."""
    return [store_class(name) for name in STORES if store_class(name).durable and store_class(name).scope == "host"]


def gates_of(store: type[Store]) -> list[str]:
    """Those that a mutation passes in this store under its own guard."""
    own = [*GATES, "half"] if store is Journal else list(GATES)
    return [gate for gate in own if not (store.safe_guard == "atomic" and gate == "view")]


def killing(stage: ScheduleRunner, gate: str, nth: int, dice: random.Random) -> Callable[[Sequence[Token]], Token]:
    """Lets buyers go on in any order, and when ``nth`` have passed the gate kills the worker of one who stands there.

    All come to ``acquire`` first, so that each is under way, in a worker that knows the event. After the kill nobody is
    held any more.
    """
    stage.gates = tuple({"acquire", gate})
    there: set[Token] = set() if gate != "acquire" else {"A", "B", "C"}
    passed = 0

    def prefer(enabled: Sequence[Token]) -> Token:
        nonlocal passed
        kills = [token for token in enabled if token.islower() and token.upper() in there]
        if kills and passed >= nth:
            stage.gates = ()
            return dice.choice(kills)
        chosen = dice.choice([token for token in enabled if token.isupper()])
        passed += chosen in there
        there.add(chosen)
        return chosen

    return prefer


def play_with_kills(stage: ScheduleRunner, gates: Sequence[str], dice: random.Random) -> list[ExecutedSchedule]:
    """A performance for each gate, on an event of its own, in which a worker is killed there."""
    played = []
    for gate in gates:
        played.append(stage.execute(Chooser(prefer=killing(stage, gate, dice.randrange(BUYERS), dice))))
        assert not played[-1].failing, (gate, played[-1])
        assert any(not token.isupper() for token in played[-1].choices.schedule), f"nobody was killed at {gate}"
    return played


def assert_all_is_there_after_a_restart(service: Service, folder: Path, played: Sequence[ExecutedSchedule]) -> None:
    """And everybody who asks again with his key has one order: the one that he was told of, if he was."""
    with RunningOffice(service, folder) as office:
        port = int(office.url.rpartition(":")[2])
        for number, each in enumerate(played, 1):
            event = f"x{number}"
            for line in each.operations:
                headers = {"Content-Type": "application/json", "Idempotency-Key": line.key}
                body = json.dumps({"quantity": 1, "buyer": line.key}).encode()
                again = send(port, "POST", f"/events/{event}/orders", body, headers)
                assert again.status == 201, again
                if line.outcome == "ok":
                    assert again.headers["Idempotency-Replayed"] == "true"
                    assert (again.json["order"], again.json["tickets"]) == (line.order, line.tickets)
            records: list[dict[str, Any]] = [json.loads(text) for text in office.office.audit(event).splitlines()[1:]]
            assert sorted(record["key"] for record in records) == sorted(line.key for line in each.operations)
            assert [record["version"] for record in records] == list(range(1, BUYERS + 1))
            assert sorted(ticket for record in records for ticket in record["tickets"]) == list(range(1, BUYERS + 1))


def kill_at_every_gate(store: type[Store], worker: str, rounds: int) -> None:
    case = Scenario(
        store=store.name, guard=store.safe_guard, worker=worker, buyers=BUYERS, tickets=2 * BUYERS, kill=True, seed=SEED
    )
    dice = random.Random(SEED)
    gates = gates_of(store) * rounds
    with schedule_runner(case) as stage:
        played = play_with_kills(stage, gates, dice)
        stage.office.kill()
        folder = stage.office.data.parent
        assert_all_is_there_after_a_restart(Service(store=store.name, guard=store.safe_guard), folder, played)
        cuts = stage.office.log.read_text().count("left unfinished were cut")
        assert cuts == gates.count("half")
        assert len(list(stage.office.data.glob("journal/*/*.torn-*"))) == cuts


@pytest.mark.servers
def test_a_store_that_forgets_at_the_kill_is_found_out() -> None:
    """The negative control: the same run, and of what was answered nothing is kept."""
    case = Scenario(store="journal", guard="file", buyers=BUYERS, tickets=2 * BUYERS, kill=True, seed=SEED)
    with schedule_runner(case) as stage:
        played = play_with_kills(stage, ["answer"], random.Random(SEED))
        stage.office.kill()
        segment = stage.office.data / "journal" / "x1" / "00000001.jsonl"
        segment.write_bytes(segment.read_bytes().splitlines(keepends=True)[0])
        with pytest.raises(AssertionError):
            assert_all_is_there_after_a_restart(Service(store="journal"), stage.office.data.parent, played)


@pytest.mark.servers
@pytest.mark.parametrize("store", shortened(durable_stores(), durable_stores()[0]), ids=lambda store: store.name)
def test_after_kill_9_at_every_gate_each_answered_order_is_there_and_none_twice(store: type[Store]) -> None:
    kill_at_every_gate(store, "sync", rounds=1)


@pytest.mark.servers
@pytest.mark.soak
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
@pytest.mark.parametrize("store", durable_stores(), ids=lambda store: store.name)
def test_after_a_thousand_kills_each_answered_order_is_there_and_none_twice(store: type[Store], worker: str) -> None:
    kill_at_every_gate(store, worker, rounds=18)


# -- in the middle of a batch -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_writer_killed_half_way_through_a_batch_leaves_whole_records_of_its_beginning_and_a_tail_that_is_cut(
    tmp_path: Path, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody was answered, so each of them may be there or not, but in order, and none by half."""
    store = Journal(Settings(data=tmp_path))
    store.create(Event("show", "Show", 100))
    killed = [Sell(f"k{number}", "r", f"o{number}", 1) for number in range(count)]
    child = os.fork()
    if not child:
        try:
            mine = Journal(Settings(data=tmp_path, gates=str(tmp_path / "nobody")))
            mine._halfway = lambda *_: lambda: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
            view = mine.view("show", killed)
            decide_all(view, killed, NOW)
            mine.append([view])
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    view = store.view("show", killed)
    there = list(view.keys)
    assert there == [command.key for command in killed[: len(there)]]
    assert len(there) < count
    decide_all(view, killed, NOW)
    [position] = store.append([view])
    store.make_durable("show", position)
    assert [record.key for record in store.audit("show")[1]] == [command.key for command in killed]
    assert "a crash left unfinished were cut" in caplog.text
