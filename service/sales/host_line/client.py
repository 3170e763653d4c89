"""The worker's side: its connection to the combiner, and what it makes of the answers."""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from service.errors import Problem
from service.runtime.gevent import patched
from service.runtime.notifications import Signal
from service.sales.batch import Take, Waiting
from service.sales.host_line import messages
from service.sales.host_line.launching import Launched
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


class NotSent(Exception):
    """The combiner did not get the whole question, so it decides nothing."""


class _Pending:
    """A question that was sent, and its answers."""

    __slots__ = ("answers", "woken")

    def __init__(self) -> None:
        self.woken = Signal()
        self.answers: list[Answer] | None = None


class Connection:
    """A connection to the combiner; any number of threads or greenlets ask on it at once.

    One of those who wait receives for all of them; when it has its own answer another one does.
    """

    def __init__(self, opened: socket.socket, fingerprint: str) -> None:
        """Errors: ``OSError`` where the other end is not this user's combiner of this configuration."""
        self._socket = opened
        self._pidfd = -1
        self._assembly = Assembly()
        self._numbers = itertools.count()
        self._sending, self._receiving = threading.Lock(), threading.Lock()
        self._pending: dict[int, _Pending] = {}
        try:
            self.pid, uid = peer(opened)
            if uid != os.geteuid():
                raise PermissionError(f"the combiner's socket belongs to the user {uid}")
            hello: Hello = messages.decode_hello(self._message(time.monotonic() + _HELLO_PATIENCE_S))
            if hello.fingerprint != fingerprint:
                raise OSError("the combiner is another configuration's")
            self._pidfd = os.pidfd_open(self.pid)
            if self._is_at_its_end():  # else the id may be another process's by now
                raise Ended
        except (Ended, msgspec.MsgspecError) as error:
            self.close()
            raise ConnectionError("the combiner did not greet") from error
        except BaseException:
            self.close()
            raise

    def _is_at_its_end(self) -> bool:
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            return not self._socket.recv(1, socket.MSG_PEEK)
        return False

    def ask(self, event: str, waiting: Sequence[Waiting], deadline: float) -> list[Answer]:
        """The answers for some commands. Errors: ``NotSent``; ``Ended``; ``TimeoutError`` past ``deadline``."""
        number, mine = next(self._numbers), _Pending()
        asked = [Asked(messages.written(each.command), each.arrived, each.deadline) for each in waiting]
        question = encode(Ask(number, event, asked))
        self._pending[number] = mine
        try:
            self._send(question, deadline)
            return self._answers(mine, deadline)
        finally:
            self._pending.pop(number, None)
            if self._pending and not self._receiving.locked():
                self._let_another_receive()

    def _send(self, message: bytes, deadline: float) -> None:
        try:
            with self._sending:
                for packet in packets(message):
                    self._send_packet(packet, deadline)
        except BaseException as error:
            # The rest of a message that broke off must not follow: whoever asks next would continue it.
            self.close()
            if isinstance(error, OSError):
                raise NotSent from error
            raise

    def _send_packet(self, packet: bytes, deadline: float) -> None:
        # The descriptor of a socket with a time-out does not block, and there is nearly always room. The socket's own
        # ``send`` would look first.
        try:
            os.write(self._socket.fileno(), packet)
        except BlockingIOError:
            self._socket.settimeout(max(_POLL_S, deadline - time.monotonic()))
            self._socket.send(packet)

    def _answers(self, mine: _Pending, deadline: float) -> list[Answer]:
        while mine.answers is None:
            if self._receiving.acquire(blocking=False):
                try:
                    while mine.answers is None:
                        self._receive(deadline)
                finally:
                    self._receiving.release()
            elif not mine.woken.wait(deadline - time.monotonic()):
                raise TimeoutError
        return mine.answers

    def _receive(self, deadline: float) -> None:
        """Hand one answer to whoever waits for it; nobody may."""
        came = messages.decode_answers(self._message(deadline))
        pending = self._pending.pop(came.number, None)
        if pending is not None:
            pending.answers = came.answers
            pending.woken.set()

    def _let_another_receive(self) -> None:
        with contextlib.suppress(StopIteration, RuntimeError):  # who comes or goes at this moment looks by itself
            next(iter(self._pending.values())).woken.set()

    def kill(self) -> None:
        """End a combiner that hangs, and no other process: its id may be another one's by now."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Whether the combiner is seen to have ended, within some time. Then its locks are free: a process closes its
        files before it is seen to have ended."""
        ended = select.poll()
        ended.register(self._pidfd, select.POLLIN)
        return bool(ended.poll(_END_PATIENCE_S * 1e3))

    def close(self) -> None:
        """End the connection, for all who wait for an answer on it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def __del__(self) -> None:
        # Not earlier: another thread may still use the descriptors, whose numbers would be another file's.
        self._socket.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def _message(self, deadline: float) -> bytes:
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            # Seldom set anew: it is a system call, and a time-out that is a little too short only looks again.
            if not left_s / 2 <= (self._socket.gettimeout() or 0.0) <= left_s:
                self._socket.settimeout(max(left_s * 0.9, _POLL_S))
            try:
                packet = self._socket.recv(messages.PACKET + 1)
            except TimeoutError:
                continue  # another thread that sends has a time-out of its own, which is the socket's
            except OSError:
                packet = b""
            if not packet:
                raise Ended
            message = self._assembly.add(packet)
            if message is not None:
                return message


class HostLine:
    """This process's access to the combiner. Threads and greenlets share one."""

    def __init__(self, place: Place, launch: Callable[[int], Launched]) -> None:
        """``launch`` starts a combiner, and hands it the descriptor that holds the lock of the place."""
        self._place = place
        self._launch = launch
        self._connecting = threading.Lock()
        self._connected: Connection | None = None
        self._launched: Launched | None = None
        self._launched_at = -math.inf
        self._keep_the_line = not patched()
        """Threads hand over what came while one of them waits for an answer: a message for each costs more than it
        brings. Greenlets do not wait for each other, so that more commands are at the combiner when it decides."""

    def decide(self, event: str, take: Take, answer_deadline: float) -> bool:
        """Have the combiner decide the commands that wait for an event; each has its outcome or its error then.

        Returns False where this process has to decide. Errors: ``outcome_unknown``.
        """
        while (connection := self._connection()) is not None:
            take.keep_the_line = self._keep_the_line
            take()
            try:
                answers = connection.ask(event, take.taken, answer_deadline)
            except NotSent:
                self._leave(connection)
            except TimeoutError:
                # One that was asked what another one left undone may have had no time for it.
                if not any(waiting.asked_again for waiting in take.taken):
                    log.error("the combiner gave no answer in time: it is killed, and the next one takes its place")
                    connection.kill()
                    self._leave(connection)
                raise Problem("outcome_unknown") from None
            except Ended:
                self._leave(connection)
                if not connection.has_ended():
                    raise Problem("outcome_unknown", "The combiner ended the connection.") from None
                for waiting in take.taken:
                    waiting.asked_again = True
            else:
                return _settled(take.taken, answers)
        return False

    def look_after(self) -> None:
        """Have a connection, and so a combiner that does not end, before the next purchase."""
        self._connection()

    def close(self) -> None:
        """Leave the combiner; what waits for it is answered with an unknown outcome."""
        if self._connected is not None:
            self._leave(self._connected)

    def _connection(self) -> Connection | None:
        """None where there is none yet. Then a combiner is started, unless there is one."""
        if self._connected is not None or not self._connecting.acquire(blocking=False):
            return self._connected
        try:
            opened = self._place.connect(_HELLO_PATIENCE_S)
            if opened is not None:
                self._connected = Connection(opened, self._place.fingerprint)
            else:
                self._start()
        except OSError as error:
            log.warning("this process decides by itself, without the combiner: %s", error)
        finally:
            self._connecting.release()
        return self._connected

    def _leave(self, connection: Connection) -> None:
        if self._connected is connection:
            self._connected = None
        connection.close()

    def _start(self) -> None:
        status = self._launched.status() if self._launched is not None else 0
        if status is None:
            return  # it is starting
        pause_s = _AFTER_A_REFUSAL_S if status > 0 else _BETWEEN_STARTS_S
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
