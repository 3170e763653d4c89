"""The buyers of an execution: each works through their program, one request after the other, in a thread."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from loadtests.lab.explore import programs
from loadtests.lab.explore.programs import Program
from loadtests.lab.history.recorder import Operation
from loadtests.lab.protocol.adapter import BuyerIdentity, Exchange, Reply
from loadtests.lab.protocol.admin_api import Office
from loadtests.lab.protocol.answers import parse
from loadtests.lab.protocol.carts import lines_of
from loadtests.lab.protocol.http_calls import NoAnswer, ask
from loadtests.lab.protocol.office import OfficeAdapter
from loadtests.lab.servers.gate_server import Answered, Arrival, Finished, GateServer

HOLD_S = 60.0
"""How long a hold is asked for. Only the scheduler ends it."""


@dataclass(slots=True)
class ScheduledBuyer:
    """Where a buyer stands, as the scheduler sees it."""

    name: str
    number: int
    program: Program
    operation: programs.ProgramOperation
    """The operation under way, or the last one."""
    first_of: Mapping[str, programs.ProgramOperation]
    """The first operation of every buyer."""
    started: bool = False
    key: str = ""
    """Of the operation under way."""
    worker: int = 0
    """The worker that was sent the request, 0 while it is unknown."""
    pid: int = 0
    """The process that handles the request now, 0 while it is unknown: its worker, or the host's combiner."""
    thread: int = 0
    """Which thread or greenlet of that process."""
    arrival: Arrival | None = None
    blocked_on: str = ""
    """The letter of the event for which the buyer waits."""
    waits_at: Arrival | None = None
    """Where the waiting buyer is kept, until it is time to try again."""
    inside: bool = False
    """Whether the request has passed the guard and not given it back."""
    was_combined: bool = False
    """Whether the host's combiner has handled any of the buyer's requests."""
    paused: bool = False
    killed: bool = False
    finished: bool = False
    lines: list[Operation] = field(default_factory=list)
    """What the history has of this buyer."""

    @property
    def events(self) -> tuple[str, ...]:
        """The letters of the events that the operation is about."""
        return self.operation.events

    @property
    def is_combined(self) -> bool:
        """Whether another process than its worker handles the request now."""
        return self.pid not in {0, self.worker}

    @property
    def at_rest(self) -> bool:
        return self.arrival is not None or bool(self.blocked_on) or self.finished or not self.started

    @property
    def able(self) -> bool:
        """Can the buyer continue if chosen?"""
        return self.arrival is not None and not self.paused

    @property
    def state(self) -> str:
        if self.finished:
            return "has an answer"
        if self.arrival is not None:
            return f"stands at “{self.arrival.gate}”"
        return "waits for the guard" if self.blocked_on else "is under way and came to no gate"


class BuyerThread:
    """Sends a buyer's requests. Its thread ends with the program, or before the next request after ``stop``."""

    def __init__(
        self,
        buyer: ScheduledBuyer,
        gate_server: GateServer,
        office: Office,
        events: Mapping[str, str],
        *,
        patience_s: float,
    ) -> None:
        """``events``: the name of each event by its letter."""
        self._buyer = buyer
        self._gate_server = gate_server
        self._office = office
        self._events = events
        self._patience_s = patience_s
        self._adapter = OfficeAdapter()
        self._place = 0
        self._last: list[Operation] = []
        """The lines of the operation before."""
        self.lost = False
        """The answer to the request under way does not reach the buyer."""
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def started(self) -> bool:
        return self._buyer.started

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send no further request."""
        self._stopped = True

    def has_ended(self, within_s: float) -> bool:
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        for place, operation in enumerate(self._buyer.program):
            self._place = place
            lines = self._lines(operation)
            if lines is None:
                continue
            key = (lines[0].key if lines else "") or self._own_key
            self._buyer.operation, self._buyer.key = operation, key if operation.is_recorded else ""
            self._gate_server.wait_to_invoke(self._events[operation.events[0]], self._buyer.name)
            if self._stopped:
                break
            self._gate_server.happenings.put(self._ask(lines, key) if lines else self._ask_for_itself(operation))
        self._gate_server.happenings.put(Finished(self._buyer.name))

    @property
    def _own_key(self) -> str:
        return self._buyer.name + (str(self._place + 1) if self._place else "")

    # -- what is asked ------------------------------------------------------------------------------------------------

    def _lines(self, asked: programs.ProgramOperation) -> list[Operation] | None:
        """The lines of the history; None where nothing can be asked: no hold to confirm, no order to cancel."""
        match asked.verb:
            case "retry" if asked.argument:
                again = self._new_lines(self._buyer.first_of[asked.argument], asked.argument)
                return [msgspec.structs.replace(line, attempt=10 + self._buyer.number) for line in again]
            case "retry":
                return [_again(line) for line in self._last] or None
            case "confirm" | "release":
                held = next((line for line in reversed(self._buyer.lines) if line.hold and line.op == "hold"), None)
                return [self._line(asked.verb, held.event, self._own_key, hold=held.hold)] if held else None
            case "cancel":
                sold = next((line for line in reversed(self._buyer.lines) if line.order), None)
                return [self._line("cancel", sold.event, self._own_key, order=sold.order)] if sold else None
        return self._new_lines(asked, self._own_key)

    def _new_lines(self, asked: programs.ProgramOperation, key: str) -> list[Operation]:
        events = [self._events[letter] for letter in asked.events]
        match asked.verb:
            case "cart":
                processes = [self._process + 100 * place for place in range(len(events))]
                return lines_of(key, dict.fromkeys(events, 1), processes)
            case "buy" | "hold":
                wanted = list(asked.seats) or None
                seconds = HOLD_S if asked.verb == "hold" else None
                return [self._line(asked.verb, events[0], key, quantity=asked.quantity, wanted=wanted, seconds=seconds)]
            case "read":
                return [self._line("read", events[0], None)]
        return []

    @property
    def _process(self) -> int:
        """In a history a process does one thing at a time, and nothing after it got no answer."""
        return self._buyer.number + 10 * self._place

    def _line(self, op: str, event: str, key: str | None, **more: Any) -> Operation:
        return Operation(
            process=self._process, op=op, event=event, key=key, invoke_ns=0, return_ns=None, outcome="unknown", **more
        )

    # -- asking -------------------------------------------------------------------------------------------------------

    def _ask(self, lines: list[Operation], key: str) -> Answered:
        self._last = lines
        self._buyer.lines += lines
        exchange = Exchange(lines, BuyerIdentity(key[:1] or self._buyer.name))
        conversation = self._adapter.converse(exchange)
        request = next(conversation)
        for line in lines:
            line.invoke_ns = self._now_ns()
        reply = self._send(request.method, request.path, request.body, request.headers)
        lost, self.lost = self.lost, False
        if lost:
            reply = reply._replace(error=NoAnswer("the answer was lost", sent=True))
        with contextlib.suppress(StopIteration):
            conversation.send(reply)
        for line in lines:
            line.return_ns = None if line.outcome == "unknown" else reply.at_ns
        return Answered(self._buyer.name, reply.status, exchange.word, lost, lines)

    def _ask_for_itself(self, asked: programs.ProgramOperation) -> Answered:
        """What no buyer asks for, and no history has."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._office.token}"}
        if asked.verb == "switch":
            reply = self._send("PUT", "/guard", msgspec.json.encode({"guard": asked.argument}), headers)
        else:
            reply = self._send("POST", f"/events/{self._events['a']}/sweep", b"", headers)
        return Answered(self._buyer.name, reply.status, parse(reply.body).code or "")

    def _send(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Reply:
        # Four times as long as the scheduler waits: it ends an execution first.
        try:
            answer = ask(method, self._office.url + path, body, headers, timeout_s=4 * self._patience_s)
        except NoAnswer as error:
            return Reply(0, None, {}, self._now_ns(), error)
        return Reply(answer.status, answer.body, answer.headers, self._now_ns())

    def _now_ns(self) -> int:
        """The buyer's clock, which is moved with the service's: a hold may end then, and not before."""
        return time.monotonic_ns() + self._gate_server.moved_ns


def _again(line: Operation) -> Operation:
    """The next attempt of the same request."""
    names = ["op", "event", "key", "quantity", "wanted", "seconds", "cart"]
    names += {"cancel": ["order"], "confirm": ["hold"], "release": ["hold"]}.get(line.op, [])
    same = {name: getattr(line, name) for name in names}
    return Operation(
        **same, process=line.process + 10, attempt=line.attempt + 1, invoke_ns=0, return_ns=None, outcome="unknown"
    )
