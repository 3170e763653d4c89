"""One execution of a schedule: a few buyers on the real service, each held at its gates and let through in turn.

Every execution has events of its own. The buyers send their requests and come to their first gates. Then, decision by
decision, one of them continues, or time moves, or something fails; and the next decision is made only when every buyer
is at rest again (``settling``). So the schedule decides what happens, not the machine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from loadtests.lab.checks.files import judge_folder
from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.explore.buyers import HOLD_S, BuyerThread, ScheduledBuyer
from loadtests.lab.explore.failures import failure_of, possible
from loadtests.lab.explore.programs import BUY, Program, events_of
from loadtests.lab.explore.schedules import (
    LEASE,
    TIME,
    Choices,
    Chooser,
    Standing,
    Token,
    buyer_names,
    buyer_of,
)
from loadtests.lab.explore.settling import PATIENCE_S, Settling, Stuck
from loadtests.lab.explore.trace import Trace, TraceStep
from loadtests.lab.history.recorder import Operation, Recorder
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.servers.gate_server import Arrival, GateServer
from loadtests.lab.servers.office import RunningOffice
from service.catalogue import GUARDS

_MOVE_NS = int((HOLD_S + 1) * 1e9)


@dataclass(slots=True)
class ExecutedSchedule:
    """The result of one execution."""

    choices: Choices
    steps: list[TraceStep]
    operations: list[Operation]
    verdict: Verdict | None
    stuck: str = ""

    @property
    def failing(self) -> bool:
        return bool(self.stuck) or (self.verdict is not None and self.verdict.verdict == "invalid")


@dataclass
class ScheduleRunner:
    """Executes schedules on one running service. Buyers are held at ``gates``; all other gates are open."""

    office: RunningOffice
    gate_server: GateServer
    folder: Path
    programs: Sequence[Program]
    tickets: int
    gates: tuple[str, ...]
    moves: int = 0
    """How often time moves on."""
    failures: frozenset[str] = frozenset()
    """What the scheduler may let fail, at most one of them in an execution."""
    on_decision: Callable[[list[TraceStep]], None] = lambda _steps: None
    """Called with the steps so far, before each decision."""
    executed: int = 0
    events: list[str] = field(init=False)
    """The letters of the events."""

    def __post_init__(self) -> None:
        self.events = events_of(self.programs)

    @property
    def buyers(self) -> int:
        return len(self.programs)

    @property
    def names(self) -> dict[str, str]:
        """The events of the last execution, by their letters. These stand at the end: events have their order."""
        return {letter: f"x{self.executed}{letter if len(self.events) > 1 else ''}" for letter in self.events}

    def execute(self, chooser: Chooser) -> ExecutedSchedule:
        """Execute one schedule. Raises ``Diverged`` if the chooser's prefix cannot be followed, and what the chooser
        raises to end it early."""
        self.executed += 1
        names = self.names
        self._wait_for_workers()
        self.gate_server.set_clock()
        if any(operation.verb == "switch" for program in self.programs for operation in program):
            self.office.office.switch(self.office.service.guard)
        for name in names.values():
            self.office.office.create_event(name, self.tickets, hall=self._hall())
        if "combiner" in self.failures:
            self._wait_for_a_combiner()
        execution = _RunningSchedule(self, names, chooser)
        stuck = ""
        try:
            execution.run()
        except Stuck as error:
            stuck = str(error)
        finally:
            execution.end()
            if execution.closed:
                # As whoever mends the disk does: it opens the store, and shows what has lasted.
                self.office.restart()
        operations = [line for buyer in execution.buyers for line in buyer.lines]
        verdict = None if stuck else self._judge(names, operations)
        return ExecutedSchedule(chooser.choices, execution.trace.steps, operations, verdict, stuck)

    def _hall(self) -> object:
        """A row with as many seats as there are tickets, if a program names seats."""
        if not any(operation.seats for program in self.programs for operation in program):
            return None
        return {"sections": [{"name": "stalls", "rows": 1, "seats": self.tickets}]}

    def _wait_for_workers(self) -> None:
        """After a kill gunicorn needs a moment for a new worker."""
        deadline = time.monotonic() + PATIENCE_S
        while self.office.office.ready() is None:
            if time.monotonic() > deadline:
                raise Stuck(f"the service does not answer any more; its log {self.office.log} may say why")
            time.sleep(0.01)

    def _wait_for_a_combiner(self) -> None:
        """Let somebody buy until the combiner decides it: the first purchase starts one, and is not decided by it."""
        event, deadline = f"c{self.executed}", time.monotonic() + PATIENCE_S
        self.office.office.create_event(event, 1)
        runner = replace(self, programs=(BUY,), gates=(), failures=frozenset())
        while True:
            execution = _RunningSchedule(runner, {"a": event}, Chooser())
            execution.run()
            if execution.buyers[0].was_combined:
                return
            if time.monotonic() > deadline:
                raise Stuck(f"no combiner decides; the service's log {self.office.log} may say why")

    def _judge(self, names: dict[str, str], operations: Sequence[Operation]) -> Verdict:
        folder = self.folder / f"x{self.executed}"
        folder.mkdir(parents=True)
        recorder = Recorder(folder / "history.jsonl")
        for operation in operations:
            recorder.write(operation)
        recorder.close()
        for name in names.values():
            (folder / f"audit-{name}.jsonl").write_bytes(self.office.office.audit(name))
        return judge_folder(folder)


class _RunningSchedule:
    """One execution under way: its buyers, and the decisions that the chooser has made."""

    def __init__(self, runner: ScheduleRunner, names: dict[str, str], chooser: Chooser) -> None:
        self._runner = runner
        self._gate_server = runner.gate_server
        self._names = names
        self._letters = {name: letter for letter, name in names.items()}
        self._chooser = chooser
        self._moves = runner.moves
        self._failed = False
        self.closed = False
        """The store is closed after a failed sync."""
        switched = any(operation.verb == "switch" for program in runner.programs for operation in program)
        guard = GUARDS[runner.office.service.acting_guard]
        fenced = guard.is_lease and guard.refuses_late_writes and not switched
        self.trace = Trace(self._is_recorded, len(names), is_fenced=fenced)
        of_names = dict(zip(buyer_names(runner.buyers), runner.programs, strict=True))
        first = {name: program[0] for name, program in of_names.items()}
        self.buyers = [
            ScheduledBuyer(name, number, program, program[0], first)
            for number, (name, program) in enumerate(of_names.items())
        ]
        self._by_name = {buyer.name: buyer for buyer in self.buyers}
        self._clients = {
            buyer.name: BuyerThread(buyer, runner.gate_server, runner.office.office, names, patience_s=PATIENCE_S)
            for buyer in self.buyers
        }
        self._settling = Settling(runner.gate_server, self.buyers, self._letters, self.trace)
        self._settling.has_combiner = runner.office.service.line == "host"

    def run(self) -> None:
        for buyer in self.buyers:
            # One after the other: what has happened before happens in this order.
            buyer.started = True
            self._clients[buyer.name].start()
            self._settle()
        while not all(buyer.finished for buyer in self.buyers):
            standings = dict(self._enabled())
            self._runner.on_decision(self.trace.steps)
            blocked = [self._standing(buyer, "blocked") for buyer in self.buyers if buyer.blocked_on]
            token = self._chooser.choose(list(standings), standings, blocked)
            self._do(token, standings[token])
            self.trace.steps[-1].token = token
            self._settle()

    def end(self) -> None:
        """Let every buyer through all gates and wait for the answers, whatever happened."""
        self._settling.ended = True
        for buyer in self.buyers:
            self._resume(buyer)
            self._clients[buyer.name].stop()
        deadline = time.monotonic() + PATIENCE_S
        waiting = [client for client in self._clients.values() if client.started]
        while waiting and time.monotonic() < deadline:
            self._gate_server.let_everybody_go()
            waiting = [client for client in waiting if not client.has_ended(0.02)]
        self._settling.hear_what_is_left()

    def _settle(self) -> None:
        self._settling.gates = self._runner.gates
        self._settling.settle()

    def _is_recorded(self, key: str, event: str, times: int) -> bool:
        """Does the office's own list contain what was committed under a key so often?"""
        try:
            audit = self._runner.office.office.audit(self._names[event], timeout_s=PATIENCE_S)
        except OfficeError:
            return False
        recorded: list[dict[str, object]] = [msgspec.json.decode(line) for line in audit.splitlines()]
        return sum(line.get("key") == key for line in recorded) >= times

    # -- decisions ------------------------------------------------------------------------------------------------

    def _enabled(self) -> Iterator[tuple[Token, Standing]]:
        if not any(buyer.able for buyer in self.buyers):
            for buyer in self.buyers:
                self._resume(buyer)
        standing = {buyer.name: self._standing(buyer, buyer.arrival.gate) for buyer in self.buyers if buyer.arrival}
        standing = {name: each for name, each in standing.items() if self._by_name[name].able}
        if not standing:
            raise Stuck(self._settling.who_waits())
        yield from standing.items()
        if self._moves:
            yield TIME, Standing("", "time", 0, self._runner.events[0], "")
        if not self._failed:
            combined = {buyer.name for buyer in self.buyers if buyer.is_combined}
            yield from possible(self._runner.failures, standing.values(), combined)

    def _standing(self, buyer: ScheduledBuyer, gate: str) -> Standing:
        event = buyer.blocked_on or (self._letters[buyer.arrival.event] if buyer.arrival else buyer.events[0])
        return Standing(buyer.name, gate, buyer.pid, event, buyer.operation.text)

    def _do(self, token: Token, standing: Standing) -> None:
        self._failed |= failure_of(token) is not None
        if not buyer_of(token):
            self._do_for_all(token, standing)
            return
        buyer = self._by_name[standing.buyer]
        if (arrival := buyer.arrival) is None:
            raise Stuck(f"{buyer.name} stands at no gate")
        match failure_of(token):
            case "kill":
                self._kill(buyer, arrival)
            case "pause":
                self._pause(buyer, arrival)
            case "disk":
                self._refuse(buyer, arrival)
            case failure:
                self._clients[buyer.name].lost = failure is not None
                self._continue(buyer, arrival)

    def _do_for_all(self, token: Token, standing: Standing) -> None:
        if token == TIME:
            self._moves -= 1
            self._gate_server.move_clock(_MOVE_NS)
            self.trace.add("", "time", f"Time moves on by {HOLD_S + 1:g} s: every hold has ended.")
        elif token == LEASE:
            self._runner.office.engine.remove(f"*{self._names[standing.event]}*lease*")
            self.trace.add(
                "", "lease-end", "The lease ends in the engine: somebody else can have it.", event=standing.event
            )
        else:
            self.trace.add("", "combiner", "The combiner is killed (-9): the workers decide.", event=standing.event)
            self._settling.has_combiner = False
            self._kill_the_process(standing.pid)

    def _continue(self, buyer: ScheduledBuyer, arrival: Arrival, word: str = "go") -> None:
        buyer.arrival = None
        self.trace.passes(buyer, arrival.gate, self._letters[arrival.event])
        self._settling.open(buyer, arrival, word)

    def _refuse(self, buyer: ScheduledBuyer, arrival: Arrival) -> None:
        self._continue(buyer, arrival, "refuse")
        self.closed = arrival.gate == "durable"
        what = "the sync fails, and the store is closed" if self.closed else "the disk is full, and nothing is written"
        self.trace.steps[-1].text = f"{buyer.name} finds that {what}."

    def _kill(self, buyer: ScheduledBuyer, arrival: Arrival) -> None:
        self.trace.add(buyer.name, arrival.gate, f"{buyer.name} loses the worker: killed (-9) at “{arrival.gate}”.")
        for other in self._in_process(arrival.pid):
            other.killed = True
        self._kill_the_process(arrival.pid)

    def _kill_the_process(self, pid: int) -> None:
        for buyer in self._in_process(pid):
            self._settling.loses(buyer)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def _pause(self, buyer: ScheduledBuyer, arrival: Arrival) -> None:
        what = f"{buyer.name} is stopped, with the worker, at “{arrival.gate}”."
        self.trace.add(buyer.name, arrival.gate, what)
        for other in self._in_process(arrival.pid):
            other.paused = True
        os.kill(arrival.pid, signal.SIGSTOP)

    def _in_process(self, pid: int) -> list[ScheduledBuyer]:
        """The buyers whose requests are in this process."""
        return [buyer for buyer in self.buyers if buyer.pid == pid]

    def _resume(self, buyer: ScheduledBuyer) -> None:
        if buyer.paused:
            buyer.paused = False
            with contextlib.suppress(ProcessLookupError):
                os.kill(buyer.pid, signal.SIGCONT)
            if buyer.arrival is not None:
                self.trace.add(buyer.name, buyer.arrival.gate, f"{buyer.name} may go on, with the worker.")
