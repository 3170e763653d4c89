"""Which faults a round has and when, and what a lab leaves behind that is killed in the middle of one."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import psutil
import psycopg
import pytest
import redis

from loadtests.lab.experiment.run_options import SettingsError, experiment_of, read_settings
from loadtests.lab.experiment.runner import Experiment, ExperimentRecord
from loadtests.lab.faults import FAULTS, cgroups, fault_class, injection
from loadtests.lab.faults.base import Fault, NotInjected, TimedFault
from loadtests.lab.faults.cgroups import NoCgroup, why_not
from loadtests.lab.faults.happened import Happened
from loadtests.lab.faults.injection import Faults, fitting
from loadtests.lab.faults.leavings import NotCleanedUp, clean_up, left_behind
from loadtests.lab.faults.process.starve import CPU
from loadtests.lab.faults.processes import go_on
from loadtests.lab.faults.schedule import Injection, Moment, at_moment, at_random, read_injections, written
from loadtests.lab.servers.engines import NoEngine
from loadtests.lab.servers.machine import describe
from loadtests.lab.servers.network import NoNetwork

ROOT = Path(__file__).resolve().parents[3]


# -- when --------------------------------------------------------------------------------------------------------------


def test_faults_are_read_as_they_are_written() -> None:
    text = "pause,kill-worker@30%,starve@1.5s"
    assert written(read_injections(text)) == text
    assert read_injections("") == []
    assert written(at_moment(read_injections(text), "2s")) == "pause@2s,kill-worker@30%,starve@1.5s"


@pytest.mark.parametrize(
    ("text", "says"),
    [("pauze", "is not one of pause, kill-worker"), ("pause@", "no moment"), ("pause@soon", "no moment"),
     ("pause@0%", "say 1% to 99%"), ("pause@100%", "say 1% to 99%"), ("pause,", "is not one of")],
)  # fmt: skip
def test_a_fault_or_a_moment_that_there_is_not_is_refused_with_what_there_is(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_injections(text)


def test_a_moment_is_a_share_of_the_tickets_or_a_time_after_the_first() -> None:
    assert Injection("pause", "30%").moment(201, 20) == Moment(61)
    assert Injection("pause", "2s").moment(200, 20) == Moment(1, 2.0)
    assert Injection("pause").moment(200, 20) == Moment(20)


def test_the_seed_decides_which_faults_come_at_random_and_when() -> None:
    once, again, other = (at_random(20, seed, ["pause", "starve"]) for seed in (7, 7, 8))
    assert once == again != other
    assert {each.name for each in once} == {"pause", "starve"}
    shares = [int(each.at[:-1]) for each in once]
    assert shares == sorted(shares)
    assert all(0 < share < 100 for share in shares)


def test_faults_at_random_fit_the_experiment_and_stand_in_its_record_so_that_it_can_be_repeated(tmp_path: Path) -> None:
    first = experiment_of({}, {"faults": 12, "seed": 7, "store": "journal", "worker": "sync"})
    names = {each.name for each in read_injections(first.fault)}
    assert len(read_injections(first.fault)) == 12
    assert names
    assert not names & {"kill-node", "cut-node", "kill-engine", "restart-engine"}
    record = ExperimentRecord(
        service=first.service, workload=first.workload, expectation="exact", machine=describe(tmp_path), began="",
        fault=first.fault, fault_every_s=1.5,
    )  # fmt: skip
    (tmp_path / "experiment.json").write_bytes(msgspec.json.encode(record))
    again = experiment_of(read_settings(tmp_path), {})
    assert (again.fault, again.fault_every_s) == (first.fault, 1.5)


@pytest.mark.parametrize(
    ("settings", "left_out", "drawn"),
    [
        ({"store": "journal"}, {"lying-disk"}, {"pause", "clock-jump"}),
        ({"store": "journal", "workload": "mixed"}, {"lying-disk", "clock-jump"}, {"pause"}),
        ({"store": "redis"}, {"lying-disk", "failover"}, {"clock-jump"}),
        ({"store": "redis", "guard": "fenced"}, {"lying-disk", "failover"}, {"pause", "clock-jump"}),
        ({"store": "redis", "guard": "lease"}, {"lying-disk", "failover", "pause", "clock-jump"}, {"starve"}),
        ({"store": "redis", "nodes": 3}, set(), {"clock-jump", "clock-skew"}),
        ({"store": "redis", "nodes": 3, "workload": "mixed"}, {"clock-jump", "clock-skew"}, {"starve"}),
    ],
)
def test_a_fault_under_which_the_sale_is_known_to_lose_does_not_come_at_random_but_by_its_name(
    settings: dict[str, Any], left_out: set[str], drawn: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in map(fault_class, FAULTS):
        monkeypatch.setattr(kind, "needs", classmethod(lambda _cls: ""))
        # Else a fault that loses could be missing only because it does not fit beside one that was found before.
        monkeypatch.setattr(kind, "refuse_beside", lambda _self, _others: None)
    settings = {"worker": "sync", **settings}
    names = {each.name for each in read_injections(experiment_of({}, settings | {"faults": 100}).fault)}
    assert names >= drawn
    assert not names & left_out
    assert all(experiment_of({}, settings | {"fault": name}).fault == name for name in left_out)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"fault": "kill-worker", "faults": 2}, "give one of them"),
        ({"fault_at": "30%"}, "but not which fault"),
        ({"fault_every": "1s"}, "but not which fault"),
        ({"fault": "kill-combiner", "worker": "gevent", "processes": 1}, "takes several processes"),
        ({"fault": "kill-combiner", "line": "process"}, "--line host"),
        ({"fault": "pause,kill-combiner", "guard": "file"}, "no fault pause"),
        ({"fault": "starve@90%,kill-worker", "capacity": 19}, "20 tickets are sold"),
    ],
)
def test_faults_that_do_not_fit_are_refused_before_the_start(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        experiment_of({}, settings)


def test_a_machine_that_cannot_do_a_fault_is_told_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    starve = fault_class("starve")
    monkeypatch.setattr(starve, "needs", classmethod(lambda _cls: "take root."))
    with pytest.raises(SettingsError, match=r"starve cannot be injected on this machine: take root\."):
        experiment_of({}, {"fault": "starve"})
    assert "starve" not in fitting(experiment_of({}, {}).service, 200)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_says_in_a_sentence_what_it_does(name: str) -> None:
    kind = fault_class(name)
    assert kind.name == name
    assert kind.says.endswith(".")
    assert kind.says[0].isupper()


# -- a round -----------------------------------------------------------------------------------------------------------


class Rung(Fault):
    """A fault that only says that it was injected, and into which round."""

    name: ClassVar[str] = "rung"
    says: ClassVar[str] = "Nothing."
    sold_first: ClassVar[int] = 2
    rings: ClassVar[list[str]] = []

    def inject(self, server: Any, over: threading.Event) -> Happened:
        self.rings.append(self.name)
        return Happened(self.name, 1, 1)


class Held(TimedFault):
    """A fault that is never over before its round is."""

    name: ClassVar[str] = "held"
    says: ClassVar[str] = "Nothing."
    lasts_s: ClassVar[float] = 60.0
    begun: ClassVar[list[str]] = []
    healed: ClassVar[list[str]] = []

    def begin(self, server: Any) -> str:
        self.begun.append(self.name)
        return "held"

    def heal(self, server: Any) -> None:
        self.healed.append(self.name)


class Round:
    """A server whose round has sold some tickets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sell(self, tickets: int) -> None:
        (self.folder / "parts-1").mkdir(exist_ok=True)
        lines = '{"op":"buy","outcome":"ok","quantity":1}\n' * tickets
        with (self.folder / "parts-1" / "1.jsonl").open("a") as shard:
            shard.write(lines)


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Round]:
    kinds = {"rung": Rung, "held": Held, "refused": Refused}
    monkeypatch.setattr(injection, "fault_class", lambda name: kinds[name])
    Rung.rings, Held.begun, Held.healed = [], [], []
    yield Round(tmp_path)


def wait_until(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come")


def test_a_fault_comes_at_its_moment_and_another_one_meanwhile(around: Round) -> None:
    happened: list[Happened] = []
    faults = Faults([Injection("held"), Injection("rung"), Injection("rung", "50%")], capacity=40)
    with faults, faults.injected(around, happened):
        around.sell(19)
        wait_until(lambda: Rung.rings == ["rung"])
        around.sell(1)
        wait_until(lambda: Rung.rings == ["rung", "rung"] and Held.begun)
        assert Held.healed == []
    assert Held.healed == ["held"]
    assert sorted(each.name for each in happened) == ["held", "rung", "rung"]


def test_a_moment_that_does_not_come_is_no_success_and_what_came_before_is_said(around: Round) -> None:
    happened: list[Happened] = []
    faults = Faults([Injection("rung", "10%"), Injection("rung", "90%")], capacity=10)
    with (
        pytest.raises(NotInjected, match=r"the fault rung did not happen: .* before 9 of its tickets"),
        faults,
        faults.injected(around, happened),
    ):
        around.sell(1)
        wait_until(lambda: Rung.rings)
    assert [each.name for each in happened] == ["rung"]


def test_a_fault_is_injected_again_and_again_until_the_round_is_over(around: Round) -> None:
    happened: list[Happened] = []
    faults = Faults([Injection("rung")], capacity=10, every_s=0.01)
    with faults, faults.injected(around, happened):
        around.sell(2)
        wait_until(lambda: len(Rung.rings) > 3)
    assert len(happened) == len(Rung.rings)


class Brief(Held):
    lasts_s: ClassVar[float] = 0.0


def test_a_fault_lasts_until_something_is_seen_of_it_or_the_round_is_over() -> None:
    seen = iter([0, 0, 3, 0])
    over = threading.Event()
    Brief().wait_for_effect(over, lambda: next(seen))
    assert [*seen] == [0]
    over.set()
    Brief().wait_for_effect(over, lambda: 0)


class Refused(Rung):
    """A fault for which the machine or an engine refuses something."""

    sold_first: ClassVar[int] = 0
    error: ClassVar[Exception]

    def inject(self, server: Any, over: threading.Event) -> Happened:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("the socket is not there"), psycopg.errors.ReadOnlySqlTransaction("no"),
        redis.ConnectionError("reset"), redis.ResponseError("OOM"), NoEngine("no standby"), NoNetwork("`ip` failed"),
        OSError("no room"), psutil.NoSuchProcess(1), subprocess.CalledProcessError(1, ["mount"]),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_an_engine_or_the_machine_refuses_is_a_fault_that_did_not_happen(around: Round, error: Exception) -> None:
    Refused.error = error
    faults = Faults([Injection("refused")], capacity=10)
    says = re.escape(f"the fault rung did not happen: {error}")
    with pytest.raises(NotInjected, match=says), faults, faults.injected(around, []):
        pass


def test_an_error_of_the_lab_itself_is_not_taken_for_a_refusal(around: Round) -> None:
    Refused.error = KeyError("forgotten")
    faults = Faults([Injection("refused")], capacity=10)
    with pytest.raises(KeyError, match="forgotten"), faults, faults.injected(around, []):
        pass


# -- what is left ------------------------------------------------------------------------------------------------------


def lab_in_a_fault(tmp_path: Path, block: str) -> subprocess.Popen[str]:
    """A process that is in the middle of such a block, and says so."""
    program = "from pathlib import Path\nimport psutil, sys, time\n" + textwrap.dedent(
        f"""
        from loadtests.lab.faults.cgroups import limited
        from loadtests.lab.faults.leavings import left_behind
        from loadtests.lab.faults.process.starve import CPU
        from loadtests.lab.faults.processes import stopped
        with {block}:
            print("inside", flush=True)
            time.sleep(600)
        """
    )
    lab = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=notes_in(tmp_path)
    )
    assert lab.stdout is not None
    assert lab.stdout.readline() == "inside\n"
    return lab


def notes_in(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path)}


@pytest.fixture(autouse=True)
def own_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def kill(lab: subprocess.Popen[str]) -> None:
    lab.kill()
    lab.communicate()


def test_the_cgroup_of_a_lab_that_was_killed_is_removed_by_the_next_one_and_not_while_it_lives(tmp_path: Path) -> None:
    if why := why_not(CPU):
        pytest.skip(why)
    lab = lab_in_a_fault(tmp_path, "limited(CPU)")
    try:
        notes = [json.loads(path.read_text()) for path in tmp_path.glob("lastseat-leavings-*/*.json")]
        [group] = [Path(note["what"]) for note in notes]
        (group / "cgroup.procs").write_text(str(lab.pid))
        assert clean_up() == []
        assert group.exists()
    finally:
        kill(lab)
    assert group.exists()
    assert str(group) in clean_up()
    assert not group.exists()
    assert clean_up() == []


def test_a_group_of_version_2_is_below_the_nearest_one_that_gives_its_children_the_controller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "user" / "session"
    own.mkdir(parents=True)
    # as systemd has it: the session has processes, and so gives its children nothing
    for folder, controllers in ((tmp_path, "cpu memory pids"), (own.parent, "memory"), (own, "")):
        (folder / "cgroup.subtree_control").write_text(controllers + "\n")
    files = {
        "/proc/self/cgroup": ["0::/user/session"],
        "/proc/self/mountinfo": [f"31 23 0:28 / {tmp_path} rw,relatime shared:4 - cgroup2 cgroup2 rw"],
    }
    monkeypatch.setattr(cgroups, "_lines", files.__getitem__)
    assert cgroups._parent("cpu") == (tmp_path, True)
    assert cgroups._parent("memory") == (own.parent, True)
    with pytest.raises(NoCgroup, match=r"no cgroup for cpuset: take root"):
        cgroups._parent("cpuset")


def test_why_there_can_be_no_cgroup_reads_the_same_each_time_and_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a table of many cells says it once."""
    monkeypatch.setattr(cgroups, "_parent", lambda _controller: (tmp_path / "none", True))
    said = {why_not(CPU), why_not(CPU)}
    assert said == {
        f"no cgroup for cpu can be made in {tmp_path}/none: No such file or directory; take root on a Linux whose "
        "cgroups can be written (in a container: --privileged)."
    }


def test_a_process_that_a_killed_lab_had_stopped_continues_at_the_next_start(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as program:
        lab = lab_in_a_fault(tmp_path, f"stopped([psutil.Process({program.pid})])")
        try:
            wait_until(lambda: psutil.Process(program.pid).status() == psutil.STATUS_STOPPED)
        finally:
            kill(lab)
        assert len(clean_up()) == 1
        wait_until(lambda: psutil.Process(program.pid).status() != psutil.STATUS_STOPPED)
        program.communicate(b"\n")
    assert program.returncode == 0


def test_ctrl_c_in_the_middle_of_a_fault_heals_it_at_once(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as program:
        lab = lab_in_a_fault(tmp_path, f"stopped([psutil.Process({program.pid})])")
        lab.send_signal(signal.SIGINT)
        lab.communicate()
        program.communicate(b"\n")
    assert clean_up() == []


def test_a_note_that_its_run_removes_while_another_run_looks_at_it_troubles_neither() -> None:
    def come_and_go() -> None:
        for _ in range(400):
            with left_behind(go_on, ""):
                pass

    with ThreadPoolExecutor(1) as threads:
        owner = threads.submit(come_and_go)
        while not owner.done():
            assert clean_up() == []
    owner.result()


def test_a_folder_of_notes_that_others_can_write_is_not_obeyed(tmp_path: Path) -> None:
    (tmp_path / f"lastseat-leavings-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"lastseat-leavings-{os.getuid()}").chmod(0o777)
    with pytest.raises(NotCleanedUp, match=r"not a folder of this user alone: remove it, or let TMPDIR name"):
        clean_up()
    for verb in ("faults", "run --capacity 20 --store json"):
        command = [sys.executable, "-c", "from loadtests.lab.cli import main; main()", *verb.split()]
        environment = notes_in(tmp_path) | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 70
        assert "remove it, or let TMPDIR name" in done.stderr
        assert "Traceback" not in done.stderr


def test_what_cannot_be_undone_keeps_its_note_and_says_where_it_is_and_the_rest_is_undone(tmp_path: Path) -> None:
    folder = tmp_path / f"lastseat-leavings-{os.getuid()}"
    folder.mkdir(mode=0o700)
    for name, undo in (("1", "shutil:rmtree"), ("2", "os:unlink")):
        (tmp_path / name).write_text("there")
        (folder / f"{name}.json").write_text(json.dumps({"undo": undo, "what": str(tmp_path / name)}))
    with pytest.raises(NotCleanedUp, match=rf"Not a directory.*noted in {folder}/1\.json.*Remove it and its note"):
        clean_up()
    assert not (tmp_path / "2").exists()
    assert [*folder.iterdir()] == [folder / "1.json"]


def test_a_folder_is_named_after_its_faults() -> None:
    assert Experiment(fault="pause@10%,starve,pause@20%").name.endswith("-pause+starve")
