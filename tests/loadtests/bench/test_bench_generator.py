"""The load generator tells what happened, against servers whose every answer is known."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadtests.lab.bench.load_client import GeneratorFailed, Load, LoadGenerator, Window
from loadtests.lab.bench.load_process import BODY

pytestmark = pytest.mark.servers

SOLD, SOLD_OUT = b"201 CREATED", b"409 CONFLICT"


def answer(status: bytes, *, closes: bool = False) -> bytes:
    close = b"Connection: close\r\n" if closes else b""
    return b"HTTP/1.1 %b\r\n%bContent-Length: 2\r\n\r\n{}" % (status, close)


class KnownServer:
    """A thread a connection. ``say`` gives the answer to the n-th request of all; None closes without one."""

    def __init__(self, say: Callable[[int], bytes | None]) -> None:
        self._say = say
        self._numbers = itertools.count(1)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.requests: list[bytes] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._threads:
            each.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                connection.settimeout(10)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            received = b""
            while more := connection.recv(4096):
                received += more
                if not received.endswith(BODY):
                    continue
                self.requests.append(received)
                received = b""
                said = self._say(next(self._numbers))
                if said is None:
                    return
                half = len(said) // 2  # in two pieces: an answer need not arrive whole
                connection.sendall(said[:half])
                connection.sendall(said[half:])
                if b"Connection: close" in said:
                    return


@pytest.fixture
def generator(tmp_path: Path) -> Iterator[LoadGenerator]:
    with LoadGenerator(tmp_path) as running:
        yield running


@pytest.fixture
def load(generator: LoadGenerator) -> Iterator[Callable[..., tuple[Window, KnownServer]]]:
    with contextlib.ExitStack() as running:

        def put(
            say: Callable[[int], bytes | None], *, count: int = 0, patience_s: float = 15.0
        ) -> tuple[Window, KnownServer]:
            server = KnownServer(say)
            running.callback(server.close)
            asked = Load(port=server.port, path="/buy", clients=2, seconds=0.1, count=count, patience_s=patience_s)
            return generator.window(asked), server

        yield put


def test_only_what_was_answered_with_201_is_sold(load: Callable[..., tuple[Window, KnownServer]]) -> None:
    window, server = load(lambda number: answer(SOLD if number % 4 == 0 else SOLD_OUT), count=40)
    assert window.told == {201: 10, 409: 30}
    assert window.unknown == 0
    assert window.errors == {}
    assert len(server.requests) == 40
    assert all(request.startswith(b"POST /buy HTTP/1.1\r\n") for request in server.requests)


def test_a_connection_that_the_server_keeps_is_used_again(load: Callable[..., tuple[Window, KnownServer]]) -> None:
    _, server = load(lambda _: answer(SOLD), count=40)
    assert server.connections == 2


def test_where_the_server_closes_each_purchase_has_its_own(load: Callable[..., tuple[Window, KnownServer]]) -> None:
    window, server = load(lambda _: answer(SOLD, closes=True), count=40)
    assert window.told == {201: 40}
    assert 40 <= server.connections <= 42


def test_a_window_in_time_counts_every_answer_that_was_given(load: Callable[..., tuple[Window, KnownServer]]) -> None:
    window, server = load(lambda _: answer(SOLD))
    assert window.told[201] == len(server.requests)
    assert window.answers[201] <= window.told[201]
    assert len(window.latencies_us) == sum(window.answers.values())
    assert window.latencies_us == sorted(window.latencies_us)


def test_a_request_that_was_never_answered_is_unknown_and_not_sold(
    load: Callable[..., tuple[Window, KnownServer]],
) -> None:
    window, server = load(lambda number: None if number == 5 else answer(SOLD), count=20)
    assert window.told == {201: 19}
    assert window.unknown == 1
    assert window.errors == {"closed without an answer": 1}
    assert len(server.requests) == 20


def test_a_server_that_goes_silent_does_not_hold_the_window_up(load: Callable[..., tuple[Window, KnownServer]]) -> None:
    silence = threading.Event()

    def say(number: int) -> bytes | None:
        if number > 10:
            silence.wait(10)
            return None
        return answer(SOLD)

    window, _ = load(say, count=20, patience_s=2.0)
    silence.set()
    assert window.told == {201: 10}
    assert window.unknown == 2
    assert window.errors == {"no answer in time": 2}


def test_a_port_where_nobody_listens_is_an_error_and_not_a_rate_of_nothing(generator: LoadGenerator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(GeneratorFailed, match=f"port {port}.*ECONNREFUSED"):
        generator.window(Load(port=port, path="/buy", clients=64, seconds=0.1))


def test_the_generator_is_no_more_when_its_block_is_left(tmp_path: Path) -> None:
    with LoadGenerator(tmp_path) as running:
        process = running._process
        assert process.poll() is None
    assert process.poll() is not None


def test_the_server_that_does_nothing_shows_what_the_generator_can_do(generator: LoadGenerator, tmp_path: Path) -> None:
    window = generator.measure_itself(tmp_path, 0.2)
    assert set(window.told) == {201}
    assert window.errors == {}
    assert window.busy.computing > 0
