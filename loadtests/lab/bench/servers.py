"""The servers that are measured. Each can make a fresh event, and say how many sales it kept of it."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from loadtests.lab.bench.cells import CAPACITY, BenchCell
from loadtests.lab.history.audit import SOLD, read_audit
from loadtests.lab.paths import EXAMPLES
from loadtests.lab.protocol.http_calls import NoAnswer, ask
from loadtests.lab.servers.office import NotReady, RunningOffice, ServiceRefused
from loadtests.lab.servers.resources import children_of, cpu_s, memory_mb

_QUIET_FOR_S = 0.06
_QUIET_WITHIN_S = 20.0


class NotAvailable(Exception):
    """The service does not offer this cell; the message is its own."""


class WrongAnswer(Exception):
    """The server does not sell a ticket as it should: measuring it would be measuring something else."""


class Subject(RunningOffice):
    """A server under measurement. ``pids`` are gunicorn's workers, and what they have started."""

    application: str

    def __init__(self, cell: BenchCell, folder: Path) -> None:
        super().__init__(cell.service, folder)
        self.cell = cell
        self.start_s = 0.0
        self.pids: list[int] = []
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Start, and return when it has sold a ticket and all workers are up and at rest.

        Raises ``NotAvailable``, ``NotReady`` and ``WrongAnswer``; then nothing is left running.
        """
        self._began = time.monotonic()
        try:
            super().start()
        except ServiceRefused as error:
            raise NotAvailable(str(error)) from None

    def _wait_until_ready(self) -> None:
        self._wait_until_it_answers()
        self.start_s = time.monotonic() - self._began
        self._refuse_wrong_answers()
        self._wait_until_quiet()

    def _wait_until_it_answers(self) -> None:
        super()._wait_until_ready()

    @property
    def port(self) -> int:
        if self._port is None:
            raise NotReady("this server was not started")
        return self._port

    @abstractmethod
    def fresh(self, capacity: int = CAPACITY) -> str:
        """Make an event of which nothing is sold; returns the path to POST purchases to."""

    @abstractmethod
    def kept(self, path: str) -> int | None:
        """The number of sales that the server kept of the event that ``fresh`` made; None where it keeps nothing."""

    def memory_mb(self) -> float | None:
        """The memory of its largest worker."""
        return max(filter(None, map(memory_mb, self.pids)), default=None)

    def _command(self, fd: int) -> list[str]:
        return [*super()._command(fd)[:-1], self.application]

    def _refuse_wrong_answers(self) -> None:
        """Buy one ticket and look at the answer; under load only its status is looked at."""
        headers = {"Content-Type": "application/json"}
        try:
            answer = ask("POST", f"{self.url}{self.fresh()}", b'{"quantity":1}', headers, timeout_s=_QUIET_WITHIN_S)
        except NoAnswer as error:
            raise WrongAnswer(
                f"the server gave no answer to a purchase of one ticket ({error}); its log is {self.log}"
            ) from None
        with contextlib.suppress(ValueError):
            said = json.loads(answer.body)
            if answer.status == 201 and isinstance(said, dict) and said.get("quantity") == 1:
                return
        raise WrongAnswer(
            f"the server answered a purchase of one ticket with {answer.status}, {answer.body[:80]!r}; "
            f"its log is {self.log}"
        )

    def _wait_until_quiet(self) -> None:
        """All workers have been started, and none of them computes: one that still imports would steal time."""
        deadline = time.monotonic() + _QUIET_WITHIN_S
        before = -1.0
        while True:
            workers = children_of(self.pid)
            self.pids = [each.pid for each in children_of(self.pid, recursive=True)]
            used = cpu_s(self.pids)
            if len(workers) == self.service.shape[0] and used == before:
                return
            if time.monotonic() > deadline:
                raise NotReady(
                    f"the workers did not come to rest within {_QUIET_WITHIN_S:g} s; their log is {self.log}"
                )
            before = used
            time.sleep(_QUIET_FOR_S)


class OfficeSubject(Subject):
    """The service as it is."""

    application = "service:app"
    more: ClassVar[dict[str, str]] = {}
    """More of the settings of every office that is measured: names of environment variables and their values."""

    def _environment(self) -> dict[str, str]:
        return super()._environment() | self.more

    def fresh(self, capacity: int = CAPACITY) -> str:
        event = f"window-{next(self._numbers)}"
        self.office.create_event(event, capacity)
        return f"/events/{event}/orders"

    def kept(self, path: str) -> int:
        """From the audit: sales, orders and ticket numbers, each counted once; one purchase is one ticket."""
        audit = read_audit(self.office.audit(_event(path), timeout_s=600.0))
        sold = audit.kind == SOLD
        tickets = audit.tickets.flat[sold[audit.tickets.rows()]]
        return min(int(sold.sum()), len(np.unique(audit.order[sold])), len(np.unique(tickets)))

    def counted(self, path: str) -> int:
        """The event's own counter of sold tickets, which is cheaper to read than a long audit."""
        return int(json.loads(ask("GET", f"{self.url}/events/{_event(path)}", timeout_s=60).body)["sold"])


class CeilingSubject(Subject):
    """A server that answers and keeps nothing."""

    def __init__(self, cell: BenchCell, folder: Path) -> None:
        super().__init__(cell, folder)
        application = {"stubbed": "stubbed:ceiling()", "bare": "ceiling:app"}[cell.store]
        self.application = f"loadtests.lab.bench.applications.{application}"

    def fresh(self, capacity: int = CAPACITY) -> str:
        return "/events/show/orders"

    def kept(self, path: str) -> None:
        return None


class PlainSubject(Subject):
    """A program of ``examples/plain``; ``address`` is that of the engine it sells from, where it does."""

    programs = EXAMPLES / "plain"

    def __init__(self, cell: BenchCell, folder: Path, address: str = "") -> None:
        super().__init__(cell, folder)
        self.application = f"{cell.guard}:app"
        self._engine = address

    def fresh(self, capacity: int = CAPACITY) -> str:
        event = f"/events/window-{next(self._numbers)}"
        headers = {"Content-Type": "application/json"}
        made = ask("PUT", self.url + event, b'{"capacity":%d}' % capacity, headers, timeout_s=_QUIET_WITHIN_S)
        if not made.is_fine:
            raise WrongAnswer(f"the plain shop made no event, and answered {made.status}; its log is {self.log}")
        return f"{event}/orders"

    def kept(self, path: str) -> int:
        answer = ask("GET", self.url + path.removesuffix("/orders"), timeout_s=_QUIET_WITHIN_S)
        if not answer.is_fine:
            raise WrongAnswer(f"the plain shop does not tell what it sold ({answer.status}); its log is {self.log}")
        return int(json.loads(answer.body)["sold"])

    def _environment(self) -> dict[str, str]:
        engine = dict.fromkeys(("DATABASE_URL", "REDIS_URL"), self._engine) if self._engine else {}
        return super()._environment() | engine

    def _command(self, fd: int) -> list[str]:
        *command, application = super()._command(fd)
        return [*command, "--pythonpath", str(self.programs), application]

    def _wait_until_it_answers(self) -> None:
        # It says nothing of itself; but nobody else can have the port, which was bound here.
        deadline = time.monotonic() + _QUIET_WITHIN_S
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(NoAnswer):
                ask("GET", self.url, timeout_s=2)
                return
            time.sleep(0.01)
        raise NotReady(f"the plain shop did not start. Its log {self.log} ends:\n{self.last_lines()}")


def subject(cell: BenchCell, folder: Path) -> Subject:
    """The server of a cell that is no plain program, not started."""
    return CeilingSubject(cell, folder) if cell.is_ceiling else OfficeSubject(cell, folder)


def plain_beside(office: Subject, cell: BenchCell, folder: Path) -> Subject:
    """The plain program or the ceiling beside a running office, not started; it sells from the office's own engine."""
    if cell.is_ceiling:
        return CeilingSubject(cell, folder)
    return PlainSubject(cell, folder, office.engine.url if office.has_own_engine else "")


def _event(path: str) -> str:
    return path.split("/")[2]
