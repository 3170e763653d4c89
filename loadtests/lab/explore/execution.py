"""One execution of a schedule: a few buyers on the real service, each held at its gates and let through in turn.

Every execution has an event of its own. The buyers send their requests at once and come to their first gate. Then,
decision by decision, one of them continues, and the next decision is made only when every buyer stands at a gate again,
waits for somebody, or has an answer. So the schedule decides what happens, not the machine.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtests.lab.checks import Verdict, judge_folder
from loadtests.lab.explore.schedules import Choices, Chooser, buyer_names
from loadtests.lab.explore.trace import Step, Trace
from loadtests.lab.history.recorder import Operation, Recorder
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.protocol.answers import keep_fields, outcome_of, parse
from loadtests.lab.protocol.http_calls import NoAnswer, ask
from loadtests.lab.servers.gate_server import Answered, Arrival, GateServer
from loadtests.lab.servers.office import RunningOffice

DEFAULT_GATES = ("acquire", "view", "append", "answer")
_PATIENCE_S = 15.0
_WAKE_S = 3.0


class Stuck(Exception):
    """No buyer can continue and some have no answer. The message says who waits, and who continued last."""


@dataclass(slots=True)
class ExecutedSchedule:
    """The result of one execution."""

    choices: Choices
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
    """The worker that handles the purchase, 0 while it is unknown."""
    arrival: Arrival | None = None
    blocked: bool = False
    paused: bool = False
    answered: Answered | None = None
    killed: bool = False
    thread: threading.Thread | None = None

    @property
    def at_rest(self) -> bool:
        return self.arrival is not None or self.blocked or self.answered is not None

    @property
    def able(self) -> bool:
        """Can the buyer continue if chosen?"""
        return self.arrival is not None and not self.paused

    @property
    def state(self) -> str:
        if self.answered is not None:
            return "has an answer"
        if self.arrival is not None:
            return f"stands at “{self.arrival.gate}”"
        return "waits for the guard" if self.blocked else "is under way and came to no gate"


@dataclass
class ScheduleRunner:
    """Executes schedules on one running service. Buyers are held at ``gates``; all other gates are open."""

    office: RunningOffice
    gate_server: GateServer
    folder: Path
    buyers: int
    tickets: int
    gates: tuple[str, ...] = DEFAULT_GATES
    may_kill: bool = False
    may_pause: bool = False
    on_decision: Callable[[list[Step]], None] = lambda _steps: None
    """Called with the steps so far, before each decision."""
    executed: int = 0

    def execute(self, chooser: Chooser) -> ExecutedSchedule:
        """Execute one schedule. Raises ``Diverged`` if the chooser's prefix cannot be followed."""
        self.executed += 1
        event = f"x{self.executed}"
        self._wait_for_workers()
        self.office.office.create_event(event, self.tickets)
        execution = _Execution(self, event, chooser)
        stuck = ""
        try:
            execution.run()
        except Stuck as error:
            stuck = str(error)
        finally:
            execution.end()
        execution.trace.finish([buyer.answered for buyer in execution.buyers if buyer.answered is not None])
        operations = [_operation(event, buyer) for buyer in execution.buyers]
        verdict = None if stuck else self._judge(event, operations)
        return ExecutedSchedule(chooser.choices, execution.trace.steps, operations, verdict, stuck)

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


def _operation(event: str, buyer: _Buyer) -> Operation:
    """A buyer's purchase as a line of the history."""
    answered = buyer.answered
    operation = Operation(
        process=buyer.process,
        op="buy",
        event=event,
        key=buyer.name,
        quantity=1,
        invoke_ns=answered.invoke_ns if answered else 0,
        return_ns=None,
        outcome="unknown",
    )
    if answered is not None and answered.status:
        answer = parse(msgspec.json.encode(answered.content))
        operation.outcome = outcome_of("buy", answered.status, answer)
        operation.return_ns = None if operation.outcome == "unknown" else answered.return_ns
        keep_fields(operation, answer, {})
    return operation


class _Execution:
    def __init__(self, runner: ScheduleRunner, event: str, chooser: Chooser) -> None:
        self._runner = runner
        self._gate_server = runner.gate_server
        self._event = event
        self._chooser = chooser
        self._disturbed = False
        self._wakes = False
        self._ended = False
        self.trace = Trace(self._is_recorded)
        self.buyers = [_Buyer(name, number) for number, name in enumerate(buyer_names(runner.buyers))]
        self._by_name = {buyer.name: buyer for buyer in self.buyers}

    def run(self) -> None:
        for buyer in self.buyers:
            buyer.thread = threading.Thread(target=self._buy, args=(buyer.name,), daemon=True)
            buyer.thread.start()
        self._settle()
        while not all(buyer.answered for buyer in self.buyers):
            enabled = self._enabled()
            self._runner.on_decision(self.trace.steps)
            token = self._chooser.choose(enabled)
            buyer = self._by_name[token[-1].upper()]
            if buyer.arrival is None:
                raise Stuck(f"{buyer.name} stands at no gate")
            if token.islower():
                self._kill(buyer, buyer.arrival)
            elif token.startswith("-"):
                self._pause(buyer, buyer.arrival)
            else:
                self._continue(buyer, buyer.arrival)
            self._settle()

    def end(self) -> None:
        """Let every buyer through all gates and wait for the answers, whatever happened."""
        self._ended = True
        for buyer in self.buyers:
            self._resume(buyer)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and any(each.thread and each.thread.is_alive() for each in self.buyers):
            self._gate_server.let_everybody_go()
            for buyer in self.buyers:
                if buyer.thread is not None:
                    buyer.thread.join(0.02)
        with contextlib.suppress(queue.Empty):
            while True:
                self._hear(self._gate_server.happenings.get_nowait())

    def _is_recorded(self, buyer: str) -> bool:
        """Does the office's own list contain a buyer's sale now? The buyers' names are their keys."""
        try:
            audit = self._runner.office.office.audit(self._event, timeout_s=_PATIENCE_S)
        except OfficeError:
            return False
        return any(line.get("key") == buyer for line in map(msgspec.json.decode, audit.splitlines()))

    def _buy(self, name: str) -> None:
        url = f"{self._runner.office.url}/events/{self._event}/orders"
        headers = {"Content-Type": "application/json", "Idempotency-Key": name}
        status, content, invoke_ns = 0, {}, time.monotonic_ns()
        with contextlib.suppress(NoAnswer, msgspec.DecodeError):
            answer = ask("POST", url, b'{"quantity":1}', headers, timeout_s=_PATIENCE_S * 4)
            content = msgspec.json.decode(answer.body, type=dict[str, object])
            status = answer.status
        self._gate_server.happenings.put(Answered(name, status, content, invoke_ns, time.monotonic_ns()))

    # -- decisions ------------------------------------------------------------------------------------------------

    def _enabled(self) -> list[str]:
        if not any(buyer.able for buyer in self.buyers):
            for buyer in self.buyers:
                self._resume(buyer)
        tokens = [buyer.name for buyer in self.buyers if buyer.able]
        if not tokens:
            raise Stuck(self._who_waits())
        kills = [name.lower() for name in tokens if self._runner.may_kill and not self._disturbed]
        pauses = [f"-{name}" for name in tokens if self._runner.may_pause and not self._disturbed]
        return [*tokens, *kills, *pauses]

    def _continue(self, buyer: _Buyer, arrival: Arrival) -> None:
        buyer.arrival = None
        self.trace.passes(buyer.name, arrival)
        self._pass(arrival)

    def _pass(self, arrival: Arrival) -> None:
        if arrival.gate == "release":
            self._wakes = True
        self._gate_server.let_go(arrival)

    def _kill(self, buyer: _Buyer, arrival: Arrival) -> None:
        self._disturbed, self._wakes = True, True
        self.trace.add(buyer.name, arrival.gate, f"loses the worker: killed (-9) at “{arrival.gate}”.")
        for other in self._in_worker(arrival.pid):
            other.killed, other.arrival, other.blocked = True, None, False
        with contextlib.suppress(ProcessLookupError):
            os.kill(arrival.pid, signal.SIGKILL)

    def _pause(self, buyer: _Buyer, arrival: Arrival) -> None:
        self._disturbed = True
        self.trace.add(buyer.name, arrival.gate, f"is stopped, with the worker, at “{arrival.gate}”.")
        for other in self._in_worker(arrival.pid):
            other.paused = True
        os.kill(arrival.pid, signal.SIGSTOP)

    def _in_worker(self, pid: int) -> list[_Buyer]:
        """The buyers whose purchases are in this worker."""
        return [buyer for buyer in self.buyers if buyer.answered is None and buyer.pid == pid]

    def _resume(self, buyer: _Buyer) -> None:
        if buyer.paused:
            buyer.paused = False
            with contextlib.suppress(ProcessLookupError):
                os.kill(buyer.pid, signal.SIGCONT)
            if buyer.arrival is not None:
                self.trace.add(buyer.name, buyer.arrival.gate, "may go on, with the worker.")

    # -- what happens ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Listen until every buyer is at rest, and one that waited for a free guard has come to its next gate."""
        deadline = time.monotonic() + _PATIENCE_S
        while not all(buyer.at_rest for buyer in self.buyers):
            self._hear_within(deadline - time.monotonic())
        blocked = any(buyer.blocked for buyer in self.buyers)
        if self._wakes or (blocked and not any(buyer.able for buyer in self.buyers)):
            self._wakes = False
            self._let_one_wake()

    def _let_one_wake(self) -> None:
        """One of the waiting buyers gets the guard now, or is told that it took too long."""
        waiting = self._waiting()
        deadline = time.monotonic() + _WAKE_S
        while waiting and waiting == self._waiting():
            if time.monotonic() > deadline:
                return
            with contextlib.suppress(Stuck):
                self._hear_within(deadline - time.monotonic())
        if waiting:
            self._settle()

    def _waiting(self) -> set[str]:
        return {buyer.name for buyer in self.buyers if buyer.blocked}

    def _hear_within(self, seconds: float) -> None:
        try:
            self._hear(self._gate_server.happenings.get(timeout=max(0.01, seconds)))
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
            self._gate_server.let_go(heard)
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
            self.trace.learn(buyer.name, heard)
        if heard.gate in self._runner.gates:
            buyer.arrival = heard
        else:
            self._pass(heard)

    def _who_waits(self) -> str:
        states = "; ".join(f"{buyer.name} {buyer.state}" for buyer in self.buyers)
        last = self.trace.steps[-1].buyer if self.trace.steps else "nobody"
        return f"nobody can go on: {states}; the last to go on was {last}"
