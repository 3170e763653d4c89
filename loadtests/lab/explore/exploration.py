"""An exploration: one case, its service, and what became of all its schedules."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loadtests.lab.checks.anomalies import anomalies_of
from loadtests.lab.experiment.expectation import Expectation, expectation_of
from loadtests.lab.explore.execution import DEFAULT_GATES, ExecutedSchedule, ScheduleRunner
from loadtests.lab.explore.replay import Replay
from loadtests.lab.explore.schedules import Choices, Chooser, explore, pct
from loadtests.lab.explore.trace import Step
from loadtests.lab.servers.gate_server import GateServer
from loadtests.lab.servers.office import RunningOffice, Service

# A lock that a held buyer keeps is waited for as long as the exploration holds him; under --pause the others give up.
# A lease is shorter than that, so that under --pause and --kill they get it instead.
_LOCK_WAIT_S, _LOCK_WAIT_PAUSED_S = 3600.0, 0.8
_LEASE_MS, _SHORT_LEASE_MS = 3_600_000, 300


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What is explored."""

    store: str = "json"
    guard: str = "none"
    worker: str = "sync"
    buyers: int = 2
    tickets: int = 1
    gates: tuple[str, ...] = DEFAULT_GATES
    kill: bool = False
    pause: bool = False
    most: int = 2000
    walks: int = 0
    depth: int = 3
    seed: int = 1

    def replay(self, course: Choices) -> Replay:
        return Replay(self.store, self.guard, self.buyers, self.tickets, self.gates, course.schedule)

    def service(self, gates: str) -> Service:
        """A service in which all buyers can be under way at once, and the lab's own calls beside them."""
        room = self.buyers + 2
        return Service(
            worker=self.worker,
            processes=room if self.worker == "sync" else 1,
            store=self.store,
            guard=self.guard,
            threads=room if self.worker == "gthread" else None,
            lock_timeout_s=_LOCK_WAIT_PAUSED_S if self.pause else _LOCK_WAIT_S,
            lease_ms=_SHORT_LEASE_MS if self.pause or self.kill else _LEASE_MS,
            allow_unsafe=True,
            gates=gates,
            batch=1,
        )


class First(msgspec.Struct):
    """The first schedule that failed; the same every time."""

    preemptions: int
    steps: list[Step]
    replay: str
    why: str


class Seen(msgspec.Struct):
    """An anomaly: in how many schedules, and the first of them."""

    schedules: int
    replay: str


class Explored(msgspec.Struct, kw_only=True):
    """What became of all schedules. ``whole``: no schedule was left untried."""

    case: Case
    schedules: int = 0
    by_preemptions: dict[int, int] = {}
    failing: int = 0
    stuck: int = 0
    undecided: int = 0
    whole: bool = True
    first: First | None = None
    anomalies: dict[str, Seen] = {}
    """By name, in the order in which they were met."""
    example: list[Step] = []
    """The steps of the last schedule with the most preemptions that was tried and did not fail."""

    @property
    def verdict(self) -> str:
        return "invalid" if self.failing else "unknown" if self.undecided else "valid"

    @property
    def promised(self) -> Expectation:
        """An exploration tries every order, so where nothing excludes, one of them goes wrong: luck has no part."""
        expected = expectation_of(self.case.service(""), "pause" if self.case.pause else "")
        return Expectation.WRONG if expected is Expectation.EITHER else expected

    @property
    def kept(self) -> bool:
        return (self.verdict == "invalid") is (self.promised is Expectation.WRONG)

    def add(self, played: ExecutedSchedule) -> None:
        course = played.course
        self.schedules += 1
        self.by_preemptions[course.preemptions] = self.by_preemptions.get(course.preemptions, 0) + 1
        self.stuck += bool(played.stuck)
        if not played.failing:
            self.example = played.steps
            if played.verdict is not None and played.verdict.verdict == "unknown" and not _only_serial(played):
                self.undecided += 1
            return
        self.failing += 1
        self._note_anomalies(played)
        if self.first is None:
            why = played.stuck or (played.verdict.why if played.verdict else "")
            self.first = First(course.preemptions, played.steps, self.case.replay(course).id, why)

    def _note_anomalies(self, played: ExecutedSchedule) -> None:
        for name in anomalies_of(played.verdict) if played.verdict else ():
            seen = self.anomalies.setdefault(name, Seen(0, self.case.replay(played.course).id))
            seen.schedules += 1


def _only_serial(played: ExecutedSchedule) -> bool:
    """Undecided only because no two operations overlapped: in an exploration that is a schedule like any other."""
    checks = played.verdict.checks if played.verdict else []
    return all(check.verdict == "valid" or check.name == "overlap" for check in checks)


@contextmanager
def performer(case: Case) -> Iterator[ScheduleRunner]:
    """A running service for a case, and the hand at its gates; all of it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="lastseat-explore-") as name, GateServer() as stage:
        folder = Path(name)
        with RunningOffice(case.service(str(stage.path)), folder) as office:
            try:
                yield ScheduleRunner(
                    office,
                    stage,
                    folder / "played",
                    case.buyers,
                    case.tickets,
                    case.gates,
                    may_kill=case.kill,
                    may_pause=case.pause,
                )
            finally:
                # Whoever still stands at a gate or waits for the guard would keep an orderly stop waiting; nothing that
                # this service holds is needed any more.
                office.kill()


def run(case: Case, on_played: Callable[[Explored], None] = lambda _explored: None) -> Explored:
    """Explore a case: all its schedules, or, with ``walks``, so many random walks."""
    explored = Explored(case=case)
    with performer(case) as stage:

        def perform(chooser: Chooser) -> bool:
            explored.add(stage.play(chooser))
            on_played(explored)
            return True

        if case.walks:
            _walk(case, perform)
            explored.whole = False
        else:
            courses = list(explore(perform, most=case.most))
            explored.whole = len(courses) < case.most
    return explored


def _walk(case: Case, perform: Callable[[Chooser], bool]) -> None:
    names = [chr(ord("A") + number) for number in range(case.buyers)]
    steps = case.buyers * len(case.gates)
    for number in range(case.walks):
        perform(Chooser(prefer=pct(case.seed + number, names, steps=steps, depth=case.depth)))
