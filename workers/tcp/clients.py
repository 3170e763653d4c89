"""Many clients in one thread: all send, then every answer is received and checked."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Iterator, Sequence

from workers.tcp.framing import Malformed, receive_message, send_message

PATIENCE_S = 10.0
# Letters of one, two and three bytes, and one whose capital is two letters.
WORDS = ("last seat", "élève", "straße", "最后 a 一张票", "żółw", "row b", "œuvre")


def connect(port: int, timeout_s: float) -> socket.socket:
    """A connection to this machine that sends every message at once."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class TcpClient:
    """One connection, and the number of its right and wrong answers."""

    def __init__(self, port: int) -> None:
        self._socket = connect(port, PATIENCE_S)
        self._number = self._socket.getsockname()[1]
        self._sent = 0
        self._expected = ""
        self.right = 0
        self.wrong = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self) -> None:
        """Sends a message that is unlike every other message of every client."""
        self._sent += 1
        text = f"client {self._number} message {self._sent} {WORDS[self._sent % len(WORDS)]} "
        # Some are longer than one packet, so that they arrive in pieces.
        message = text * (1 if self._sent % 5 else 100)
        self._expected = message.upper()
        send_message(self._socket, message)

    def receive(self) -> bool:
        """Receives one answer. True if it was right."""
        try:
            answer = receive_message(self._socket)
        except (OSError, Malformed):
            answer = None
        good = answer == self._expected
        self.right += good
        self.wrong += not good
        return good

    def hang_up(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def connected(port: int, count: int) -> Iterator[list[TcpClient]]:
    """``count`` connected clients; all have hung up at the end."""
    clients: list[TcpClient] = []
    try:
        for _ in range(count):
            clients.append(TcpClient(port))  # noqa: PERF401 - those that did connect must hang up where a later one fails
        yield clients
    finally:
        for client in clients:
            client.hang_up()


def exchange(clients: Sequence[TcpClient], expected: int | None = None, *, linger_s: float = 0.0) -> list[TcpClient]:
    """All send a message at once; returns the clients that got the right answer.

    It waits until ``expected`` clients (all by default) have an answer or nothing came for ``PATIENCE_S``, and then
    ``linger_s`` longer.
    """
    for client in clients:
        client.send()
    return take_answers(clients, len(clients) if expected is None else expected, linger_s=linger_s)


def take_answers(clients: Sequence[TcpClient], expected: int, *, linger_s: float = 0.0) -> list[TcpClient]:
    """Waits for the answers to messages that were sent before, as ``exchange`` does."""
    answered: list[TcpClient] = []
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ, client)
        while selector.get_map():
            ready = selector.select(PATIENCE_S if len(answered) < expected else linger_s)
            if not ready:
                break
            for key, _ in ready:
                selector.unregister(key.fileobj)
                if key.data.receive():
                    answered.append(key.data)
    return answered
