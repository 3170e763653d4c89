"""The worker's side: its connections to the combiner, and what it makes of the answers."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from service.errors import Problem
from service.sales.batch import Take, Waiting
from service.sales.host_line import messages
from service.sales.host_line.messages import Again, Answer, Ask, Asked, Assembly, Failed, Hello, encode, packets
from service.sales.host_line.place import Place, peer

_HELLO_PATIENCE_S = 1.0
_END_PATIENCE_S = 2.0
"""How long to wait until a combiner whose connection ended, or that was killed, is seen to have ended."""
_BETWEEN_STARTS_S, _AFTER_A_REFUSAL_S = 1.0, 30.0
_POLL_S = 0.001

log = logging.getLogger("lastseat")


class Ended(Exception):
    """The connection has ended, and the answer did not come."""


class Connection:
    """One connection; one thread or greenlet at a time asks on it."""

    def __init__(self, opened: socket.socket, fingerprint: str) -> None:
        """Errors: ``OSError`` where the other end is not this user's combiner of this configuration."""
        self._socket = opened
        self._pidfd = -1
        self._assembly = Assembly()
        self._numbers = itertools.count()
        try:
            self.pid, uid = peer(opened)
            if uid != os.geteuid():
                raise PermissionError(f"the combiner's socket belongs to the user {uid}")
            self._pidfd = os.pidfd_open(self.pid)
            hello: Hello = messages.decode_hello(self._message(time.monotonic() + _HELLO_PATIENCE_S))
            if hello.fingerprint != fingerprint:
                raise OSError("the combiner is another configuration's")
        except (Ended, msgspec.MsgspecError) as error:
            self.close()
            raise ConnectionError("the combiner did not greet") from error
        except BaseException:
            self.close()
            raise
        self.instance = hello.instance

    def send(self, event: str, waiting: Sequence[Waiting], deadline: float) -> int:
        """Ask, and return the number of the question. Errors: ``OSError``; then nothing was sent."""
        number = next(self._numbers)
        asked = [Asked(messages.written(each.command), each.arrived, each.deadline) for each in waiting]
        for packet in packets(encode(Ask(number, event, asked))):
            self._socket.settimeout(max(_POLL_S, deadline - time.monotonic()))
            self._socket.send(packet)
        return number

    def receive(self, number: int, deadline: float) -> list[Answer]:
        """The answers to that question. Errors: ``Ended``; ``TimeoutError``."""
        while True:
            answers = messages.decode_answers(self._message(deadline))
            if answers.number == number:
                return answers.answers

    def kill(self) -> None:
        """End a combiner that hangs, and no other process: its id may be another one's by now."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        self._socket.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _message(self, deadline: float) -> bytes:
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._socket.settimeout(left_s)
            try:
                packet = self._socket.recv(messages.PACKET + 1)
            except TimeoutError:
                raise
            except OSError:
                packet = b""
            if not packet:
                raise Ended
            message = self._assembly.add(packet)
            if message is not None:
                return message


class HostLine:
    """This process's access to the combiner. Threads and greenlets share one."""

    def __init__(self, place: Place, launch: Callable[[int], subprocess.Popen[bytes]]) -> None:
        """``launch`` starts a combiner, and hands it the descriptor that holds the lock of the place."""
        self._place = place
        self._launch = launch
        self._idle: deque[Connection] = deque()
        self._connections: set[Connection] = set()
        self._launched: subprocess.Popen[bytes] | None = None
        self._launched_at = -math.inf

    def decide(self, event: str, take: Take, answer_deadline: float) -> bool:
        """Have the combiner decide the commands that wait for an event; each has its outcome or its error then.

        Returns False where this process has to decide. Errors: ``outcome_unknown``.
        """
        while (connection := self._connection()) is not None:
            take.keep_the_line = True
            take()
            try:
                number = connection.send(event, take.taken, answer_deadline)
            except OSError:
                # Without its last packet it was not sent.
                self._close(connection)
                continue
            try:
                answers = connection.receive(number, answer_deadline)
            except TimeoutError:
                log.error("the combiner gave no answer in time: it is killed, and the next one takes its place")
                connection.kill()
                self._close(connection)
                self._wait_for_end(connection)
                raise Problem("outcome_unknown") from None
            except Ended:
                self._close(connection)
                if not self._wait_for_end(connection):
                    raise Problem("outcome_unknown", "The combiner ended the connection.") from None
                for waiting in take.taken:
                    waiting.asked_again = True
                continue
            except BaseException:
                self._close(connection)  # an answer that comes late must not be taken for another one's
                raise
            self._idle.append(connection)
            return _settled(take.taken, answers)
        return False

    def look_after(self) -> None:
        """Have a connection, and so a combiner that does not end, before the next purchase."""
        if not self._connections and (connection := self._connection()) is not None:
            self._idle.append(connection)

    def _connection(self) -> Connection | None:
        """One that nobody uses; None where there is none yet. Then a combiner is started, unless there is one."""
        with contextlib.suppress(IndexError):
            return self._idle.pop()
        try:
            opened = self._place.connect(_HELLO_PATIENCE_S)
            if opened is not None:
                return self._greeted(opened)
            self._start()
        except OSError as error:
            log.warning("this process decides by itself, without the combiner: %s", error)
        return None

    def _greeted(self, opened: socket.socket) -> Connection:
        connection = Connection(opened, self._place.fingerprint)
        self._connections.add(connection)
        return connection

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        connection.close()

    def _start(self) -> None:
        launched = self._launched
        # The look also removes one that ended from the table of processes.
        if launched is not None and launched.poll() is None:
            return  # it is starting
        pause_s = _AFTER_A_REFUSAL_S if launched is not None and launched.returncode > 0 else _BETWEEN_STARTS_S
        if time.monotonic() < self._launched_at + pause_s:
            return
        lock_fd = self._place.lock()
        if lock_fd is None:
            return  # another process starts one
        self._launched_at = time.monotonic()
        try:
            self._launched = self._launch(lock_fd)
        finally:
            # Closed and not unlocked: the lock belongs to the new process, which has the same open file.
            os.close(lock_fd)

    def _wait_for_end(self, connection: Connection) -> bool:
        """Whether that combiner is seen to have ended: its lock is free, or another one has it."""
        deadline = time.monotonic() + _END_PATIENCE_S
        while time.monotonic() < deadline:
            if self._place.is_free():
                return True
            with contextlib.suppress(OSError):
                opened = self._place.connect(_HELLO_PATIENCE_S)
                if opened is not None:
                    other = self._greeted(opened)
                    self._idle.append(other)
                    return other.instance != connection.instance
            time.sleep(_POLL_S)
        return False


def _settled(waiting: Sequence[Waiting], answers: Sequence[Answer]) -> bool:
    """Give each its outcome or its error; False where the worker is to decide them."""
    for each, answer in zip(waiting, answers, strict=True):
        match answer:
            case Again():
                return False  # of all of them: see ``combiner``
            case Failed():
                each.error = messages.problem_of(answer)
            case _:
                each.measured = answer.times
                each.wait_ms = answer.times.wait_ms
                each.outcome = messages.outcome_of(answer)
    return True
