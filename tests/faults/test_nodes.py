"""What goes wrong among several nodes during a sale: the others sell on, and the verdict is as strict as ever."""

from __future__ import annotations

import contextlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from loadtests.lab.experiment.knobs import Workload
from loadtests.lab.experiment.runner import Experiment, LabFailed, run
from loadtests.lab.faults import FAULTS, fault_class
from loadtests.lab.faults.base import FaultUnfit, TimedFault
from loadtests.lab.faults.happened import Happened, read
from loadtests.lab.report.run_report import write_run_report
from loadtests.lab.servers import process
from loadtests.lab.servers.engines import ENGINES
from loadtests.lab.servers.network import ENGINE, NamespaceNetwork, NoNetwork, find_tools
from loadtests.lab.servers.office import Service
from tests.combinations import shortened

# Five seconds where the machine is quick; a sale that has a fault lasts until the fault was seen (``seen_by_buyers``).
LONG_SALE = Workload(
    capacity=250, rounds=1, max_quantity=1, rate=50, cancel_share=0.05, read_share=0.1, retries=2, patience=1000,
    limit_s=100,
)  # fmt: skip
SOLD_OUT_FOR_GOOD = 100
"""So many refusals in a row, and nobody has a ticket to give back."""
Lines = list[dict[str, Any]]


def service(store: str, **more: Any) -> Service:
    return Service(**({"worker": "gevent", "processes": 1, "store": store, "guard": "on", "nodes": 3} | more))


def judged(
    folder: Path, store: str, fault: str, hurts: Callable[[Lines], bool], nodes: int = 3
) -> tuple[Happened, Lines]:
    """What happened in a sale with a fault, which must be valid and lose nothing, and its history.

    The fault lasts until ``hurts`` is true of what buyers saw since it began.
    """
    experiment = Experiment(service=service(store, nodes=nodes), workload=LONG_SALE, fault=fault)
    with seen_by_buyers(folder, fault, hurts, nodes):
        result = run(experiment, folder, report=write_run_report)
    [happened] = read(folder)
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert f">{fault}<" in (folder / "report.html").read_text()
    unknown = sum(line["outcome"] == "unknown" for line in lines)
    assert result.verdict.verdict == "valid", result.verdict.why
    assert (result.verdict.lost, result.verdict.oversold) == (0, 0)
    # Unknown outcomes count as that: a ticket of theirs may be sold, and nobody holds an answer for it.
    assert 250 - unknown <= result.verdict.acknowledged <= 250
    return happened, lines


@contextlib.contextmanager
def seen_by_buyers(folder: Path, fault: str, hurts: Callable[[Lines], bool], nodes: int) -> Iterator[None]:
    """Let a fault last until it hurts, and the sale until it is sold out and all nodes have decided after the fault.

    How long that takes is the machine's affair. The sale ends as with Ctrl-C, at the latest after its ``limit_s``.
    """
    module, _, name = FAULTS[fault].partition(":")
    kind: type[TimedFault] = pkgutil.resolve_name(FAULTS[fault])

    class Seen(kind):  # type: ignore[misc, valid-type]
        began_ns = 0

        def inject(self, server: Any, over: threading.Event) -> Happened:
            self.over = over
            happened: Happened = super().inject(server, over)
            until(lambda: has_seen_all(so_far(folder), happened.end_ns, nodes), over)
            for each in psutil.Process().children():
                if str(folder) in each.cmdline() and "locust" in each.cmdline():
                    each.send_signal(signal.SIGINT)
            return happened

        def begin(self, server: Any) -> str:
            self.began_ns = time.monotonic_ns()
            return str(super().begin(server))

        def heal(self, server: Any) -> None:
            until(lambda: hurts([line for line in so_far(folder) if line["invoke_ns"] > self.began_ns]), self.over)
            super().heal(server)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(f"{module}.{name}", Seen)
        yield


def until(condition: Callable[[], bool], over: threading.Event) -> None:
    while not condition() and not over.wait(0.1):
        pass


def has_seen_all(lines: Lines, healed_ns: float, nodes: int) -> bool:
    """Whether nothing is left, and each node has decided since."""
    last = [line["outcome"] for line in lines if line["op"] == "buy"][-SOLD_OUT_FOR_GOOD:]
    return set(last) == {"sold_out"} and len(decided_at(lines, healed_ns, float("inf"))) == nodes


def so_far(folder: Path) -> Lines:
    """What is recorded of a sale that is under way."""
    with contextlib.suppress(FileNotFoundError):  # it has just ended
        written = [part.read_text() for part in folder.glob("parts-*/*.jsonl")]
        return [json.loads(line) for text in written for line in text.rpartition("\n")[0].splitlines()]
    return []


def has_failed(line: dict[str, Any]) -> bool:
    return line["outcome"] in {"fail", "unknown"}


def node_3_fails_and_others_sell_on(lines: Lines) -> bool:
    others = decided_at(lines, 0, float("inf")) >= {1, 2}
    return others and any(line["node"] == 3 and has_failed(line) for line in lines)


def somebody_is_refused(lines: Lines) -> bool:
    return any(line["outcome"] == "fail" for line in lines)


def decided_at(lines: Lines, begin_ns: float, end_ns: float) -> set[int]:
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
@pytest.mark.parametrize("store", shortened(ENGINES, "postgres"))
def test_a_killed_node_takes_no_sale_with_it_and_decides_again_when_it_is_back(store: str, tmp_path: Path) -> None:
    happened, lines = judged(tmp_path, store, "kill-node", node_3_fails_and_others_sell_on)
    assert decided_at(lines, happened.begin_ns, happened.end_ns) >= {1, 2}
    assert decided_at(lines, happened.end_ns, float("inf")) == {1, 2, 3}
    assert {line["outcome"] for line in lines if line["node"] == 3} & {"fail", "unknown"}
    # An idle connection that the server closes just then is no node's fault: it has no status.
    assert {line.get("status") for line in lines if line["node"] != 3} <= {None, 503}


@pytest.mark.servers
@pytest.mark.parametrize(
    ("fault", "store"),
    shortened(
        [("kill-engine", "redis"), ("kill-engine", "postgres"), ("restart-engine", "postgres")],
        ("kill-engine", "redis"),
    ),
)
def test_an_engine_that_goes_and_comes_back_during_the_sale_costs_no_sale(
    fault: str, store: str, tmp_path: Path
) -> None:
    happened, lines = judged(tmp_path, store, fault, somebody_is_refused, nodes=2)
    assert decided_at(lines, happened.end_ns, float("inf")) == {1, 2}
    failed = [line for line in lines if has_failed(line)]
    assert failed, "nobody noticed"
    # What a node says itself of an engine that is away is that nothing was written, or that it is not known: no 500.
    assert {line.get("status") for line in failed} <= {503, 504, None}
    assert any(line["outcome"] == "fail" for line in failed)


@pytest.mark.servers
@pytest.mark.parametrize("store", shortened(ENGINES, "redis"))
def test_a_node_that_is_cut_off_from_the_engine_refuses_and_the_others_sell_on(store: str, tmp_path: Path) -> None:
    with_network()
    happened, lines = judged(tmp_path, store, "cut-node", node_3_fails_and_others_sell_on)
    assert decided_at(lines, happened.begin_ns, happened.end_ns) >= {1, 2}
    assert decided_at(lines, happened.end_ns, float("inf")) == {1, 2, 3}
    assert happened.in_effect_ns is not None
    assert 3 not in decided_at(lines, *happened.in_effect_ns)
    asked = [line for line in lines if line["node"] == 3 and happened.begin_ns <= line["invoke_ns"] <= happened.end_ns]
    refused = [line for line in asked if has_failed(line)]
    assert refused
    assert {line.get("status") for line in refused} <= {None, 503, 504}


@pytest.mark.servers
def test_a_cut_is_silent_is_mended_and_is_of_one_node_alone(tmp_path: Path) -> None:
    with_network()
    with NamespaceNetwork(2, tmp_path / "log") as network:
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
        built = stack.enter_context(fault_class(fault)())
        if fault in {"pause", "starve", "no-descriptors", "slow-client", "clock-jump"}:
            return
        with pytest.raises(FaultUnfit, match=r"say --|take an|take a store|takes|leave --nodes"):
            in_memory = fault in {"kill-worker", "kill-combiner", "oom-kill"}
            nodes = 3 if fault in {"latency", "lost-answer", "reset"} else 1
            built.adapt(Service(store="memory" if in_memory else "redis://somewhere", nodes=nodes))


@pytest.mark.servers
def test_a_sale_that_is_over_too_soon_for_its_fault_is_no_result(tmp_path: Path) -> None:
    short = Workload(capacity=5, rounds=1, buyers=2)
    with pytest.raises(LabFailed, match="before 20 of its tickets were sold"):
        run(Experiment(service=service("redis", nodes=2), workload=short, fault="kill-node"), tmp_path)


def with_network() -> None:
    """Skip where hosts with addresses of their own cannot be had: that takes root."""
    try:
        find_tools()
        with NamespaceNetwork(1, Path(os.devnull)):
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
