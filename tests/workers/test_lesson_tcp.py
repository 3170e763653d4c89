"""The lesson on TCP servers: unframed and never-ending goes wrong, every model with framing and an end goes right."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from held import held

from workers.lessons import load
from workers.lessons.common.resources import process_tree
from workers.tcp import MODELS, Limits
from workers.tcp.capacity import enough_files, measure_model
from workers.tcp.clients import connected, exchange
from workers.tcp.conversation import polite
from workers.tcp.framing import LONGEST, BrokenOff, Malformed, framed, receive_message, send_message
from workers.tcp.mistakes import SENT, hang_up_all, right_answers
from workers.tcp.server import serving

LESSON = load("tcp")

pytestmark = pytest.mark.usefixtures("nothing_left_running")

SMALL = Limits(most_processes=3, pool=2)


@pytest.mark.servers
def test_without_framing_messages_are_glued_and_cut_letters_end_the_conversation(tmp_path: Path) -> None:
    with serving("a thread each", SMALL, tmp_path, "naive") as server:
        right = {what: right_answers(server.port, sent, with_framing=False) for what, sent in SENT.items()}
    assert right["two short messages at once"] == 0
    assert right["one message of 700 Chinese letters"] == 0


@pytest.mark.servers
def test_with_framing_each_of_them_is_answered(tmp_path: Path) -> None:
    with serving("a thread each", SMALL, tmp_path) as server:
        right = {what: right_answers(server.port, sent, with_framing=True) for what, sent in SENT.items()}
    assert right == {what: len(sent) for what, sent in SENT.items()}


@pytest.mark.servers
def test_a_server_that_looks_for_no_end_keeps_the_connections_of_those_who_left(tmp_path: Path) -> None:
    with serving("a thread each", SMALL, tmp_path, "naive") as server:
        alone = hang_up_all(server, 4, 3, 0.2, with_framing=False)
    assert alone.left == 4
    assert alone.busy > 0
    with serving("a thread each", SMALL, tmp_path) as server:
        assert hang_up_all(server, 4, 3, 0.2, with_framing=True).left == 0


@pytest.mark.servers
@pytest.mark.parametrize("model", MODELS)
def test_every_model_answers_as_many_as_it_has_places_and_the_others_later(model: str, tmp_path: Path) -> None:
    trial = measure_model(model, 7, 2, SMALL, tmp_path)
    places = SMALL.places(model)
    assert trial.asked == (3 if model == "a process each" else 7)
    assert trial.held == min(trial.asked, places)
    assert trial.held + trial.served_later == trial.asked
    assert trial.wrong == 0
    assert trial.right == trial.asked + 2 * trial.held
    assert trial.left == 0


@pytest.mark.servers
@pytest.mark.parametrize("model", ["a process each", "process pool", "all three"])
def test_the_models_with_processes_do_the_same_when_these_are_spawned(model: str, tmp_path: Path) -> None:
    trial = measure_model(model, 3, 1, Limits(most_processes=2, pool=2, start="spawn"), tmp_path)
    assert trial.held + trial.served_later == trial.asked
    assert trial.wrong == trial.left == 0


@pytest.mark.servers
def test_when_the_block_ends_every_process_of_the_server_is_gone(tmp_path: Path) -> None:
    with serving("process pool", SMALL, tmp_path) as server, connected(server.port, 2) as clients:
        exchange(clients)
        processes = process_tree(server.pid)
        port = server.port
        assert len(processes) == 3
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in _alive(processes))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.mark.servers
def test_ctrl_c_leaves_no_process_behind() -> None:
    command = [sys.executable, "-m", "workers.lessons.command", "tcp", "--connections", "1000", "--rounds", "100"]
    lesson = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started = psutil.Process(lesson.pid)
    deadline = time.monotonic() + 10
    below: list[psutil.Process] = []
    while not below and time.monotonic() < deadline:
        below = started.children(recursive=True)
        time.sleep(0.05)
    os.kill(lesson.pid, signal.SIGINT)
    assert lesson.wait(20) != 0
    assert below
    assert not _alive(below)


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for each in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if each.is_running() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


@pytest.mark.servers
def test_the_lesson_holds() -> None:
    findings = held(LESSON, {"connections": 12, "rounds": 2, "processes": 3, "pool": 2})
    measured = findings.measured
    assert measured["naive_right_answers"] < measured["messages_sent_in_the_framing_test"]
    assert measured["polite_right_answers"] == measured["messages_sent_in_the_framing_test"]
    assert measured["naive_left_after_hang_up"] == 10
    assert measured["polite_left_after_hang_up"] == 0
    assert {key: measured[key] for key in measured if key.endswith("_held")} == {
        "a_process_each_held": 3,
        "a_thread_each_held": 12,
        "process_pool_held": 2,
        "thread_pool_held": 2,
        "coroutines_held": 12,
        "all_three_held": 12,
    }
    assert findings.holds


@pytest.mark.parametrize("wrong", [{"connections": 0}, {"connections": 1001}, {"processes": 33}, {"start": "thread"}])
def test_parameters_that_make_no_sense_are_refused(wrong: dict[str, int | str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LESSON.settings(wrong)


def test_more_connections_than_this_process_may_open_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 256))
    with pytest.raises(ValueError, match="open files"), enough_files(1000):
        pass


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(5)
        far.settimeout(5)
        yield near, far


def test_a_message_that_arrives_byte_by_byte_is_one_message(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair

    def dribble() -> None:
        for byte in framed("最后一张票"):
            far.sendall(bytes([byte]))

    sender = threading.Thread(target=dribble)
    sender.start()
    assert receive_message(near) == "最后一张票"
    sender.join()


def test_messages_sent_in_one_piece_stay_apart(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    far.sendall(framed("one") + framed("") + framed("three"))
    assert [receive_message(near) for _ in range(3)] == ["one", "", "three"]


def test_hanging_up_between_messages_is_the_end_and_within_one_is_an_error(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    near, far = pair
    far.sendall(framed("whole") + framed("half")[:-1])
    far.shutdown(socket.SHUT_WR)
    assert receive_message(near) == "whole"
    with pytest.raises(BrokenOff):
        receive_message(near)
    assert receive_message(near) is None


@pytest.mark.parametrize("garbage", [(LONGEST + 1).to_bytes(4, "big"), b"GET / HTTP/1.1\r\n", b"\0\0\0\1\xff"])
def test_a_client_that_does_not_keep_to_the_form_is_hung_up_on(
    garbage: bytes, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    far.sendall(garbage)
    with pytest.raises(Malformed):
        receive_message(near)


def test_a_conversation_ends_when_the_client_has_gone(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    talk = threading.Thread(target=polite, args=(near,))
    talk.start()
    send_message(far, "straße")
    assert receive_message(far) == "STRASSE"
    far.close()
    talk.join(60)
    assert not talk.is_alive()
    assert near.fileno() == -1
