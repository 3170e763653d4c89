"""Two mistakes, measured: messages without framing, and a server that does not look for the end of a conversation."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from workers.tcp.clients import connect
from workers.tcp.framing import framed, receive_message
from workers.tcp.server import Server

SENT = {
    "one short message": ["hello"],
    "two short messages at once": ["hello", "again"],
    "one message of 60,000 letters": ["seat " * 12_000],
    "one message of 700 Chinese letters": ["最后一张票在哪里" * 87 + "最后一张"],
}
_ANSWER_WITHIN_S = 0.5
_TRIP_WITHIN_S = 10.0
_NO_SUCH_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class AfterHangUp:
    """A server after its clients have hung up."""

    left: int
    """The number of connections that it still holds."""
    busy: float
    """CPU seconds that it uses in a second, without a client."""
    before: float
    """Round trips a second of a client that was alone."""
    after: float
    """Round trips a second of a client that comes after the others have gone."""


def right_answers(port: int, messages: list[str], *, with_framing: bool) -> int:
    """Sends all messages at once and receives one answer for each. Returns the number of right answers."""
    with connect(port, _ANSWER_WITHIN_S) as sock:
        sock.sendall(b"".join(framed(text) if with_framing else text.encode() for text in messages))
        right = 0
        for text in messages:
            try:
                answer = receive_message(sock) if with_framing else sock.recv(_NO_SUCH_ANSWER_BYTES).decode()
            except (OSError, ValueError):
                break
            right += answer == text.upper()
        return right


def hang_up_all(server: Server, clients: int, trips: int, watch_s: float, *, with_framing: bool) -> AfterHangUp:
    """All clients talk and hang up; then the server is watched without them."""
    before = _trips_a_second(server.port, trips, with_framing)
    for _ in range(clients - 1):
        _trips_a_second(server.port, 1, with_framing)
    left = server.settled(watch_s).connections
    spent, began = server.cpu_s(), time.perf_counter()
    time.sleep(watch_s)
    busy = (server.cpu_s() - spent) / (time.perf_counter() - began)
    after = statistics.median(_trips_a_second(server.port, trips, with_framing) for _ in range(3))
    return AfterHangUp(left, busy, before, after)


def _trips_a_second(port: int, count: int, with_framing: bool) -> float:
    """Answers a second for a new client alone, without the first one; 0 if an answer was wrong."""
    with connect(port, _TRIP_WITHIN_S) as sock:
        began = 0.0
        for trip in range(count + 1):
            sock.sendall(framed("hello") if with_framing else b"hello")
            answer = receive_message(sock) if with_framing else sock.recv(_NO_SUCH_ANSWER_BYTES).decode()
            if answer != "HELLO":
                return 0.0
            if trip == 0:
                began = time.perf_counter()
        return count / (time.perf_counter() - began)
