"""The actor's side of an exploration: it stops at gates, reports where it is, and goes on when it has the turn."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Literal

import msgspec

from workers.exercises.common.exercise import Finding
from workers.exercises.common.gates import GatedProgram
from workers.exercises.common.program import Program

GO, PROBE, EXPIRE = b"g", b"p", b"e"
"""What an actor is told: go on; say whether you could go on; your wait has timed out."""
_MOST_INSTRUCTIONS = 500
"""An actor stops after so many at the latest, so that a loop without a gate is seen."""


class Report(msgspec.Struct):
    """What an actor says when it stops; ``stuck`` is what the scheduler notes of one that waits in the kernel."""

    kind: Literal["gate", "sleep", "wait", "done", "stuck"]
    line: int = 0
    inside: bool = False
    """Whether it is in the part that is named as concurrent."""
    note: str = ""
    acts_as: str = ""
    """Under which name its step is shown; empty: under its own."""
    expires: bool = False
    """Whether its wait has a timeout."""
    thread: int = 0
    wrong: Finding | None = None


def send(pipe: int, report: Report) -> None:
    """Writes a report into a pipe, as one line."""
    os.write(pipe, msgspec.json.encode(report) + b"\n")


class NotScheduled(BaseException):
    """The program starts a thread or a process of its own, which no scheduler would know."""


def outcome(error: BaseException, program: Program, actor: str = "") -> Finding:
    """What ended with this error: the program, or the check itself."""
    if isinstance(error, NotScheduled):
        return Finding("own_thread", {"actor": actor})
    try:
        return program.raised(error, actor)
    except BaseException:
        return Finding("check_failed", {"error": traceback.format_exc()})


class Turn:
    """An actor's end of its two pipes."""

    def __init__(self, program: GatedProgram, actor: str, told: int, says: int) -> None:
        self.program = program
        self.actor = actor
        self._told = told
        self._says = says
        self._since_stop = 0
        self.acts_as = ""

    def stop(self, kind: Literal["gate", "sleep", "wait"], note: str = "", *, expires: bool = False) -> bytes:
        """Stops here until the scheduler tells this actor something, which is returned."""
        self._since_stop = 0
        line, inside = self.program.place()
        self.say(Report(kind, line, inside, note, self.acts_as, expires, threading.get_native_id()))
        return os.read(self._told, 1) or os._exit(1)

    def say(self, report: Report) -> None:
        send(self._says, report)

    def wait(self, attempt: Callable[[], bool], undo: Callable[[], object], *, expires: bool = False) -> bool:
        """Attempts until it succeeds. False if it ``expires``, and no actor could go on otherwise."""
        while not attempt():
            told = self.stop("wait", expires=expires)
            while told == PROBE:
                free = attempt()
                if free:
                    undo()
                told = self.stop("gate" if free else "wait", expires=expires)
            if told == EXPIRE:
                return False
        return True

    def act(self, act: Callable[[Any], object], state: Any) -> None:
        """Does what this actor does, gate by gate, and reports its end."""
        here.turn = self
        self.stop("gate")
        sys.settrace(self._trace)
        wrong = None
        try:
            act(state)
        except BaseException as error:
            wrong = outcome(error, self.program, self.actor)
        sys.settrace(None)
        here.turn = None
        self.say(Report("done", wrong=wrong))

    def _trace(self, frame: FrameType, _event: str, _argument: object) -> Any:
        if frame.f_code.co_filename != self.program.path:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._at_opcode

    def _at_opcode(self, frame: FrameType, event: str, _argument: object) -> Any:
        self._since_stop += 1
        if event == "opcode" and (self.program.has_gate(frame) or self._since_stop > _MOST_INSTRUCTIONS):
            self.stop("gate")
        return self._at_opcode


class _Here(threading.local):
    turn: Turn | None = None


here = _Here()
"""The turn of the actor that this thread is; ``None``: it is none."""


def point(note: str) -> None:
    """A gate in an exercise's own code, with the name of the word that the order shows there; empty: nothing."""
    if here.turn is not None:
        here.turn.stop("gate", note)


@contextlib.contextmanager
def acting_as(name: str) -> Iterator[None]:
    """The order shows what this actor does in the block under another name: it plays the part of another there."""
    turn = here.turn
    if turn is None:
        yield
        return
    before, turn.acts_as = turn.acts_as, name
    try:
        yield
    finally:
        turn.acts_as = before
