"""The explorer on the real service: without a lock it loses, the same way every time; with one it never does."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from filelock import FileLock

from loadtests.lab.commands.explore import explore as command
from loadtests.lab.explore import execution, settling
from loadtests.lab.explore.exploration import ExplorationResult, Scenario, run, schedule_runner
from loadtests.lab.explore.schedules import Chooser
from loadtests.lab.servers.gate_server import Arrival
from tests.combinations import shortened

pytestmark = pytest.mark.servers
WORKERS = ["sync", "gthread", "gevent"]


def steps_of(explored: ExplorationResult) -> list[tuple[str, str, str]]:
    assert explored.first is not None
    return [(step.buyer, step.gate, step.text) for step in explored.first.steps]


@pytest.mark.parametrize("worker", WORKERS)
def test_without_a_guard_the_same_schedule_loses_every_time(worker: str) -> None:
    explored = [run(Scenario(guard="none", worker=worker, most=8)) for _ in range(2)]
    for each in explored:
        assert each.first is not None
        assert each.first.preemptions == 1
        assert each.first.replay == "1.json.none.2x1.avpw.AABBBBAA"
    assert steps_of(explored[0]) == steps_of(explored[1])
    assert steps_of(explored[0])[-2][2].endswith("B had written version 1 already: that sale is gone.")


@pytest.mark.parametrize(("guard", "worker"), [("file", worker) for worker in WORKERS] + [("thread", "gthread")])
def test_under_a_guard_that_excludes_no_schedule_loses(guard: str, worker: str) -> None:
    explored = run(Scenario(guard=guard, worker=worker))
    assert (explored.verdict, explored.whole, explored.failing) == ("valid", True, 0)
    assert explored.pruned is not None
    assert explored.schedules < explored.schedules + explored.pruned == 20


def test_a_store_that_keeps_both_sales_is_not_said_to_have_lost_one() -> None:
    explored = run(Scenario(store="sqlite", guard="none", worker="gthread", most=8))
    assert explored.first is not None
    assert explored.first.replay == "1.sqlite.none.2x1.avpw.AABBBBAA"
    assert steps_of(explored)[-2][2].endswith("B had written version 1 already: both sales stand under it.")


@pytest.mark.parametrize(
    ("guard", "worker", "schedules", "says"),
    [
        ("immediate", "sync", 20, "reads: nothing left, version 1. Nothing to write."),
        ("optimistic", "gthread", 74, "finds that somebody wrote since: nothing is written"),
        ("atomic", "gevent", 20, "statement finds version 1 and changes nothing."),
    ],
)
def test_no_schedule_loses_under_the_guards_of_an_engine_and_the_story_says_why(
    guard: str, worker: str, schedules: int, says: str
) -> None:
    explored = run(Scenario(store="sqlite", guard=guard, worker=worker))
    assert (explored.verdict, explored.whole) == ("valid", True)
    assert explored.pruned is not None
    assert explored.schedules < explored.schedules + explored.pruned == schedules
    assert any(says in step.text for step in explored.example)


def test_guard_thread_loses_between_processes() -> None:
    explored = run(Scenario(guard="thread", worker="sync", most=8))
    assert explored.verdict == "invalid"
    assert explored.met


def test_six_of_seventy_schedules_tell_what_all_of_them_tell() -> None:
    explored = run(Scenario(guard="none", worker="gthread", tickets=2, prune=False))
    pruned = run(Scenario(guard="none", worker="gthread", tickets=2))
    assert (explored.schedules, explored.whole, explored.pruned) == (70, True, None)
    assert (pruned.schedules, pruned.whole, pruned.pruned) == (6, True, 64)
    assert explored.first is not None
    assert pruned.first is not None
    assert pruned.first == explored.first
    assert pruned.anomalies.keys() == explored.anomalies.keys() != set()


@pytest.mark.parametrize("worker", shortened(["sync", "gevent"], "sync"))
def test_a_worker_killed_at_a_gate_loses_no_sale_under_the_lock(worker: str) -> None:
    explored = run(Scenario(guard="file", worker=worker, kill=True, most=24))
    assert explored.verdict == "valid"
    assert explored.schedules + explored.cut == 24


def test_a_stopped_holder_makes_the_others_give_up_and_loses_nothing() -> None:
    explored = run(Scenario(guard="file", worker="sync", pause=True, most=24))
    assert explored.verdict == "valid"


def test_random_walks_find_the_race_too() -> None:
    explored = run(Scenario(guard="none", worker="gthread", buyers=3, tickets=2, walks=15))
    assert explored.verdict == "invalid"
    assert not explored.whole


def test_waits_without_end_are_reported_with_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody outside keeps the lock: both buyers wait, and the explorer says so instead of waiting with them."""
    monkeypatch.setattr(settling, "_WAKE_S", 0.2)
    for module in (settling, execution):
        monkeypatch.setattr(module, "PATIENCE_S", 5.0)
    with (
        schedule_runner(Scenario(guard="file", worker="gthread")) as stage,
        FileLock(stage.office.data / "locks" / "x1.lock", thread_local=False),
    ):
        played = stage.execute(Chooser())
    assert played.failing
    assert "A waits for the guard; B waits for the guard" in played.stuck


def test_a_worker_that_dies_by_itself_is_reported_as_such() -> None:
    with schedule_runner(Scenario(guard="none", worker="sync")) as stage:
        pids: list[int] = []
        hear = stage.gate_server.happenings.put

        def kill_the_second(heard: object) -> None:
            if isinstance(heard, Arrival) and heard.gate == "view" and not pids:
                pids.append(heard.pid)
                threading.Thread(target=os.kill, args=(heard.pid, signal.SIGKILL)).start()
            hear(heard)  # type: ignore[arg-type]

        stage.gate_server.happenings.put = kill_the_second  # type: ignore[method-assign, assignment]
        played = stage.execute(Chooser())
    assert "died by itself" in played.stuck


def test_the_command_says_it_in_json_and_writes_a_page_and_a_drawing(tmp_path: Path) -> None:
    ran = CliRunner().invoke(
        command, ["--guard", "none", "--worker", "gthread", "--most", "8", "--json", "--results", str(tmp_path)],
        standalone_mode=False,
    )  # fmt: skip
    assert ran.exception is None
    assert ran.return_value == 0
    found = json.loads(ran.stdout)
    assert (found["schedules"], found["verdict"], found["first"]["preemptions"]) == (6, "invalid", 1)
    assert found["pruned"] == 56
    assert found["first"]["reason"]["kind"] == "lost update"
    assert found["first"]["reason"]["steps"] == [1, 4]
    folder = tmp_path / "explore" / "latest"
    page = (folder / "report.html").read_text()
    assert "The losing schedule" in page
    assert "The reason: lost update" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "that sale is gone" in (folder / "schedule.svg").read_text()


def test_a_replay_id_plays_the_same_schedule_again() -> None:
    arguments = ["--replay", "1.json.none.2x1.avpw.AABBBBAA", "--worker", "gevent"]
    ran = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert ran.return_value == 1
    assert "goes wrong" in ran.stdout
    assert "A read version 0 with 1 left in step 2, and believed in step 7 that nothing had changed." in ran.stdout


def test_a_replay_is_stepped_through_with_enter() -> None:
    arguments = ["--replay", "1.json.none.2x1.avpw.AABBBBAA", "--worker", "gthread", "--step"]
    ran = CliRunner().invoke(command, arguments, standalone_mode=False, input="\n" * 20)
    assert ran.stdout.count("[Enter]") == 8


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--gates", "view,lunch"], "no gate 'lunch'"),
        (["--buyers", "9"], "2 to 8 buyers"),
        (["--replay", "7.json.none.2x1.avpw.AB"], "another version"),
        (["--guard", "nonsense"], "There is no such guard"),
    ],
)
def test_what_cannot_be_explored_is_refused_in_words(arguments: list[str], says: str, tmp_path: Path) -> None:
    ran = CliRunner().invoke(command, [*arguments, "--results", str(tmp_path)])
    assert ran.exit_code != 0
    assert says in ran.output
    assert "Traceback" not in ran.output
