"""The load generator: ``python -m loadtests.lab.bench.load_process FD``; FD is a socket to whoever wants load.

One process, one thread, plain sockets and epoll: as little work for a request as Python allows, so that on a small
machine the server has the processor. It reads one ``Load`` a line, sends it, and answers with one ``Window`` a line;
when the socket is closed it ends.

A client sends the next request when it has the whole answer to the last (closed loop), on the same connection where
the server keeps it. At the end of a window no new request is sent, and those under way are waited for: what the
server was asked and what it answered can then be compared exactly.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import re
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import msgspec

from loadtests.lab.bench.load_client import Load, Window
from loadtests.lab.history.generator_load import GeneratorLoad, GeneratorMeter
from loadtests.lab.servers.resources import cpu_s

BODY = b'{"quantity":1}'
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: *(\d+)")
_CLOSES = re.compile(rb"\r\n[Cc]onnection: *[Cc]lose")
_MOST_FAILURES_IN_A_ROW = 200
_LONGEST_LOOK_S = 0.25


class GivenUp(Exception):
    """No load can be put on this address."""


class _Answer(NamedTuple):
    version: int
    times: bytes
    """``hold;dur=0.123, store;dur=0.456`` as the service wrote it."""


class Batches:
    """Finds from the answers which purchases were decided together; they are sorted out afterwards.

    Purchases of one transaction have the same ``hold`` and ``store`` times (three decimals of a millisecond, both) and
    consecutive versions; one transaction may have purchases of several workers. Two transactions that follow each other
    and took the same time to the microsecond, twice, are taken for one; that is rare, and makes a mean batch too large
    by as little.
    """

    def __init__(self) -> None:
        self._seen: list[_Answer] = []

    def add(self, answer: bytes) -> None:
        """Take one whole HTTP answer; one without the service's headers and a version is passed over."""
        times, version = answer.find(b"hold;dur="), answer.rfind(b'"version":')
        if times < 0 or version < 0:
            return
        self._seen.append(
            _Answer(
                int(answer[version + 10 : answer.index(b"}", version)].split(b",")[0]),
                answer[times : answer.index(b"\r", times)],
            )
        )

    def sizes(self) -> dict[int, int]:
        """The number of transactions of each size."""
        return dict(sorted(Counter(len(batch) for batch in self._transactions()).items()))

    def held_ms(self) -> float | None:
        """The time that a transaction held the guard, on average; None where no answer said so."""
        held = [float(batch[0].times.split(b",")[0][len(b"hold;dur=") :]) for batch in self._transactions()]
        return sum(held) / len(held) if held else None

    def _transactions(self) -> Iterator[list[_Answer]]:
        ordered = sorted(self._seen)
        if not ordered:
            return
        batch = ordered[:1]
        for before, after in pairwise(ordered):
            if after.version == before.version + 1 and after[1:] == before[1:]:
                batch.append(after)
            else:
                yield batch
                batch = [after]
        yield batch


class _Client:
    """One buyer's connection, and the request that is under way on it."""

    __slots__ = ("buffer", "connected", "sent_ns", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.connected = False
        self.buffer = b""
        self.sent_ns = 0


class Loader:
    """Puts one ``Load`` on a server."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._address = ("127.0.0.1", load.port)
        self._request = (
            b"POST %b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (load.path.encode(), load.port, len(BODY), BODY)
        )
        self._poll, self._watch, self._unwatch = _poller()
        self._clients: dict[int, _Client] = {}
        self._told: Counter[bytes] = Counter()
        self._errors: Counter[str] = Counter()
        self._unknown = 0
        self._sent = 0
        self._failures_in_a_row = 0
        self._sending = True
        self._measuring = False
        self._latencies_ns: list[int] = []
        self._batches = Batches()

    def run(self) -> Window:
        """Warm up, measure, and wait for what is under way. Raises ``GivenUp``."""
        try:
            for _ in range(self._load.clients):
                self._connect()
            self._go_on_until(self._after(self._load.warm_s))
            return self._measure()
        finally:
            for client in self._clients.values():
                client.sock.close()

    def _measure(self) -> Window:
        load, before = self._load, self._told.copy()
        used, meter, began = cpu_s(load.pids), GeneratorMeter(), time.perf_counter()
        self._measuring = True
        self._go_on_until(self._enough if load.count else self._after(load.seconds))
        lasted = time.perf_counter() - began
        busy, used = meter.read(), cpu_s(load.pids) - used
        self._measuring = self._sending = False
        within = self._told - before
        self._go_on_until(lambda: not self._clients)
        return Window(
            seconds=lasted,
            answers=_by_status(within),
            told=_by_status(self._told),
            errors=dict(self._errors),
            unknown=self._unknown,
            latencies_us=sorted(each // 1000 for each in self._latencies_ns),
            cpu_s=used,
            busy=busy,
            batch_sizes=self._batches.sizes(),
            held_ms=self._batches.held_ms(),
        )

    def _after(self, seconds: float) -> Callable[[], bool]:
        end = time.perf_counter() + seconds
        return lambda: time.perf_counter() >= end

    def _enough(self) -> bool:
        return sum(self._told.values()) >= self._load.count or not self._clients

    def _go_on_until(self, enough: Callable[[], bool]) -> None:
        last_heard = time.perf_counter()
        while not enough():
            happened = self._poll(0.002 if self._sending else _LONGEST_LOOK_S)
            for fd, _ in happened:
                self._go_on(self._clients[fd])
            if happened:
                last_heard = time.perf_counter()
            elif time.perf_counter() - last_heard > self._load.patience_s:
                self._give_up_waiting()
                return

    def _go_on(self, client: _Client) -> None:
        """Something happened on a connection: it is open, an answer came, or it broke."""
        try:
            if not client.connected:
                self._opened(client)
                return
            received = client.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._broke(client, errno.errorcode.get(error.errno or 0, "error"))
            return
        if not received:
            self._broke(client, "closed without an answer")
            return
        answer = client.buffer + received if client.buffer else received
        head = answer.find(b"\r\n\r\n")
        length = _LENGTH.search(answer, 0, head + 2) if head > 0 else None
        if length is None or len(answer) < head + 4 + int(length[1]):
            client.buffer = answer
            return
        client.buffer = b""
        self._answered(client, answer, head)

    def _answered(self, client: _Client, answer: bytes, head: int) -> None:
        now = time.perf_counter_ns()
        self._told[answer[9:12]] += 1
        self._failures_in_a_row = 0
        if self._measuring:
            self._latencies_ns.append(now - client.sent_ns)
            if self._load.batches:
                self._batches.add(answer)
        if not self._may_send():
            self._drop(client)
        elif _CLOSES.search(answer, 0, head + 2):
            self._drop(client)
            self._connect()
        else:
            self._send(client, now)

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = self._clients[sock.fileno()] = _Client(sock)
        client.sent_ns = time.perf_counter_ns()
        code = sock.connect_ex(self._address)
        if code not in {0, errno.EINPROGRESS}:
            self._watch(sock.fileno(), select.POLLIN)
            self._broke(client, errno.errorcode.get(code, "error"))
            return
        self._watch(sock.fileno(), select.POLLOUT)

    def _opened(self, client: _Client) -> None:
        code = client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "not connected")
        if not self._may_send():
            self._drop(client)
            return
        client.connected = True
        fd = client.sock.fileno()
        self._unwatch(fd)
        self._watch(fd, select.POLLIN)
        # Its time began when the connection was asked for: to the buyer it is one purchase.
        self._send(client, client.sent_ns)

    def _send(self, client: _Client, now_ns: int) -> None:
        client.sent_ns = now_ns
        self._sent += 1
        try:
            client.sock.send(self._request)
        except OSError as error:
            self._broke(client, errno.errorcode.get(error.errno or 0, "error"))

    def _may_send(self) -> bool:
        return self._sending and not 0 < self._load.count <= self._sent

    def _broke(self, client: _Client, why: str) -> None:
        self._unknown += client.connected
        self._errors[why] += 1
        self._failures_in_a_row += 1
        self._drop(client)
        if self._failures_in_a_row >= _MOST_FAILURES_IN_A_ROW:
            raise GivenUp(f"{self._failures_in_a_row} connections in a row broke, the last one with {why}")
        if self._may_send():
            self._connect()

    def _drop(self, client: _Client) -> None:
        fd = client.sock.fileno()
        del self._clients[fd]
        self._unwatch(fd)
        client.sock.close()

    def _give_up_waiting(self) -> None:
        silent = list(self._clients.values())
        self._sending = False
        for client in silent:
            self._unknown += client.connected
            self._errors["no answer in time"] += 1
            self._drop(client)


def _poller() -> tuple[Callable[[float], list[tuple[int, int]]], Callable[[int, int], None], Callable[[int], None]]:
    """Wait (seconds), watch, unwatch: by epoll where there is one. The values of POLLIN and EPOLLIN are the same."""
    if hasattr(select, "epoll"):
        epoll = select.epoll()
        return epoll.poll, epoll.register, epoll.unregister
    plain = select.poll()
    return lambda seconds: plain.poll(seconds * 1e3), plain.register, plain.unregister


def _by_status(counted: Counter[bytes]) -> dict[int, int]:
    return {int(status): count for status, count in counted.items()}


def serve(asked: socket.socket) -> None:
    """One window for each line, until the other side hangs up."""
    gc.disable()
    with contextlib.suppress(ConnectionError), asked.makefile("rwb") as lines:
        for line in lines:
            try:
                window = Loader(msgspec.json.decode(line, type=Load)).run()
            except GivenUp as why:
                nothing = GeneratorLoad(computing=0.0, waiting_for_core=0.0)
                window = Window(seconds=0.0, answers={}, told={}, errors={str(why): 1}, busy=nothing)
            lines.write(msgspec.json.encode(window) + b"\n")
            lines.flush()
            gc.collect()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
