"""Every order of a program's threads, by frontrun: each switch between two bytecodes that touch the same thing.

frontrun schedules what is made of ``threading`` and ``queue`` (locks, semaphores, events, conditions) and pretends the
time: a sleep, and a wait with a limit, may end at any moment, and nothing is waited for. It does not see ``flock``, the
locks of ``multiprocessing``, or gevent. Of orders that differ only in steps which touch nothing in common it tries one
(dynamic partial order reduction), and no number of switches is too high for it (``preemption_bound=None``).

What an instruction touches it does not always know: ``name in dict`` and ``list += other`` are among those. So some
orders at random follow, switched between any two instructions.
"""

from __future__ import annotations

import dis
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import frontrun
import frontrun._dpor_runtime.runner
import frontrun.bytecode
from frontrun._cooperative import get_context
from frontrun._deadlock import SchedulerAbortError
from frontrun._opcode_observer import start_opcode_trace
from frontrun._tracing import set_active_trace_filter

from workers.exercises.common.exercise import DrivingPlan, Explored, Finding, Order
from workers.exercises.common.orders import OrderLog
from workers.exercises.common.program import Program, replace_function

ORDER_S = 8.0
"""An order that takes longer does not end at all: one takes milliseconds."""
MOST_ORDERS = 500
LEAST_ORDERS = 50
"""Where time ends before all orders were tried, so many are enough."""
AT_RANDOM = 50
"""So many orders at random, always the same ones."""
# The interpreter's own: made of a lock and a condition, which frontrun schedules. Of frontrun's own event it does not
# try those orders in which a waiter goes on between a set and a clear.
_Event = threading.Event
_start_thread = threading.Thread.start
# frontrun follows these lines as it follows the program's: so it tries every order of entering and leaving.
_GATE_FILE = "the entrance of the concurrent part"
_GATED = """
def gated(part, visits, actor):
    def inside(*args, **kwargs):
        me = actor()
        comes = (me, 1)
        visits.append(comes)
        try:
            return part(*args, **kwargs)
        finally:
            goes = (me, -1)
            visits.append(goes)
    return inside
"""


class _OwnThread(RuntimeError):
    """The program starts a thread, which no scheduler knows."""


class _Run:
    """One order: its state, how each actor ended, and who entered (1) and left (-1) the concurrent part."""

    def __init__(self, state: Any, visits: list[tuple[str, int]]) -> None:
        self.state = state
        self.visits = visits
        self.raised: dict[str, Finding] = {}
        self.ended: set[str] = set()

    def most_inside(self) -> int:
        """How many actors were inside the concurrent part at once."""
        inside: Counter[str] = Counter()
        most = 0
        for actor, change in self.visits:
            inside[actor] += change
            most = max(most, len(+inside))
        return most


def explore(path: Path, plan: DrivingPlan, limit_s: float) -> Explored:
    """Tries all orders until one loses; if none does, looks for one with two inside the concurrent part.

    Raises what the program raises while it is loaded, and ``AttributeError`` where the plan does not find its parts.
    For a process of its own: it changes ``threading`` there, and threads of an order that does not end are left behind.
    """
    os.environ["FRONTRUN_ACTIVE"] = "1"  # else it refuses to begin where its own command did not start it
    return _Exploration(Program(path), plan, time.monotonic() + limit_s).explored()


class _Exploration:
    def __init__(self, program: Program, plan: DrivingPlan, deadline: float) -> None:
        self._program, self._plan, self._deadline = program, plan, deadline
        self._names = list(plan.actors)
        self._log = OrderLog(program, self._names)
        self._wrong: Finding | None = None
        self._met = False
        self._run: _Run

    def explored(self) -> Explored:
        gated, until = self._plan.most_inside > 0, time.monotonic() + 0.6 * self._left_s()
        every = self._tried(gated, self._holds, 0.6, preemption_bound=None, max_executions=MOST_ORDERS)
        tried = every.num_explored
        is_all = tried < MOST_ORDERS and time.monotonic() < until
        if not every.property_holds:
            return self._lost(every, tried)
        some = self._tried(True, self._holds, 0.5, strategy="random", max_attempts=AT_RANDOM, seed=0)
        if not some.property_holds:
            return self._lost(some, tried + some.num_explored)
        met = self._met or self._meets()
        is_enough = is_all or tried >= LEAST_ORDERS
        return Explored(tried, is_enough, met, bounded=not is_all, at_random=some.num_explored)

    def _left_s(self) -> float:
        return max(1.0, self._deadline - time.monotonic())

    def _tried(
        self, gated: bool, holds: Callable[[_Run], bool], share: float, **strategy: Any
    ) -> frontrun.InterleavingResult:
        """Tries orders for this share of the time that is left."""
        _follow(self._program.path, self._log)
        return frontrun.explore(
            setup=lambda: self._setup(gated),
            workers=[self._actor(name, act) for name, act in self._plan.actors.items()],
            invariant=holds,
            detect_io=False,
            clock="explored",
            reproduce_on_failure=0,
            timeout_per_run=ORDER_S,
            deadlock_timeout=ORDER_S,
            total_timeout=share * self._left_s(),
            **strategy,
        )

    def _lost(self, found: frontrun.InterleavingResult, tried: int) -> Explored:
        return Explored(tried, False, False, losing=Order(self._log.steps()), wrong=self._wrong or self._stuck(found))

    def _meets(self) -> bool:
        """Looks for an order with two inside the concurrent part."""
        found = self._tried(True, lambda run: run.most_inside() < 2, 1.0, preemption_bound=None)
        return found.property_holds is False and self._run.most_inside() > 1

    def _stuck(self, found: frontrun.InterleavingResult) -> Finding:
        """Where the actors are that do not come to their end; of a cycle, those that are in it."""
        cycle = [self._names[int(number)] for number in re.findall(r"thread (\d+) ->", found.explanation or "")]
        lines = self._log.last_lines()
        at = {name: lines.get(name, 0) for name in cycle or self._names if name not in self._run.ended}
        return Finding("deadlock" if found.property_holds is False else "endless", {"at": at})

    def _setup(self, gated: bool) -> _Run:
        self._log.clear()
        self._wrong = None
        threading.Event = _Event  # type: ignore[misc]
        visits: list[tuple[str, int]] = []
        module = self._program.load()
        if gated:
            names: dict[str, Any] = {}
            exec(compile(_GATED, _GATE_FILE, "exec"), names)
            replace_function(module, self._plan.concurrent, lambda part: names["gated"](part, visits, self._actor_here))
        self._run = _Run(self._plan.setup(module), visits)
        return self._run

    def _actor_here(self) -> str:
        context = get_context()
        return self._names[context[1]] if context else ""

    def _actor(self, name: str, act: Callable[[Any], object]) -> Callable[[_Run], None]:
        def acting(run: _Run) -> None:
            try:
                act(run.state)
            except SchedulerAbortError:
                raise
            except _OwnThread:
                run.raised[name] = Finding("own_thread", {"actor": name})
            except (Exception, SystemExit) as error:
                run.raised[name] = self._program.raised(error, name)
            context = get_context()
            if context and context[0]._error is None:  # else it was let go, so that its thread ends
                run.ended.add(name)

        return acting

    def _holds(self, run: _Run) -> bool:
        most = run.most_inside()
        self._met = self._met or most > 1
        if run.raised:
            self._wrong = next(iter(run.raised.values()))
        elif 0 < self._plan.most_inside < most:
            facts = {"part": self._plan.concurrent, "most": self._plan.most_inside, "inside": most}
            self._wrong = Finding("too_many", facts)
        else:
            self._wrong = self._plan.wrong(run.state)
        return self._wrong is None


class _OnlyTheProgram:
    """What frontrun follows: the learner's lines, and not how we drive them."""

    def __init__(self, path: str) -> None:
        self._files = {path, _GATE_FILE}

    def should_trace_file(self, filename: str) -> bool:
        return filename in self._files


def _follow(path: str, log: OrderLog) -> None:
    """Lets frontrun follow this file alone, and write into the log which lines are gone through, and what they name."""

    def start(*, on_opcode: Callable[..., bool], **rest: Any) -> Any:
        def turn(code: CodeType, offset: int, frame: Any, actor: int) -> bool:
            waited = on_opcode(code, offset, frame, actor)
            if code.co_filename == path and frame.f_lineno and get_context()[0]._error is None:
                log.reached(actor, frame.f_lineno, *_accesses(code).get(offset, ("", "")))
            return waited

        return start_opcode_trace(on_opcode=turn, **rest)

    set_active_trace_filter(_OnlyTheProgram(path))
    frontrun._dpor_runtime.runner.start_opcode_trace = start
    frontrun.bytecode.start_opcode_trace = start
    threading.Thread.start = _start_if_not_scheduled  # type: ignore[assignment, method-assign]


def _start_if_not_scheduled(thread: threading.Thread) -> None:
    if get_context():
        raise _OwnThread
    _start_thread(thread)


@cache
def _accesses(code: CodeType) -> dict[int, tuple[str, str]]:
    """The instructions that read or write an attribute or a global: ``read`` or ``write``, and its name."""
    kinds = {"LOAD_ATTR": "read", "STORE_ATTR": "write", "LOAD_GLOBAL": "read", "STORE_GLOBAL": "write"}
    return {
        each.offset: (kinds[each.opname], each.argval) for each in dis.get_instructions(code) if each.opname in kinds
    }
