"""The combiner's process: ``python -m service.sales.host_line.combiner``, started by ``launching``.

It receives all that has come, groups the commands by event, runs one transaction for each event, and answers. What
comes while it waits for the disk is in the next transactions. All this is one thread, which hands nothing over. Only an
event whose guard somebody else keeps has a thread of its own until it is decided: the others are sold meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Sequence

from service.errors import Problem, RefusedToStart
from service.runtime.files import keep_to_ourselves
from service.runtime.gunicorn import raise_descriptor_limit
from service.runtime.metrics import open_metrics
from service.sales.batch import Waiting
from service.sales.box_office import BoxOffice
from service.sales.command_handler import NotCombined
from service.sales.host_line import messages, place
from service.sales.host_line.launching import LOCK_FD
from service.sales.host_line.messages import Again, Answer, Answers, Ask, Assembly, Hello, encode, packets
from service.sales.opening import open_store_and_control
from service.settings import from_environment, without_passwords

FIRST_PATIENCE_S = 10.0
"""How long a combiner waits for its first worker."""
MOST_UNSENT = 8 << 20
"""Bytes of answers that are kept for a worker that does not read."""
_MOST_ROUNDS = 64
"""How often in a row it looks for more of what has come before it decides."""
_GUARD_PATIENCE_S = 0.01
"""How long all wait for the guard of one event: more than the longest turn of somebody else takes."""

log = logging.getLogger("lastseat")


class _WithoutPasswords(logging.Formatter):
    """Lines without the password of an address."""

    def format(self, record: logging.LogRecord) -> str:
        return without_passwords(super().format(record))


class Worker:
    """The connection of one worker."""

    def __init__(self, opened: socket.socket) -> None:
        opened.setblocking(False)
        self.socket = opened
        self._assembly = Assembly()
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0

    def received(self) -> Ask | None:
        """What the next packet ends, if it ends something. Errors: ``OSError`` where the connection has ended, or what
        came is no message."""
        packet = self.socket.recv(messages.PACKET + 1)
        if not packet:
            raise ConnectionResetError
        message = self._assembly.add(packet)
        return None if message is None else messages.decode_ask(message)

    def send(self, message: bytes) -> None:
        """Send without waiting; what does not go is kept. Errors: ``OSError`` where too much is kept already."""
        if self._unsent_bytes > MOST_UNSENT:
            raise ConnectionAbortedError
        for packet in packets(message):
            if self._unsent or not self._goes(packet):
                self._unsent.append(packet)
                self._unsent_bytes += len(packet)

    def send_what_is_left(self) -> None:
        while self._unsent and self._goes(self._unsent[0]):
            self._unsent_bytes -= len(self._unsent.popleft())

    def _goes(self, packet: bytes) -> bool:
        try:
            self.socket.send(packet)
        except BlockingIOError:
            return False
        return True

    @property
    def is_behind(self) -> bool:
        return self._unsent_bytes > 0


class Question:
    """An ``Ask`` of a worker that is still there, or not, and its commands."""

    __slots__ = ("number", "waiting", "worker")

    def __init__(self, worker: Worker, ask: Ask) -> None:
        self.worker = worker
        self.number = ask.number
        self.waiting = [Waiting(messages.read(each.command), each.deadline, each.arrived) for each in ask.asked]

    def answers(self) -> list[Answer]:
        if all(isinstance(each.error, NotCombined) for each in self.waiting):
            return [Again() for _ in self.waiting]
        return [_answer(each) for each in self.waiting]


def _answer(waiting: Waiting) -> Answer:
    measured = waiting.measured
    if waiting.outcome is not None and measured is not None:
        times = messages.Times(waiting.wait_ms, measured.held_ms, measured.store_ms, measured.epoch)
        return messages.answer_of(waiting.outcome, times)
    if isinstance(waiting.error, NotCombined):
        # Others of its question were decided before the guard was switched.
        return messages.failed(Problem("switching", retry_after_s=1))
    if waiting.error is not None and not isinstance(waiting.error, Problem):
        # Where it failed, and not its text, which may have what the request said.
        where = "".join(traceback.format_tb(waiting.error.__traceback__))
        log.error("a purchase failed (%s), and its outcome is unknown:\n%s", type(waiting.error).__name__, where)
    return messages.failed(waiting.error or Problem("internal"))


class Combiner:
    """Receives, decides and answers, until no worker is connected any more."""

    def __init__(self, office: BoxOffice, listener: socket.socket, fingerprint: str) -> None:
        self._office = office
        self._listener = listener
        listener.setblocking(False)
        self._hello = encode(Hello(fingerprint))
        self._workers: dict[int, Worker] = {}
        self._poll = select.epoll()
        self._poll.register(listener, select.EPOLLIN)
        self._apart: dict[str, list[Question]] = {}
        """The events that a thread decides, and what was asked of them since it began."""
        self._ended: deque[tuple[str, list[Question]]] = deque()
        """What such threads have decided."""
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._bell, select.EPOLLIN)

    def run(self) -> None:
        if self._poll.poll(FIRST_PATIENCE_S):
            self._accept()
        while self._workers:
            for event, asked in self._gathered().items():
                self._decide(event, asked)
            if not self._workers:
                self._accept()  # one may have come when the last one left

    def _gathered(self) -> dict[str, list[Question]]:
        """What has come, by event; waits until something has."""
        questions: dict[str, list[Question]] = {}
        happened = self._poll.poll()
        for _ in range(_MOST_ROUNDS):
            for fd, what in happened:
                if fd in self._workers:
                    self._serve(fd, what, questions)
                elif fd == self._bell:
                    self._answer_those_apart()
                else:
                    self._accept()
            # One call for all instead of one more for each worker; and what came meanwhile is taken with it.
            happened = self._poll.poll(0)
            if not happened:
                break
        return questions

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # nobody knocks any more, or there is no descriptor: then they wait
            while True:
                opened, _ = self._listener.accept()
                worker = Worker(opened)
                if place.peer(opened)[1] != os.geteuid():
                    opened.close()
                    continue
                self._workers[opened.fileno()] = worker
                self._poll.register(opened, select.EPOLLIN)
                self._send(worker, self._hello)

    def _serve(self, fd: int, happened: int, questions: dict[str, list[Question]]) -> None:
        worker = self._workers[fd]
        try:
            if happened & select.EPOLLOUT:
                worker.send_what_is_left()
                self._listen_to(worker)
            if happened & ~select.EPOLLOUT and (ask := worker.received()) is not None:
                questions.setdefault(ask.event, []).append(Question(worker, ask))
        except Exception:  # it has left, or what came is no message: then it cannot be told anything either
            self._forget(worker)

    def _decide(self, event: str, asked: list[Question]) -> None:
        """Decide what was asked of an event, or have it decided apart where the guard is not free."""
        if event in self._apart:
            self._apart[event] += asked
            return
        waiting = [each for question in asked for each in question.waiting]
        blocked = self._office.decide_together(event, waiting, _GUARD_PATIENCE_S)
        if blocked:
            self._apart[event] = []
            threading.Thread(target=self._decide_apart, args=(event, asked, blocked), daemon=True).start()
        else:
            self._answer(asked)

    def _decide_apart(self, event: str, asked: list[Question], blocked: list[Waiting]) -> None:
        while blocked:
            blocked = self._office.decide_together(event, blocked)
        self._ended.append((event, asked))
        os.eventfd_write(self._bell, 1)

    def _answer_those_apart(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        while self._ended:
            event, asked = self._ended.popleft()
            self._answer(asked)
            if came_meanwhile := self._apart.pop(event):
                self._decide(event, came_meanwhile)

    def _answer(self, asked: Sequence[Question]) -> None:
        for question in asked:
            self._send(question.worker, encode(Answers(question.number, question.answers())))

    def _send(self, worker: Worker, message: bytes) -> None:
        if worker.socket.fileno() < 0:
            return  # it has left meanwhile
        behind = worker.is_behind
        try:
            worker.send(message)
        except OSError:
            self._forget(worker)
            return
        if worker.is_behind != behind:
            self._listen_to(worker)

    def _listen_to(self, worker: Worker) -> None:
        self._poll.modify(worker.socket, select.EPOLLIN | (select.EPOLLOUT if worker.is_behind else 0))

    def _forget(self, worker: Worker) -> None:
        del self._workers[worker.socket.fileno()]
        worker.socket.close()


def give_way() -> None:
    """Do not interrupt a worker for each purchase that comes: the kernel lets this process run when one of them pauses,
    and by then more purchases may have come. Its share of the processor stays the same."""
    with contextlib.suppress(OSError):  # a container may forbid it; then it is only slower
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def open_office(master: str, processes: int) -> BoxOffice:
    """The box office of the same settings, as one more process of that master. Raises ``RefusedToStart``."""
    settings = from_environment(os.environ)
    store, control = open_store_and_control(settings)
    if not control.follows(master):
        raise RefusedToStart("the master that it belongs to has no epoch here")
    office = BoxOffice(settings, store, control, processes)
    with contextlib.suppress(OSError):
        office.metrics = open_metrics(settings.data, master, sells=False)
    return office


def main(arguments: Sequence[str]) -> int:
    os.closerange(LOCK_FD + 1, os.sysconf("SC_OPEN_MAX"))
    # The last worker decides when it ends: signals to a terminal's or a service's processes are meant for them.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    keep_to_ourselves()
    raise_descriptor_limit()
    handler = logging.StreamHandler()
    handler.setFormatter(_WithoutPasswords("[%(asctime)s] [combiner %(process)d] %(levelname)s %(message)s"))
    log.addHandler(handler)
    fingerprint, master, processes = arguments[0], arguments[1], int(arguments[2])
    lock_fd = LOCK_FD
    os.set_inheritable(lock_fd, False)
    give_way()
    try:
        settings = from_environment(os.environ)
        if place.fingerprint_of(settings, master, processes) != fingerprint:
            raise RefusedToStart("its code or its settings are not those of the process that started it")
        office = open_office(master, processes)
    except (RefusedToStart, Problem, OSError) as error:
        log.error("the combiner refused to start, and each process decides by itself: %s", error)
        return 1  # 3 and 4 would end gunicorn's master, where that is the parent of orphans
    listener = place.listen(lock_fd)
    try:
        Combiner(office, listener, fingerprint).run()
    finally:
        place.leave(lock_fd)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
