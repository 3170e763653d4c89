"""The actors of one order, each a process or a thread of one, as the scheduler sees them: told to go on, and heard."""

from __future__ import annotations

import _thread
import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from workers.exercises.common.exercise import DrivingPlan, Finding
from workers.exercises.common.gates import GatedProgram
from workers.exercises.common.turns import PROBE, Report, Turn, outcome, send
from workers.exercises.common.waiting import install
from workers.lessons.common.processes import die_with_parent

_PATIENCE_S = 10.0
_LOOK_S = 0.25


class Actor:
    """The scheduler's ends of an actor's two pipes, and the actor's last report."""

    def __init__(self, name: str, place: int) -> None:
        self.name = name
        self.place = place
        self._told, self._tell = os.pipe()
        self._hear, self._says = os.pipe()
        self._pid = 0
        self.report = Report("gate")
        self.waits = False
        """Whether it waits for a lock, or did when it had the turn last."""
        self._was_inside = False

    def turn(self, program: GatedProgram) -> Turn:
        """The actor's own ends."""
        return Turn(program, self.name, self._told, self._says)

    def say(self, report: Report) -> None:
        """In the actor's own process: says this, without a turn."""
        send(self._says, report)

    def fork(self, body: Callable[[], object], folder: Path) -> None:
        """Starts a process of its own that does this in that folder."""
        self._pid = os.fork()
        if self._pid == 0:
            with contextlib.suppress(BaseException):
                os.setpgid(0, 0)
                die_with_parent()
                os.chdir(folder)
                body()
            os._exit(0)

    def started(self) -> None:
        """Waits until it has stopped for the first time. The process that has its ends is running."""
        os.close(self._says)
        self._says = -1
        self.hear(_PATIENCE_S)

    def tell(self, what: bytes) -> None:
        """Tells it to go on, or to try, and waits until it has stopped again."""
        self._was_inside = self.report.inside
        with contextlib.suppress(BrokenPipeError):
            os.write(self._tell, what)
        self.hear(_PATIENCE_S)
        self.waits = self.report.kind == "wait" or (self.waits and what == PROBE)

    def hear(self, patience_s: float) -> None:
        """Waits for a report. Who sleeps in the kernel is ``stuck`` and may report later; who is silent is endless."""
        ended = Finding("ended", {"actor": self.name, "line": self.report.line})
        ends, slept, text = time.monotonic() + patience_s, 0, b""
        poll = select.poll()  # select.select knows no descriptor above 1,023
        poll.register(self._hear, select.POLLIN)
        while not text.endswith(b"\n"):
            if poll.poll(min(_LOOK_S, patience_s) * 1e3):
                more = os.read(self._hear, 65536)
                text += more or msgspec.json.encode(Report("done", wrong=ended)) + b"\n"
                continue
            slept = slept + 1 if self._is_in_kernel() else 0
            if slept >= 2 or self.report.kind == "stuck":
                self.report.kind = "stuck"
                return
            if time.monotonic() > ends:
                self.report = Report("done", wrong=Finding("endless", {"at": {self.name: self.report.line}}))
                return
        self.report = msgspec.json.decode(text, type=Report)

    def _is_in_kernel(self) -> bool:
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{self.report.thread or self._pid}/stat").read_text(encoding="utf-8", errors="replace")
            return stat.rpartition(")")[2].split()[0] == "S"
        return False

    @property
    def inside(self) -> bool:
        """Whether it is in the concurrent part, past its first gate there, and does not wait."""
        return self.report.inside and self._was_inside and not self.waits and self.report.kind in ("gate", "sleep")

    def end(self) -> None:
        """Kills its process with all that this has started, and closes the pipes."""
        for each in (self._told, self._tell, self._hear, self._says):
            with contextlib.suppress(OSError):
                os.close(each)
        if self._pid:
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError):
                    kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)


@contextlib.contextmanager
def running_actors(
    program: GatedProgram, plan: DrivingPlan, folder: Path, *, processes: bool
) -> Iterator[tuple[Actor, list[Actor]]]:
    """The judge, which is told to go on when all have ended, and the actors, each at its first gate.

    If the program cannot be set up, the judge has reported its end already, and there are no actors. At the end of the
    block nothing of them is running.
    """
    with contextlib.ExitStack() as stack:

        def made(name: str) -> Actor:
            actor = Actor(name, [*plan.actors, ""].index(name))
            stack.callback(actor.end)
            return actor

        threads = [] if processes else [made(name) for name in plan.actors]
        judge = made("")
        judge.fork(lambda: _judge(program, plan, judge, threads), folder)
        judge.started()
        actors: list[Actor] = []
        if judge.report.kind != "done":
            for name in plan.actors:
                actor = made(name) if processes else threads[len(actors)]
                if processes:
                    actor.fork(lambda actor=actor: _process(program, plan, actor), folder)  # type: ignore[misc]
                actor.started()
                actors.append(actor)
        yield judge, actors


def _process(program: GatedProgram, plan: DrivingPlan, actor: Actor) -> None:
    install()
    turn = actor.turn(program)
    try:
        state = plan.setup(program.load())
    except BaseException as error:
        turn.say(Report("done", wrong=outcome(error, program)))
    else:
        turn.act(plan.actors[actor.name], state)


def _judge(program: GatedProgram, plan: DrivingPlan, judge: Actor, threads: list[Actor]) -> None:
    install()
    turn = judge.turn(program)
    try:
        state = plan.setup(program.load())
        for each in threads:
            _thread.start_new_thread(each.turn(program).act, (plan.actors[each.name], state))
        turn.stop("gate")
        turn.say(Report("done", wrong=plan.wrong(state)))
    except BaseException as error:
        turn.say(Report("done", wrong=outcome(error, program)))
