"""Several nodes on one engine: one history, one verdict; and what becomes of nodes that share nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.run_options import SettingsError, experiment_of, read_settings
from loadtests.lab.experiment.runner import Experiment, Result, run
from loadtests.lab.protocol.admin_api import CallRefused, Office, OfficeError, Offices, Unreachable
from loadtests.lab.report.run_report import write_run_report
from loadtests.lab.servers import process
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.nodes import RunningNodes
from loadtests.lab.servers.office import NotReady, Service
from loadtests.lab.servers.postgres import PostgresServer
from loadtests.lab.servers.process import running_in_group
from loadtests.lab.servers.valkey import ValkeyServer
from tests.combinations import shortened


@contextlib.contextmanager
def a_server_with_a_password(store: str, secret: str, folder: Path) -> Iterator[str]:
    """The address of a fresh office in an engine that wants this password."""
    if store == "redis":
        with ValkeyServer(folder / "engine", ["requirepass", secret]) as valkey:
            yield valkey.url.replace("unix://", f"unix://:{secret}@")
        return
    postgres = PostgresServer(folder / "engine")
    postgres.password = secret
    with postgres:
        yield postgres.fresh_database()


class Sold:
    """What some buyers were sold: a version and an epoch each."""

    def __init__(self) -> None:
        self.versions: list[tuple[int, int]] = []


def buy(url: str, event: str) -> tuple[int, int]:
    """Buy a ticket; the version and the epoch of the answer."""
    request = urllib.request.Request(
        f"{url}/events/{event}/orders", b'{"quantity":1}', {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["version"], int(answer.headers["Last-Seat-Epoch"])


def buy_in_the_end(url: str, event: str) -> tuple[int, int]:
    """The same, asked again where others were faster."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return buy(url, event)
        except urllib.error.HTTPError:
            if time.monotonic() > deadline:
                raise


def buy_until(url: str, event: str, over: threading.Event, sold: Sold) -> None:
    while not over.is_set():
        with contextlib.suppress(urllib.error.HTTPError):  # 503: too many at once, or it was being switched
            sold.versions.append(buy(url, event))


SALE = Workload(capacity=60, buyers=12, rounds=1, cancel_share=0.1)


def service(store: str, **more: Any) -> Service:
    """Three nodes as small as they get."""
    return Service(**({"worker": "gevent", "processes": 1, "store": store, "guard": "on", "nodes": 3} | more))


def history(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (result.folder / "history.jsonl").read_text().splitlines()]


@pytest.mark.servers
def test_three_nodes_with_a_store_each_sell_every_seat_three_times_and_are_caught(tmp_path: Path) -> None:
    result = run(Experiment(service=service("json", apart=True, allow_unsafe=True), workload=SALE), tmp_path)
    verdict = result.verdict
    assert (verdict.verdict, verdict.acknowledged, verdict.oversold) == ("invalid", 180, 120)
    assert verdict.double_booked == 60


@pytest.mark.servers
@pytest.mark.parametrize("store", shortened(ENGINES, "redis"))
def test_three_nodes_without_a_guard_oversell_from_one_engine(store: str, tmp_path: Path) -> None:
    unguarded = service(store, guard="none", allow_unsafe=True, think_ms=5)
    result = run(Experiment(service=unguarded, workload=SALE), tmp_path)
    assert result.verdict.verdict == "invalid"
    assert result.verdict.oversold > 0


@pytest.mark.servers
@pytest.mark.parametrize("store", shortened(ENGINES, "postgres"))
def test_three_nodes_on_one_engine_sell_to_the_last_seat_and_no_more(store: str, tmp_path: Path) -> None:
    result = run(Experiment(service=service(store), workload=SALE), tmp_path, report=write_run_report)
    assert (result.verdict.verdict, result.verdict.tier) == ("valid", "A"), result.verdict.why
    assert (result.verdict.acknowledged, result.verdict.lost) == (60, 0)
    sold_at = {line["node"] for line in history(result) if line["op"] == "buy" and line["outcome"] == "ok"}
    assert sold_at == {1, 2, 3}
    assert '<h2 id="nodes">' in (tmp_path / "report.html").read_text()
    assert {path.name for path in tmp_path.glob("node-*")} == {"node-1", "node-2", "node-3"}


@pytest.mark.servers
@pytest.mark.parametrize("store", shortened(ENGINES, "postgres"))
def test_the_password_of_the_engine_is_in_no_result_and_no_log(store: str, tmp_path: Path) -> None:
    secret = "correct-horse-7351"
    with a_server_with_a_password(store, secret, tmp_path) as address:
        assert secret in address
        result = run(Experiment(service=service(address, nodes=2), workload=SALE), tmp_path / "results")
        wrong = address.replace(secret, "wrong-" + secret)
        with pytest.raises(NotReady) as refused, RunningNodes(service(wrong, nodes=2), tmp_path / "wrong"):
            pass
    assert result.verdict.verdict == "valid", result.verdict.why
    assert secret not in str(refused.value)
    assert address.rpartition("/")[2].partition("?")[0] in (tmp_path / "results/experiment.json").read_text()
    for folder in (tmp_path / "results", tmp_path / "wrong"):
        for path in folder.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


@pytest.mark.servers
@pytest.mark.parametrize("store", shortened(ENGINES, "redis"))
def test_a_switch_at_one_node_holds_at_all_and_no_older_epoch_sells_after_it(store: str, tmp_path: Path) -> None:
    with RunningNodes(service(store, guard="optimistic"), tmp_path) as nodes:
        nodes.office.create_event("switched", 10_000)
        sold, over = Sold(), threading.Event()
        buyers = [
            threading.Thread(target=buy_until, args=(node.url, "switched", over, sold)) for node in nodes.nodes * 2
        ]
        for buyer in buyers:
            buyer.start()
        try:
            first, second, third = nodes.nodes
            for node, guard in ((first, "atomic"), (third, "optimistic"), (second, "atomic")):
                epoch = node.office.switch(guard).epoch
                for each in nodes.nodes:
                    assert buy_in_the_end(each.url, "switched")[1] >= epoch, "it was sold under a guard that is over"
                    assert each.office.guard().guard == guard
        finally:
            over.set()
            for buyer in buyers:
                buyer.join(30)
    by_version = [epoch for _, epoch in sorted(sold.versions)]
    assert by_version == sorted(by_version), "an older epoch wrote after a newer one"
    assert len(set(by_version)) > 1


@pytest.mark.servers
def test_nothing_runs_after_the_block_nor_when_a_node_does_not_start(tmp_path: Path) -> None:
    with RunningNodes(service("redis"), tmp_path / "good") as nodes:
        groups = [node.pid for node in nodes.nodes] + [nodes.engine.pid]
        assert all(running_in_group(group) for group in groups)
    assert not any(running_in_group(group) for group in groups)
    bad = RunningNodes(service("redis", guard="immediate"), tmp_path / "bad")
    with pytest.raises(NotReady, match="guard does not fit"), bad:
        pass
    assert not any(running_in_group(node.pid) for node in bad.nodes)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"nodes": 3, "store": "json"}, "3 nodes need one store that all of them reach: postgres or redis"),
        ({"nodes": 2, "guard": "file"}, "guard file fits no store that several nodes could share"),
        ({"apart": True}, "it takes nodes"),
        ({"apart": True, "nodes": 2, "store": "redis://h"}, "and no address"),
    ],
)
def test_nodes_that_share_no_store_are_refused(settings: dict[str, Any], wanted: str) -> None:
    with pytest.raises(SettingsError, match=wanted):
        experiment_of({}, settings)


def test_nodes_take_a_store_that_they_can_share(tmp_path: Path) -> None:
    assert experiment_of({}, {"nodes": 3}).service.store in ENGINES
    assert experiment_of({}, {"nodes": 3, "guard": "lease"}).service.store == "redis"
    assert experiment_of({}, {"nodes": 2, "apart": True}).service.store == "json"
    (tmp_path / "apart.toml").write_text("nodes = 2\napart = true\n")
    assert experiment_of(read_settings(tmp_path / "apart.toml"), {}).service.apart
    (tmp_path / "apart.toml").write_text('apart = "yes"\n')
    with pytest.raises(SettingsError, match="true or false"):
        read_settings(tmp_path / "apart.toml")


def test_a_record_with_several_nodes_runs_them_again(tmp_path: Path) -> None:
    first = experiment_of({}, {"nodes": 3, "store": "postgres", "fault": "kill-node"})
    content = {
        "service": msgspec.to_builtins(first.service), "workload": msgspec.to_builtins(first.workload),
        "promise": "exact", "began": "", "fault": first.fault, "machine": dict.fromkeys(
            ("system", "processor", "python", "file_system"), "") | {"packages": {}, "cores": 1, "memory_gb": 1.0,
            "fdatasync_us": 1.0},
    }  # fmt: skip
    (tmp_path / "experiment.json").write_text(json.dumps(content))
    again = experiment_of(read_settings(tmp_path), {})
    assert (again.service.nodes, again.service.store, again.fault) == (3, "postgres", "kill-node")


def test_a_program_outlives_the_thread_that_asked_for_it(tmp_path: Path) -> None:
    started: list[Any] = []
    thread = threading.Thread(
        target=lambda: started.append(
            process.start(["/bin/sleep", "60"], log=tmp_path / "log", environment={}, directory=tmp_path)
        )
    )
    thread.start()
    thread.join()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            started[0].wait(0.5)
    finally:
        process.kill(started[0])


class FakeOffice(Office):
    """A node whose answers are given beforehand."""

    def __init__(self, url: str, *answers: bytes | OfficeError) -> None:
        super().__init__(url)
        self.answers = list(answers)
        self.made: list[str] = []

    def create_event(self, event: str, capacity: int, opens_at: float | None = None, hall: object = None) -> None:
        answer = self.answers.pop(0)
        if isinstance(answer, OfficeError):
            raise answer
        self.made.append(event)

    def audit(self, event: str, *, timeout_s: float = 60.0) -> bytes:
        answer = self.answers.pop(0)
        if isinstance(answer, OfficeError):
            raise answer
        return answer


def test_what_one_node_cannot_answer_another_does(monkeypatch: pytest.MonkeyPatch) -> None:
    down, starting = Unreachable("gone"), CallRefused("starting", 503, "engine_unreachable")
    offices = Offices([FakeOffice("a", down, down), FakeOffice("b", starting, b"audit")])
    assert offices.audit("x") == b"audit"
    assert Offices([FakeOffice("a", down, b"audit")]).audit("x") == b"audit"  # what kept it from accepting has passed
    monkeypatch.setattr(Offices, "ANSWERS_ALONE_WITHIN_S", 0.0)
    with pytest.raises(Unreachable):
        Offices([FakeOffice("a", down)]).audit("x")
    with pytest.raises(CallRefused):
        Offices([FakeOffice("a", CallRefused("no such event", 404, "unknown_event")), FakeOffice("b", b"")]).audit("x")


def test_an_event_is_made_at_every_node_and_that_it_is_there_already_is_well() -> None:
    exists = CallRefused("there", 409, "event_exists")
    nodes = [FakeOffice("a", b""), FakeOffice("b", exists), FakeOffice("c", b"")]
    Offices(nodes).create_event("x", 5)
    assert [node.made for node in nodes] == [["x"], [], ["x"]]
    with pytest.raises(CallRefused):
        Offices([FakeOffice("a", exists), FakeOffice("b", b"")]).create_event("x", 5)
