"""The scheduler: it has the actors of a learner's program take their steps in all orders. Processes, or threads.

Each order is executed by processes of its own, in an empty folder. One actor goes on at a time, from gate to gate (see
``gates``), until it sleeps, waits or has ended; then the next one goes on. An order may depart from this: a *departure*
is a choice of another actor, and free where the last one has ended. All orders with at most one departure are tried,
and of those with two as many, chosen at random, as ``ENOUGH_ORDERS`` and most of the time allow: most races need one or
two (delay-bounded scheduling: Emmi, Qadeer and Rakamaric, POPL 2011). Only an execution shows who could have gone on,
so an order is given by its first choices; each choice that was not made becomes the beginning of another order.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workers.exercises.common.actors import Actor, running_actors
from workers.exercises.common.exercise import DrivingPlan, Explored, Finding, Order, Step
from workers.exercises.common.gates import GatedProgram
from workers.exercises.common.turns import EXPIRE, GO, PROBE

SURE_DEPARTURES = 1
MOST_DEPARTURES = 2
ENOUGH_ORDERS = {"processes": 120, "threads": 300}
MOST_STEPS = 1000
"""In one order. A program that is not at its end then is said to be endless."""
_IN_A_ROW = 50
"""After so many steps others go on, as the kernel would have them: who waits in a loop must not wait for ever."""


def explore_processes(path: Path, plan: DrivingPlan, limit_s: float) -> Explored:
    """Each actor is a process, which loads the program and calls ``setup`` for itself, one after the other.

    What they share is the folder that is their current one; ``wrong`` is asked in a further process. Raises
    ``OSError``, ``SyntaxError`` or ``ValueError`` if the program cannot be read.
    """
    return _explore(path, plan, limit_s, processes=True)


def explore_threads(path: Path, plan: DrivingPlan, limit_s: float) -> Explored:
    """Each actor is a thread of one process; they share the state. Raises as ``explore_processes`` does."""
    return _explore(path, plan, limit_s, processes=False)


def _explore(path: Path, plan: DrivingPlan, limit_s: float, *, processes: bool) -> Explored:
    begun, rng = time.monotonic(), random.Random(0)
    program = GatedProgram(path, plan.concurrent)
    enough = ENOUGH_ORDERS["processes" if processes else "threads"]
    waiting: list[list[list[str]]] = [[[]]]  # waiting[n]: beginnings of orders with n departures
    tried, sure, departures, overlapped = 0, 0, 0, False
    while waiting:
        if not waiting[0]:
            waiting.pop(0)
            departures += 1
            continue
        took_s = time.monotonic() - begun
        if departures > SURE_DEPARTURES and (tried >= enough or took_s > limit_s * 0.8):
            some = tried - sure
            return Explored(sure, True, overlapped, bounded=True, at_random=some, interruptions=SURE_DEPARTURES)
        if took_s > limit_s:
            return Explored(tried, False, overlapped)
        next_one = rng.randrange(len(waiting[0])) if departures > SURE_DEPARTURES else 0
        execution = _Execution(program, waiting[0].pop(next_one))
        with (
            tempfile.TemporaryDirectory(prefix="exercise-") as folder,
            running_actors(program, plan, Path(folder), processes=processes) as (judge, actors),
        ):
            execution.run(judge, actors)
        tried += 1
        sure = tried if departures <= SURE_DEPARTURES else sure
        overlapped = overlapped or execution.overlapped
        if execution.wrong is not None:
            return Explored(tried, False, overlapped, losing=Order(execution.steps), wrong=execution.wrong)
        for added, other in execution.others():
            waiting.extend([] for _ in range(added + 1 - len(waiting)))
            waiting[added].append(other)
    return Explored(tried, True, overlapped, bounded=True, interruptions=MOST_DEPARTURES)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Who went on, who would have without a departure, and who could have."""

    chosen: str
    default: str
    enabled: list[str]
    is_free: bool
    """Whether no choice is a departure here: the one before has ended."""

    @property
    def departs(self) -> bool:
        return self.chosen != self.default and not self.is_free


@dataclass(slots=True)
class _Execution:
    """One order: how it begins, and what happened in it."""

    program: GatedProgram
    beginning: list[str]
    choices: list[_Choice] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    overlapped: bool = False
    wrong: Finding | None = None
    _in_a_row: int = 0

    def run(self, judge: Actor, actors: list[Actor]) -> None:
        """Lets one actor after the other go on until all have ended, then the judge."""
        last: Actor | None = None
        while self._all_well([judge, *actors]) and (living := [each for each in actors if each.report.kind != "done"]):
            self.overlapped = self.overlapped or sum(each.inside for each in living) >= 2
            enabled = _enabled(living, last)
            if any(each.report.kind == "done" for each in living):
                continue
            if not enabled:
                self.wrong = Finding("deadlock", {"at": {each.name: each.report.line for each in living}})
            elif len(self.choices) >= MOST_STEPS and last is not None:
                self.wrong = Finding("endless", {"at": {last.name: last.report.line}})
            else:
                last = self._step(enabled, last)
        if self.wrong is None:
            judge.tell(GO)
            self._all_well([judge])

    def _all_well(self, actors: list[Actor]) -> bool:
        for each in actors:
            self.wrong = self.wrong or each.report.wrong
        return self.wrong is None

    def _step(self, enabled: list[Actor], last: Actor | None) -> Actor:
        if self._in_a_row >= _IN_A_ROW:
            enabled = [each for each in enabled if each is not last] or enabled
        by_name = {each.name: each for each in enabled}
        default = last if last in enabled and last is not None else _next(enabled, last)
        place = len(self.choices)
        planned = self.beginning[place] if place < len(self.beginning) else ""
        chosen = by_name.get(planned, default)
        is_free = last is None or last.report.kind == "done"
        self.choices.append(_Choice(chosen.name, default.name, list(by_name), is_free))
        self._in_a_row = self._in_a_row + 1 if chosen is last else 1
        self._add(chosen, chosen.report.note)
        chosen.tell(EXPIRE if chosen.report.kind == "wait" else GO)
        if chosen.report.kind in ("wait", "stuck"):
            self._add(chosen, "has_to_wait")
        return chosen

    def _add(self, actor: Actor, note: str) -> None:
        line = actor.report.line
        step = Step(actor.report.acts_as or actor.name, line, self.program.line(line), note)
        if (line or note) and self.steps[-1:] != [step]:
            self.steps.append(step)

    def others(self) -> Iterator[tuple[int, list[str]]]:
        """The orders that differ from this one after its beginning, and the departures that they add."""
        chosen = [each.chosen for each in self.choices]
        fixed = len(self.beginning)
        before = sum(each.departs for each in self.choices[:fixed])
        for place, choice in enumerate(self.choices[fixed:], fixed):
            added = int(not choice.is_free)
            if before + added <= MOST_DEPARTURES:
                yield from ((added, [*chosen[:place], other]) for other in choice.enabled if other != choice.chosen)


def _next(enabled: list[Actor], last: Actor | None) -> Actor:
    """The first of these that comes after the last one, in turn."""
    return next((each for each in enabled if last is not None and each.place > last.place), enabled[0])


def _enabled(living: list[Actor], last: Actor | None) -> list[Actor]:
    """The actors that can go on. Who sleeps can when another has gone on, or if nobody can; so can a wait's timeout."""
    for each in living:
        if each is not last:
            if each.waits:
                each.tell(PROBE)
            elif each.report.kind == "stuck":
                each.hear(0.01)
            elif each.report.kind == "sleep" and last is not None:
                each.report.kind = "gate"
    able = _stopped(living, "gate") or _stopped(living, "sleep")
    able = able or [each for each in _stopped(living, "wait") if each.report.expires]
    if not able:
        for each in _stopped(living, "stuck"):
            each.hear(1.0)
        able = _stopped(living, "gate") or _stopped(living, "sleep")
    return able


def _stopped(actors: list[Actor], kind: str) -> list[Actor]:
    return [each for each in actors if each.report.kind == kind]
