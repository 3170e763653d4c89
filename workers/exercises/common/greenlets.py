"""Runs the greenlets of a learner's program under gevent itself, once for each order in which they can be started.

Under gevent a greenlet goes on until it yields, so the order of all steps follows from who is first. A thread of
gevent's pool takes turns with the greenlets, line by line.
"""

from __future__ import annotations

import _thread
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import gevent
import gevent.exceptions
import gevent.threadpool
import msgspec

from workers.exercises.common.actors import Actor
from workers.exercises.common.exercise import DrivingPlan, Explored, Finding, Order, Step
from workers.exercises.common.program import Program
from workers.exercises.common.turns import Report, outcome

_MOST_LINES = 20_000
"""In one order. A program that is not at its end then is said to be endless."""
_MOST_STEPS = 40
_PATIENCE_S = 5.0
# The learner's program may replace them by gevent's.
_allocate_lock = _thread.allocate_lock


def explore_greenlets(path: Path, plan: DrivingPlan, limit_s: float) -> Explored:
    """Each actor is a greenlet; they share the state. Raises as ``Program`` does."""
    ends, tried = time.monotonic() + limit_s, 0
    program = Program(path)
    for names in itertools.permutations(plan.actors):
        if time.monotonic() > ends:
            return Explored(tried, False, False)
        tried += 1
        wrong, steps = _run(program, plan, names)
        if wrong is not None:
            return Explored(tried, False, False, losing=Order(steps), wrong=wrong)
    return Explored(tried, True, False)


def _run(program: Program, plan: DrivingPlan, names: tuple[str, ...]) -> tuple[Finding | None, list[Step]]:
    """One order, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="exercise-") as folder:
        trail = Path(folder) / "steps"
        actor = Actor(names[0], 0)
        try:
            actor.fork(lambda: _Greenlets(program, plan, names, actor, trail).run(), Path(folder))
            actor.started()
            while actor.report.kind == "stuck":
                actor.hear(_PATIENCE_S)
        finally:
            actor.end()
        steps = msgspec.json.decode(trail.read_bytes(), type=list[Step]) if trail.exists() else []
    return actor.report.wrong, steps


class _Greenlets:
    """The greenlets of one order, and the lines that each executed without another in between."""

    def __init__(self, program: Program, plan: DrivingPlan, names: tuple[str, ...], actor: Actor, trail: Path) -> None:
        self._program, self._plan, self._names = program, plan, names
        self._actor, self._trail = actor, trail
        self._runs: list[tuple[str, dict[int, int]]] = []
        """An actor, and how often it executed each line."""
        self._lines = 0
        self._last: dict[str, int] = dict.fromkeys(names, 0)
        """The line at which each actor is that has not ended."""
        self._wrong: Finding | None = None
        self._actors: dict[Any, str] = {}

    def run(self) -> None:
        """Starts them one after the other, and reports when all have ended."""
        gevent.reinit()
        signal.signal(signal.SIGALRM, lambda *_: self._end(Finding("endless", {"at": self._last})))
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE_S)
        self._schedule_pools()
        try:
            state = self._plan.setup(self._program.load())
            self._actors = {gevent.spawn(self._act, name, state): name for name in self._names}
            gevent.joinall(list(self._actors))
        except gevent.exceptions.LoopExit:
            self._end(Finding("deadlock", {"at": self._last}))
        except BaseException as error:
            self._end(outcome(error, self._program))
        self._end(self._wrong or self._plan.wrong(state))

    def _act(self, name: str, state: Any) -> None:
        sys.settrace(self._tracing(self._current, lambda: None))
        try:
            self._plan.actors[name](state)
        except Exception as error:
            self._wrong = self._wrong or outcome(error, self._program, name)
        del self._last[name]

    def _end(self, wrong: Finding | None) -> None:
        steps = [
            Step(name, line, self._program.line(line), f"times {times}" if times > 1 else "")
            for name, lines in self._runs
            for line, times in lines.items()
        ]
        self._trail.write_bytes(msgspec.json.encode(steps[-_MOST_STEPS:]))
        self._actor.say(Report("done", wrong=wrong))
        os._exit(0)

    def _current(self) -> str:
        """The actor whose greenlet this is, or that has started it."""
        greenlet: Any = gevent.getcurrent()
        while greenlet is not None and greenlet not in self._actors:
            starter = getattr(greenlet, "spawning_greenlet", None)
            greenlet = starter() if starter else None
        return self._actors.get(greenlet, self._names[0])

    def _tracing(
        self, actor: Callable[[], str], after_line: Callable[[], object]
    ) -> Callable[[FrameType, str, Any], Any]:
        def traced(frame: FrameType, event: str, _argument: object) -> Any:
            if frame.f_code.co_filename != self._program.path:
                return None
            if event == "line":
                self._reached(actor(), frame.f_lineno)
                after_line()
            return traced

        return traced

    def _reached(self, name: str, line: int) -> None:
        if not self._runs or self._runs[-1][0] != name:
            self._runs.append((name, {}))
        lines = self._runs[-1][1]
        lines[line] = lines.get(line, 0) + 1
        if name in self._last:
            self._last[name] = line
        self._lines += 1
        if self._lines > _MOST_LINES:
            self._end(Finding("endless", {"at": self._last}))

    def _schedule_pools(self) -> None:
        real = gevent.threadpool.ThreadPool.spawn

        def spawn(pool: Any, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
            name, hub = self._current(), pool.hub

            def greenlets_go_on() -> None:
                turn = _allocate_lock()
                turn.acquire()
                hub.loop.run_callback_threadsafe(turn.release)
                turn.acquire(timeout=_PATIENCE_S)

            def worked(*arguments: Any, **named: Any) -> Any:
                sys.settrace(self._tracing(lambda: name, greenlets_go_on))
                try:
                    return work(*arguments, **named)
                finally:
                    sys.settrace(None)

            return real(pool, worked, *arguments, **named)

        gevent.threadpool.ThreadPool.spawn = spawn  # type: ignore[assignment, method-assign]
