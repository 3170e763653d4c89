"""Faults of the network: under its safe guard a service holds, and a setting that loses is caught."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtests.lab.experiment.run_options import experiment_of
from loadtests.lab.experiment.runner import run
from loadtests.lab.faults import fault_class
from loadtests.lab.faults.base import FaultUnfit
from loadtests.lab.faults.network.relay import Relay
from loadtests.lab.servers.network import ENGINE, NamespaceNetwork, find_tools, node_address
from tests.faults.test_process_faults import ROOT, held, of_target, skip_without

pytestmark = pytest.mark.servers
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\nticket"
BUYS = b"POST /orders HTTP/1.1\r\nHost: x\r\n\r\n"


# -- the relay ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A service that answers every request with the same bytes: its address, and what it was asked."""
    asked: list[bytes] = []

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection, contextlib.suppress(OSError):
                    while piece := connection.recv(65_536):
                        asked.append(piece)
                        connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        finally:
            listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert not thread.is_alive()


@contextlib.contextmanager
def connected(relay: Relay) -> Iterator[socket.socket]:
    port = int(relay.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        yield connection


def received(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count and (piece := connection.recv(count - len(found))):
        found += piece
    return found


async def cut(piece: bytes) -> tuple[bytes, bool]:
    return piece[:10], True


def test_without_a_treatment_every_byte_passes_unchanged_both_ways() -> None:
    answer = bytes(range(256)) * 4_000
    with answering(answer) as (url, asked), Relay(url) as relay, connected(relay) as connection:
        for question in (BUYS, b"GET / HTTP/1.1\r\n\r\n\x00\xff"):
            connection.sendall(question)
            assert received(connection, len(answer)) == answer
    assert b"".join(asked) == BUYS + b"GET / HTTP/1.1\r\n\r\n\x00\xff"


def test_a_treated_answer_ends_in_a_reset_after_what_was_passed_on_and_what_only_reads_is_spared() -> None:
    with answering(ANSWER) as (url, asked), Relay(url) as relay, connected(relay) as connection:
        relay.treat = cut
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert received(connection, len(ANSWER)) == ANSWER
        connection.sendall(BUYS)
        assert received(connection, 10) == ANSWER[:10]
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert asked[-1] == BUYS


def test_a_relay_before_nobody_resets_and_one_that_has_ended_takes_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with Relay(nobody) as relay, pytest.raises(ConnectionResetError), connected(relay) as connection:
        connection.recv(1)
    with pytest.raises(ConnectionRefusedError), connected(relay):
        pass


def test_a_relay_ends_while_connections_are_open() -> None:
    with answering(ANSWER) as (url, _):
        with Relay(url) as relay:
            connection = socket.create_connection(("127.0.0.1", int(relay.url.rpartition(":")[2])), 10)
            connection.sendall(BUYS)
            assert received(connection, len(ANSWER)) == ANSWER
        with connection, contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    assert "lastseat-relay" not in {each.name for each in threading.enumerate()}


def test_an_address_with_tls_is_refused() -> None:
    with pytest.raises(FaultUnfit, match="begins with http://"):
        Relay("https://shop.example")


# -- in a sale ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "worker", "store", "says"),
    [
        ("lost-answer", "gthread", "journal", "answers were lost"),
        ("reset", "gevent", "json", "cut in the middle"),
        ("latency", "sync", "sqlite", "200 ms later"),
        ("slow-client", "sync", "journal", "a byte every 50 ms"),
    ],
)
def test_a_sale_under_its_safe_guard_holds(fault: str, worker: str, store: str, says: str, tmp_path: Path) -> None:
    result, [happened] = held(tmp_path, fault, worker=worker, store=store, guard="on")
    assert says in happened.text
    assert "lastseat-relay" not in {each.name for each in threading.enumerate()}
    assert result.verdict.verdict == "valid", result.verdict.why
    assert (result.verdict.oversold, result.verdict.lost) == (0, 0)


def test_a_setting_that_loses_is_caught_under_the_faults(tmp_path: Path) -> None:
    service: dict[str, Any] = {"worker": "gthread", "store": "json", "guard": "none", "think_ms": 20}
    result, happened = held(tmp_path, "reset@15%,latency@40%,slow-client@40%", **service)
    assert {each.name for each in happened} == {"reset", "latency", "slow-client"}
    assert result.verdict.verdict == "invalid"


def test_a_service_that_takes_keys_and_forgets_them_is_caught_where_answers_are_lost(tmp_path: Path) -> None:
    """It is right as long as every answer arrives."""
    text = (ROOT / "examples" / "ticket_office.toml").read_text()
    body = 'body = { seats = "{quantity}" }'
    told_key = text.replace(body, f'headers = {{ Idempotency-Key = "{{key}}" }}\n{body}')
    target = tmp_path / "forgetful.toml"
    target.write_text(told_key.replace('"ticket_office.py"', f'"{ROOT / "examples" / "ticket_office.py"}"'))
    verdicts = {
        fault: run(experiment_of({}, {"target": target, "fault": fault, "retries": 6}), tmp_path / fault).verdict
        for fault in ("latency", "lost-answer")
    }
    assert verdicts["latency"].verdict == "valid", verdicts["latency"].why
    assert verdicts["lost-answer"].verdict == "invalid"


def test_another_service_that_remembers_keys_holds_where_answers_are_lost_late_and_slow_clients_come(
    tmp_path: Path,
) -> None:
    result, happened = of_target("last_seat.toml", "slow-client@10%,latency@20%,lost-answer@50%", tmp_path)
    assert {each.name for each in happened} == {"lost-answer", "latency", "slow-client"}
    assert result.verdict.verdict == "valid", result.verdict.why


# -- between the nodes and the engine ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "store"), [("loss", "redis"), ("cut-one-way", "redis")])
def test_nodes_that_lose_packets_of_the_engine_lose_no_order(fault: str, store: str, tmp_path: Path) -> None:
    skip_without(fault)
    result, [happened] = held(tmp_path, fault, worker="gthread", store=store, guard="on", nodes=3)
    assert "packets were lost" in happened.text
    assert result.verdict.verdict == "valid", result.verdict.why
    assert (result.verdict.oversold, result.verdict.lost) == (0, 0)


def test_nodes_without_a_lock_are_caught_where_packets_are_lost(tmp_path: Path) -> None:
    skip_without("loss")
    service: dict[str, Any] = {"worker": "gthread", "store": "redis", "guard": "none", "think_ms": 5}
    result, [happened] = held(tmp_path, "loss", nodes=3, **service)
    assert happened.name == "loss"
    assert result.verdict.verdict == "invalid"


def test_what_is_dropped_is_lost_one_way_is_counted_and_ends(tmp_path: Path) -> None:
    skip_without("cut-one-way")
    nft = find_tools("nft")["nft"]
    with NamespaceNetwork(2, tmp_path / "log") as network:

        def hears_engine(number: int) -> bool:
            """Whether a host is told that nobody listens there, or waits in vain."""
            told = (
                "import socket\n"
                f"try: socket.create_connection(('{ENGINE}', 9), 1)\n"
                "except ConnectionRefusedError: print('told')\n"
                "except TimeoutError: print('silence')\n"
            )
            inside = ["nsenter", f"--net=/proc/{network.node(number)}/ns/net", "--", sys.executable, "-c", told]
            return subprocess.run(inside, capture_output=True, text=True, check=True).stdout == "told\n"

        network.drop(from_engine=f"ip daddr {node_address(1)}")
        assert "lastseat" not in subprocess.check_output([nft, "list", "tables"], text=True)
        assert [hears_engine(1), hears_engine(2)] == [False, True]
        assert network.dropped() > 0
        network.drop_nothing()
        network.drop_nothing()
        assert hears_engine(1)


def test_a_machine_without_nft_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without("cut-node")
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, **more: None if name == "nft" else which(name, **more))
    assert "nftables" in fault_class("loss").needs()
    assert fault_class("cut-node").needs() == ""
