"""What goes wrong among several nodes during a sale: the others sell on, and the verdict is as strict as ever."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import Experiment, LabFailed, run
from loadtests.lab.faults import FAULTS, FaultUnfit, Happened, fault_named, read
from loadtests.lab.report.run_report import write_run_report
from loadtests.lab.servers import process
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.network import ENGINE, Network, NoNetwork, find_tools
from loadtests.lab.servers.office import Service

# Five seconds of sales and three of refusals, which take an engine too: time enough for what was hurt to come back.
LONG_SALE = Workload(
    capacity=250, rounds=1, max_quantity=1, rate=50, cancel_share=0.05, read_share=0.1, retries=2, patience=15
)
stores = pytest.mark.parametrize("store", list(ENGINES))


def service(store: str, **more: Any) -> Service:
    return Service(**({"worker": "gevent", "processes": 1, "store": store, "guard": "on", "nodes": 3} | more))


def judged(folder: Path, store: str, fault: str) -> tuple[Happened, list[dict[str, Any]]]:
    """What happened in a sale with a fault, which must be valid and lose nothing, and its history."""
    result = run(Experiment(service=service(store), workload=LONG_SALE, fault=fault), folder, report=write_run_report)
    [happened] = read(folder)
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert f">{fault}<" in (folder / "report.html").read_text()
    unknown = sum(line["outcome"] == "unknown" for line in lines)
    assert result.verdict.verdict == "valid", result.verdict.why
    assert (result.verdict.lost, result.verdict.oversold) == (0, 0)
    # Unknown outcomes count as that: a ticket of theirs may be sold, and nobody holds an answer for it.
    assert 250 - unknown <= result.verdict.acknowledged <= 250
    return happened, lines


def decided_at(lines: list[dict[str, Any]], begin_ns: float, end_ns: float) -> set[int]:
    """The nodes that sold or refused for want of tickets what was asked for and answered within a time."""
    return {
        line["node"]
        for line in lines
        if line["op"] == "buy"
        and line["outcome"] in {"ok", "sold_out"}
        and begin_ns <= line["invoke_ns"]
        and line["return_ns"] <= end_ns
    }


@pytest.mark.servers
@stores
def test_a_killed_node_takes_no_sale_with_it_and_decides_again_when_it_is_back(store: str, tmp_path: Path) -> None:
    happened, lines = judged(tmp_path, store, "kill-node")
    assert decided_at(lines, happened.begin_ns, happened.end_ns) >= {1, 2}
    assert decided_at(lines, happened.end_ns, float("inf")) == {1, 2, 3}
    assert {line["outcome"] for line in lines if line["node"] == 3} & {"fail", "unknown"}
    # An idle connection that the server closes just then is no node's fault: it has no status.
    assert {line.get("status") for line in lines if line["node"] != 3} <= {None, 503}


@pytest.mark.servers
@pytest.mark.parametrize(
    ("fault", "store"), [("kill-engine", "redis"), ("kill-engine", "postgres"), ("restart-engine", "postgres")]
)
def test_an_engine_that_goes_and_comes_back_during_the_sale_costs_no_sale(
    fault: str, store: str, tmp_path: Path
) -> None:
    happened, lines = judged(tmp_path, store, fault)
    assert decided_at(lines, happened.end_ns, float("inf")) == {1, 2, 3}
    failed = [line for line in lines if line["outcome"] in {"fail", "unknown"}]
    assert failed, "nobody noticed"
    # What a node says itself of an engine that is away is that nothing was written, or that it is not known: no 500.
    assert {line.get("status") for line in failed} <= {503, 504, None}
    assert any(line["outcome"] == "fail" for line in failed)


@pytest.mark.servers
@stores
def test_a_node_that_is_cut_off_from_the_engine_refuses_and_the_others_sell_on(store: str, tmp_path: Path) -> None:
    with_network()
    happened, lines = judged(tmp_path, store, "cut-node")
    assert decided_at(lines, happened.begin_ns, happened.end_ns) >= {1, 2}
    assert decided_at(lines, happened.end_ns, float("inf")) == {1, 2, 3}
    assert happened.in_effect_ns is not None
    assert 3 not in decided_at(lines, *happened.in_effect_ns)
    asked = [line for line in lines if line["node"] == 3 and happened.begin_ns <= line["invoke_ns"] <= happened.end_ns]
    refused = [line for line in asked if line["outcome"] in {"fail", "unknown"}]
    assert refused
    assert {line.get("status") for line in refused} <= {None, 503, 504}


@pytest.mark.servers
def test_a_cut_is_silent_is_mended_and_is_of_one_node_alone(tmp_path: Path) -> None:
    with_network()
    with Network(2, tmp_path / "log") as network:
        server = start_in(network.engine, _ECHO, tmp_path)
        try:
            clients = [start_in(network.node(number), _ASK, tmp_path) for number in (1, 2)]
            assert [ask(client, "patiently") for client in clients] == ["answered", "answered"]
            network.cut(1)
            assert [ask(clients[0], "within"), ask(clients[1], "patiently")] == ["silence", "answered"]
            network.heal(1)
            assert [ask(client, "patiently") for client in clients] == ["answered", "answered"]
        finally:
            for each in (server, *clients):
                each.kill()
                each.wait()
                for pipe in (each.stdin, each.stdout):
                    with contextlib.suppress(OSError):
                        pipe.close()  # type: ignore[union-attr]
        hosts = [network.engine, network.node(1), network.node(2)]
    assert not any(process.running_in_group(host) for host in hosts)


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_fault_that_does_not_fit_says_what_it_needs(fault: str) -> None:
    with contextlib.ExitStack() as stack:
        built = stack.enter_context(fault_named(fault))
        if fault == "pause":
            return
        with pytest.raises(FaultUnfit, match=r"say --|take another"):
            built.adapt(Service(store="memory" if fault == "kill-worker" else "redis://somewhere", nodes=1))


@pytest.mark.servers
def test_a_sale_that_is_over_too_soon_for_its_fault_is_no_result(tmp_path: Path) -> None:
    short = Workload(capacity=5, rounds=1, buyers=2)
    with pytest.raises(LabFailed, match="before 20 of its tickets were sold"):
        run(Experiment(service=service("redis", nodes=2), workload=short, fault="kill-node"), tmp_path)


def with_network() -> None:
    """Skip where hosts with addresses of their own cannot be had: that takes root."""
    try:
        find_tools()
        with Network(1, Path(os.devnull)):
            pass
    except NoNetwork as error:
        pytest.skip(str(error))


_ECHO = f"""
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
with Server(("{ENGINE}", 7000), Echo) as server:
    print("ready", flush=True)
    server.serve_forever()
"""
_ASK = f"""
import socket, sys
line = socket.create_connection(("{ENGINE}", 7000), 10)
print("ready", flush=True)
asked = 0
for _ in sys.stdin:
    asked += 1
    line.settimeout(0.3 if "within" in _ else 10)
    try:
        line.sendall(b"x%d\\n" % asked)
        got = b""
        while b"x%d\\n" % asked not in got:
            got += line.recv(100)
        print("answered", flush=True)
    except TimeoutError:
        print("silence", flush=True)
"""


def start_in(network: int, program: str, directory: Path) -> subprocess.Popen[str]:
    """A program in a network namespace, that has said that it is ready."""
    started = subprocess.Popen(
        [find_tools()["nsenter"], f"--net=/proc/{network}/ns/net", "--", sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=directory,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def ask(client: subprocess.Popen[str], how: str) -> str:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(how + "\n")
    client.stdin.flush()
    return client.stdout.readline().strip()
