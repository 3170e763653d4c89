"""One performance: a few buyers on the real service, each held at its gates, led through one schedule.

Every performance has a clean event. The buyers ask at once and come to their first gate; then, decision by decision,
one of them goes on, and nothing else is decided before everybody stands at a gate again, waits for somebody, or has
an answer. So what happens is the schedule's doing, not the machine's.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from loadtests.lab.checks import Verdict, judge_folder
from loadtests.lab.explore.schedules import Choices, Chooser
from loadtests.lab.explore.trace import Step, Trace
from loadtests.lab.history.recorder import Operation, Recorder
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.protocol.answers import keep_fields, outcome_of, parse
from loadtests.lab.servers.gate_server import Answered, Arrival, GateServer
from loadtests.lab.servers.office import RunningOffice

DEFAULT_GATES = ("acquire", "view", "append", "answer")
_PATIENCE_S = 15.0
_WAKE_S = 3.0


class Stuck(Exception):
    """Nobody can go on and not everybody has an answer. The message says who waits and who was last to go on."""


@dataclass(slots=True)
class ExecutedSchedule:
    """One schedule, played to its end."""

    course: Choices
    steps: list[Step]
    operations: list[Operation]
    verdict: Verdict | None
    stuck: str = ""

    @property
    def failing(self) -> bool:
        return bool(self.stuck) or (self.verdict is not None and self.verdict.verdict == "invalid")


@dataclass(slots=True)
class _Buyer:
    name: str
    process: int
    pid: int = 0
    """The worker that the purchase is in, as far as it is known."""
    arrival: Arrival | None = None
    blocked: bool = False
    paused: bool = False
    answered: Answered | None = None
    killed: bool = False
    thread: threading.Thread | None = None

    @property
    def at_rest(self) -> bool:
        return self.arrival is not None or self.blocked or self.answered is not None


@dataclass
class ScheduleRunner:
    """Plays schedules on one running service. ``gates`` are those at which a buyer is held; the others stand open."""

    office: RunningOffice
    stage: GateServer
    folder: Path
    buyers: int
    tickets: int
    gates: tuple[str, ...] = DEFAULT_GATES
    may_kill: bool = False
    may_pause: bool = False
    on_decision: Callable[[list[Step]], None] = lambda _steps: None
    """Told the steps so far, before each decision."""
    played: int = 0

    def play(self, chooser: Chooser) -> ExecutedSchedule:
        """Play one schedule. Raises ``Diverged`` where the chooser's prefix cannot be followed."""
        self.played += 1
        event = f"x{self.played}"
        self._wait_for_workers()
        self.office.office.create_event(event, self.tickets)
        performance = _Performance(self, event, chooser)
        stuck = ""
        try:
            performance.run()
        except Stuck as error:
            stuck = str(error)
        finally:
            performance.end()
        performance.story.finish([buyer.answered for buyer in performance.buyers if buyer.answered is not None])
        operations = [performance.operation(buyer) for buyer in performance.buyers]
        verdict = None if stuck else self._judge(event, operations)
        return ExecutedSchedule(chooser.course, performance.story.steps, operations, verdict, stuck)

    def _wait_for_workers(self) -> None:
        """After a kill gunicorn needs a moment for a new worker."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.office.office.ready() is None:
            if time.monotonic() > deadline:
                raise Stuck(f"the service does not answer any more; its log {self.office.log} may say why")
            time.sleep(0.01)

    def _judge(self, event: str, operations: Sequence[Operation]) -> Verdict:
        folder = self.folder / event
        folder.mkdir(parents=True)
        recorder = Recorder(folder / "history.jsonl")
        for operation in operations:
            recorder.write(operation)
        recorder.close()
        (folder / "audit.jsonl").write_bytes(self.office.office.audit(event))
        return judge_folder(folder)


class _Performance:
    def __init__(self, performer: ScheduleRunner, event: str, chooser: Chooser) -> None:
        self._performer = performer
        self._stage = performer.stage
        self._event = event
        self._chooser = chooser
        self._disturbed = False
        self._wakes = False
        self._ended = False
        self.story = Trace(self._stands)
        self.buyers = [_Buyer(chr(ord("A") + number), number) for number in range(performer.buyers)]
        self._by_name = {buyer.name: buyer for buyer in self.buyers}

    def run(self) -> None:
        for buyer in self.buyers:
            buyer.thread = threading.Thread(target=self._ask, args=(buyer.name,), daemon=True)
            buyer.thread.start()
        self._settle()
        while not all(buyer.answered for buyer in self.buyers):
            enabled = self._enabled()
            self._performer.on_decision(self.story.steps)
            token = self._chooser.choose(enabled)
            buyer = self._by_name[token[-1].upper()]
            if token.islower():
                self._kill(buyer)
            elif token.startswith("-"):
                self._pause(buyer)
            else:
                self._go_on(buyer)
            self._settle()

    def end(self) -> None:
        """Let everybody go and wait for the answers, whatever happened."""
        self._ended = True
        for buyer in self.buyers:
            self._resume(buyer)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and any(each.thread and each.thread.is_alive() for each in self.buyers):
            self._stage.let_everybody_go()
            for buyer in self.buyers:
                if buyer.thread is not None:
                    buyer.thread.join(0.02)
        with contextlib.suppress(queue.Empty):
            while True:
                self._hear(self._stage.happenings.get_nowait())

    def operation(self, buyer: _Buyer) -> Operation:
        """The history's line for a buyer's purchase."""
        answered = buyer.answered
        if answered is None or answered.status == 0:
            invoke = answered.invoke_ns if answered else 0
            return self._line(buyer, invoke, None, "unknown")
        body = msgspec.json.encode(answered.content)
        answer = parse(body)
        outcome = outcome_of("buy", answered.status, answer)
        line = self._line(buyer, answered.invoke_ns, None if outcome == "unknown" else answered.return_ns, outcome)
        keep_fields(line, answer, {})
        return line

    def _line(self, buyer: _Buyer, invoke_ns: int, return_ns: int | None, outcome: str) -> Operation:
        return Operation(
            process=buyer.process,
            op="buy",
            event=self._event,
            key=buyer.name,
            quantity=1,
            invoke_ns=invoke_ns,
            return_ns=return_ns,
            outcome=outcome,  # type: ignore[arg-type]
        )

    def _stands(self, buyer: str) -> bool:
        """Whether the office's own list has a buyer's sale now; buyers buy under their names as keys."""
        try:
            audit = self._performer.office.office.audit(self._event, timeout_s=_PATIENCE_S)
        except OfficeError:
            return False
        return any(line.get("key") == buyer for line in map(msgspec.json.decode, audit.splitlines()))

    # -- the buyers -----------------------------------------------------------------------------------------------

    def _ask(self, name: str) -> None:
        where = urlsplit(self._performer.office.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=_PATIENCE_S * 4)
        headers = {"Content-Type": "application/json", "Idempotency-Key": name, "Connection": "close"}
        status, content, invoke_ns = 0, {}, time.monotonic_ns()
        try:
            connection.request("POST", f"/events/{self._event}/orders", b'{"quantity":1}', headers)
            answer = connection.getresponse()
            content = msgspec.json.decode(answer.read(), type=dict[str, object])
            status = answer.status
        except (OSError, http.client.HTTPException, msgspec.DecodeError):
            status = 0
        finally:
            connection.close()
        self._stage.happenings.put(Answered(name, status, content, invoke_ns, time.monotonic_ns()))

    # -- decisions ------------------------------------------------------------------------------------------------

    def _enabled(self) -> list[str]:
        able = [buyer for buyer in self.buyers if buyer.arrival is not None and not buyer.paused]
        if not able:
            for buyer in self.buyers:
                self._resume(buyer)
            able = [buyer for buyer in self.buyers if buyer.arrival is not None]
        if not able:
            raise Stuck(self._who_waits())
        tokens = [buyer.name for buyer in able]
        if not self._disturbed:
            if self._performer.may_kill:
                tokens += [buyer.name.lower() for buyer in able]
            if self._performer.may_pause:
                tokens += [f"-{buyer.name}" for buyer in able]
        return tokens

    def _go_on(self, buyer: _Buyer) -> None:
        arrival = buyer.arrival
        if arrival is None:
            raise Stuck(f"{buyer.name} stands at no gate")
        buyer.arrival = None
        self.story.goes_on(buyer.name, arrival)
        self._pass(arrival)

    def _pass(self, arrival: Arrival) -> None:
        if arrival.gate == "release":
            self._wakes = True
        self._stage.let_go(arrival)

    def _kill(self, buyer: _Buyer) -> None:
        arrival = buyer.arrival
        if arrival is None:
            raise Stuck(f"{buyer.name} stands at no gate")
        self._disturbed, self._wakes = True, True
        self.story.add(buyer.name, arrival.gate, f"loses the worker: killed (-9) at “{arrival.gate}”.")
        for other in self.buyers:
            if other.answered is None and other.pid == arrival.pid:
                other.killed, other.arrival, other.blocked = True, None, False
        with contextlib.suppress(ProcessLookupError):
            os.kill(arrival.pid, signal.SIGKILL)

    def _pause(self, buyer: _Buyer) -> None:
        arrival = buyer.arrival
        if arrival is None:
            raise Stuck(f"{buyer.name} stands at no gate")
        self._disturbed = True
        self.story.add(buyer.name, arrival.gate, f"is stopped, with the worker, at “{arrival.gate}”.")
        for other in self.buyers:
            if other.answered is None and other.pid == arrival.pid:
                other.paused = True
        os.kill(arrival.pid, signal.SIGSTOP)

    def _resume(self, buyer: _Buyer) -> None:
        if buyer.paused:
            buyer.paused = False
            with contextlib.suppress(ProcessLookupError):
                os.kill(buyer.pid, signal.SIGCONT)
            if buyer.arrival is not None:
                self.story.add(buyer.name, buyer.arrival.gate, "may go on, with the worker.")

    # -- what happens ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Listen until everybody is at rest, and whoever was waiting for a guard that is free now has come."""
        deadline = time.monotonic() + _PATIENCE_S
        while not all(buyer.at_rest for buyer in self.buyers):
            self._hear_within(deadline - time.monotonic())
        if self._wakes:
            self._wakes = False
            self._let_one_wake()
        elif not any(each.arrival and not each.paused for each in self.buyers) and any(
            buyer.blocked for buyer in self.buyers
        ):
            self._let_one_wake()

    def _let_one_wake(self) -> None:
        """One of those who wait gets the guard now, or is told that it took too long."""
        waiting = {buyer.name for buyer in self.buyers if buyer.blocked}
        deadline = time.monotonic() + _WAKE_S
        while waiting and waiting == {buyer.name for buyer in self.buyers if buyer.blocked}:
            if time.monotonic() > deadline:
                return
            with contextlib.suppress(Stuck):
                self._hear_within(deadline - time.monotonic())
        if waiting:
            self._settle()

    def _hear_within(self, seconds: float) -> None:
        try:
            self._hear(self._stage.happenings.get(timeout=max(0.01, seconds)))
        except queue.Empty:
            raise Stuck(self._who_waits()) from None

    def _hear(self, heard: Arrival | Answered) -> None:
        if isinstance(heard, Answered):
            buyer = self._by_name.get(heard.buyer)
            if buyer is not None:
                buyer.answered, buyer.arrival, buyer.blocked = heard, None, False
                if heard.status == 0 and not buyer.killed:
                    raise Stuck(f"{buyer.name}'s worker died by itself, or closed the connection without an answer")
            return
        if heard.event != self._event:
            self._stage.let_go(heard)
            return
        for buyer in (self._by_name[key] for key in heard.keys if key in self._by_name):
            self._come(buyer, heard)

    def _come(self, buyer: _Buyer, heard: Arrival) -> None:
        buyer.pid = heard.pid
        if heard.note:
            buyer.blocked = heard.note == "blocked"
            return
        buyer.blocked = False
        if not self._ended:
            self.story.learn(buyer.name, heard)
        if heard.gate in self._performer.gates:
            buyer.arrival = heard
        else:
            self._pass(heard)

    def _who_waits(self) -> str:
        lines = []
        for buyer in self.buyers:
            if buyer.answered is not None:
                state = "has an answer"
            elif buyer.arrival is not None:
                state = f"stands at “{buyer.arrival.gate}”"
            elif buyer.blocked:
                state = "waits for the guard"
            else:
                state = "is under way and came to no gate"
            lines.append(f"{buyer.name} {state}")
        last = self.story.steps[-1].buyer if self.story.steps else "nobody"
        return f"nobody can go on: {'; '.join(lines)}; the last to go on was {last}"
