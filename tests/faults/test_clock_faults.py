"""Wall clocks that jump or differ: a sale does not depend on them, and what does depend on them is caught."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtests.lab.experiment.expectation import Expectation
from loadtests.lab.experiment.run_options import SettingsError, experiment_of
from loadtests.lab.experiment.runner import Experiment, Result, run
from loadtests.lab.faults.base import NotInjected
from loadtests.lab.faults.clock import faked
from loadtests.lab.faults.clock.clock_jump import ClockJump
from loadtests.lab.faults.happened import read
from loadtests.lab.servers.office import Service
from loadtests.lab.target.server import RunningTarget
from service.catalogue import STORES
from tests.faults.test_process_faults import ROOT, SALE, assert_it_held, held, notes, of_target, skip_without
from tests.loadtests.target.stranger import target
from workers import WORKER_MODELS

pytestmark = pytest.mark.servers
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(autouse=True)
def _clocks_can_be_moved() -> None:
    skip_without("clock-jump")


def left_by_the_library() -> set[str]:
    """What libfaketime makes by itself, and leaves where its process is killed."""
    return {each.name for each in SHARED_MEMORY.glob("*faketime_*")}


# -- a sale ------------------------------------------------------------------------------------------------------------


def test_a_sale_whose_clock_jumps_ahead_and_back_holds(tmp_path: Path) -> None:
    before = left_by_the_library()
    result, [happened] = held(tmp_path, "clock-jump", worker="sync", store="journal", guard="on")
    assert happened.text == "wall clocks moved by +3600 s (the service: seen in its answers)"
    assert_it_held(result)
    assert left_by_the_library() == before
    assert (tmp_path / "clock").read_text() == "+0\n"


def test_a_node_whose_clock_differs_sells_as_the_other_also_while_both_jump(tmp_path: Path) -> None:
    result, happened = held(
        tmp_path, "clock-skew@10%,clock-jump@20%", worker="gthread", store="redis", guard="on", nodes=2
    )
    texts = {each.name: each.text for each in happened}
    assert texts["clock-skew"] == "wall clocks moved by +90 s (node 2: seen in its answers)"
    assert "the engine: seen in its answers" in texts["clock-jump"]
    assert_it_held(result)


def paid_after_a_hold(folder: Path, fault: str, **service: Any) -> Result:
    """A sale in which all pay in time for what they hold, with the clocks as they are."""
    sale = msgspec.structs.replace(
        SALE, kind="pay-after-hold", hold_s=60.0, payment="100", payment_lost=0.0, payment_refused=0.0
    )
    experiment = Experiment(service=Service(guard="on", **service), workload=sale, fault=fault)
    assert experiment.expectation is (Expectation.EITHER if fault else Expectation.EXACT)
    return run(experiment, folder)


def test_a_hold_that_a_jump_cuts_short_is_caught(tmp_path: Path) -> None:
    verdict = paid_after_a_hold(tmp_path, "clock-jump", worker="gthread", store="journal").verdict
    assert verdict.verdict == "invalid"
    assert "hold cut short" in json.dumps(msgspec.to_builtins(verdict))


@pytest.mark.soak
def test_a_hold_that_the_clock_of_another_node_cuts_short_is_caught(tmp_path: Path) -> None:
    verdict = paid_after_a_hold(tmp_path, "clock-skew", worker="gthread", store="redis", nodes=2).verdict
    assert verdict.verdict == "invalid"
    assert "hold cut short" in json.dumps(msgspec.to_builtins(verdict))


# -- leases, which end by the engine's clock ---------------------------------------------------------------------------


def leased(folder: Path, guard: str, fault: str = "clock-jump") -> Result:
    """A sale under a lease that lasts longer than the sale, by a clock that goes as it should."""
    service = Service(worker="sync", store="redis", guard=guard, lease_ms=600_000, think_ms=5)
    return run(Experiment(service=service, workload=SALE, fault=fault), folder)


def test_a_lease_that_the_engines_clock_ends_sells_twice_and_that_is_caught(tmp_path: Path) -> None:
    result = leased(tmp_path, "lease")
    [happened] = read(tmp_path)
    assert "the engine: seen in its answers" in happened.text
    assert result.expectation is Expectation.WRONG
    assert result.verdict.verdict == "invalid"
    assert result.rounds_wrong


@pytest.mark.soak
def test_the_same_lease_with_a_fence_holds(tmp_path: Path) -> None:
    result = leased(tmp_path, "fenced")
    assert result.expectation is Expectation.EXACT
    assert_it_held(result)


def test_faults_of_clocks_are_refused_where_they_would_say_nothing() -> None:
    for settings, says in (
        ({"fault": "clock-skew", "store": "journal"}, "say --nodes 2"),
        ({"fault": "clock-jump", "store": "unix:///run/valkey", "guard": "lease"}, "say --store redis, without"),
    ):
        with pytest.raises(SettingsError, match=says):
            experiment_of({}, {"worker": "gthread", **settings})


# -- another service ---------------------------------------------------------------------------------------------------

STATES_NO_TIME = """
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listening:
    while True:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
"""


def jumped(folder: Path, *command: str) -> str:
    """What is said of the jump of a service that is started by this command."""
    described = target(url="http://127.0.0.1:1", start={"command": [*command], "within_s": 30.0})
    with ClockJump() as fault, RunningTarget(described, folder, 5, variables=fault.variables) as server:
        try:
            return fault.begin(server)
        finally:
            fault.heal(server)


def test_a_target_is_sold_out_while_its_clock_jumps(tmp_path: Path) -> None:
    result, [happened] = of_target("ticket_office.toml", "clock-jump", tmp_path)
    assert "the service: seen in its answers" in happened.text
    assert_it_held(result)


def test_a_target_that_does_not_notice_is_no_result_and_one_that_states_no_time_is_told_apart(tmp_path: Path) -> None:
    shop = (sys.executable, "-c", STATES_NO_TIME, "{port}")
    assert "libfaketime is in 1 of 1 processes; the answers have no Date" in jumped(tmp_path, *shop)
    with pytest.raises(NotInjected, match="no process of the service has loaded libfaketime"):
        jumped(tmp_path, "env", "-u", "LD_PRELOAD", *shop)
    with pytest.raises(NotInjected, match="go on showing the machine's time"):
        states_its_time = (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "{port}")
        jumped(tmp_path, "env", "-u", "LD_PRELOAD", *states_its_time)


# -- what it takes, and what it leaves ---------------------------------------------------------------------------------


def test_a_library_that_does_not_move_the_clock_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no-library").touch()
    for name, says in (("nowhere", "there is no libfaketime at"), ("no-library", "has the machine's time")):
        monkeypatch.setenv(faked.NAMED_BY, str(tmp_path / name))
        assert says in faked.why_not.__wrapped__()
        assert "pip install libfaketime" in faked.why_not.__wrapped__()


def test_what_a_lab_that_is_killed_leaves_of_its_clocks_is_removed_by_the_next_and_nobody_elses(
    tmp_path: Path,
) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    killed = (
        "import os, pathlib, sys; from loadtests.lab.faults.clock.faked import FakedClocks; clocks = FakedClocks(); "
        "print(clocks.variables(pathlib.Path(sys.argv[1]))['FAKETIME_SHARED'], flush=True); os.kill(os.getpid(), 9)"
    )
    python = [sys.executable, "-c"]
    command = [*python, killed, str(tmp_path)]
    named = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    name = named.stdout.split()[0].removeprefix("/")
    left = {SHARED_MEMORY / name, SHARED_MEMORY / f"sem.{name}"}
    assert all(each.exists() for each in left)
    with faked.FakedClocks() as clocks:
        living = clocks.variables(tmp_path)["FAKETIME_SHARED"].split()[0].removeprefix("/")
        again = "from loadtests.lab.faults.leavings import clean_up; print(*clean_up())"
        done = subprocess.run([*python, again], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == f"/{name}"
        assert not any(each.exists() for each in left)
        assert (SHARED_MEMORY / living).exists()
    assert not (SHARED_MEMORY / living).exists()
    assert notes(tmp_path) == []


# -- all of them, for a long time --------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.parametrize("worker", WORKER_MODELS)
@pytest.mark.parametrize("store", [name for name, traits in STORES.items() if traits.durable])
def test_no_store_under_its_safe_guard_depends_on_the_clock(worker: str, store: str, tmp_path: Path) -> None:
    result, _ = held(tmp_path, "clock-jump", worker=worker, store=store, guard="on")
    assert_it_held(result)


@pytest.mark.soak
def test_holds_and_leases_last_while_no_clock_jumps(tmp_path: Path) -> None:
    assert_it_held(leased(tmp_path / "lease", "lease", ""))
    paid = paid_after_a_hold(tmp_path / "hold", "", worker="gthread", store="journal")
    assert paid.verdict.verdict == "valid", paid.verdict.why


@pytest.mark.soak
@pytest.mark.parametrize("store", [name for name, traits in STORES.items() if traits.scope == "cluster"])
def test_no_store_of_several_nodes_depends_on_the_clocks_being_the_same(store: str, tmp_path: Path) -> None:
    result, _ = held(tmp_path, "clock-skew", worker="gthread", store=store, guard="on", nodes=3)
    assert_it_held(result)
