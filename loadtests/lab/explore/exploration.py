"""An exploration: one case, its service, and the results of all its schedules."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from loadtests.lab.checks.anomalies import anomalies_of
from loadtests.lab.experiment.expectation import Expectation, expectation_of
from loadtests.lab.explore.execution import DEFAULT_GATES, ExecutedSchedule, ScheduleRunner
from loadtests.lab.explore.replay import ReplayId
from loadtests.lab.explore.schedules import Choices, Chooser, buyer_names, explore, pct
from loadtests.lab.explore.trace import Step
from loadtests.lab.servers.gate_server import GateServer
from loadtests.lab.servers.office import RunningOffice, Service

# The buyers wait for a lock as long as the exploration holds the buyer who has it; under --pause they give up instead.
# A lease is shorter than that, so that under --pause and --kill the others get it.
_LOCK_WAIT_S, _LOCK_WAIT_PAUSED_S = 3600.0, 0.8
_LEASE_MS, _SHORT_LEASE_MS = 3_600_000, 300


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """The case that is explored."""

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

    def replay(self, choices: Choices) -> ReplayId:
        return ReplayId(self.store, self.guard, self.buyers, self.tickets, self.gates, choices.schedule)

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
            line="process",
        )


class First(msgspec.Struct):
    """The first schedule that failed; the same every time."""

    preemptions: int
    steps: list[Step]
    replay: str
    why: str


class SeenAnomaly(msgspec.Struct):
    """An anomaly: the number of schedules with it, and the replay id of the first."""

    schedules: int
    replay: str


class Explored(msgspec.Struct, kw_only=True):
    """The results of all schedules. ``whole``: no schedule was left out."""

    case: Scenario
    schedules: int = 0
    by_preemptions: dict[int, int] = {}
    failing: int = 0
    stuck: int = 0
    undecided: int = 0
    whole: bool = True
    first: First | None = None
    anomalies: dict[str, SeenAnomaly] = {}
    """By name, in the order in which they were found."""
    example: list[Step] = []
    """The steps of the last schedule that did not fail."""

    @property
    def verdict(self) -> str:
        return "invalid" if self.failing else "unknown" if self.undecided else "valid"

    @property
    def expected(self) -> Expectation:
        """An exploration tries every order, so without mutual exclusion one of them goes wrong: luck has no part."""
        expected = expectation_of(self.case.service(""), "pause" if self.case.pause else "")
        return Expectation.WRONG if expected is Expectation.EITHER else expected

    @property
    def met(self) -> bool:
        return (self.verdict == "invalid") is (self.expected is Expectation.WRONG)

    def add(self, executed: ExecutedSchedule) -> None:
        choices = executed.choices
        self.schedules += 1
        self.by_preemptions[choices.preemptions] = self.by_preemptions.get(choices.preemptions, 0) + 1
        self.stuck += bool(executed.stuck)
        if not executed.failing:
            self.example = executed.steps
            if executed.verdict is not None and executed.verdict.verdict == "unknown" and not _only_serial(executed):
                self.undecided += 1
            return
        self.failing += 1
        self._note_anomalies(executed)
        if self.first is None:
            why = executed.stuck or (executed.verdict.why if executed.verdict else "")
            self.first = First(choices.preemptions, executed.steps, self.case.replay(choices).id, why)

    def _note_anomalies(self, executed: ExecutedSchedule) -> None:
        for name in anomalies_of(executed.verdict) if executed.verdict else ():
            seen = self.anomalies.setdefault(name, SeenAnomaly(0, self.case.replay(executed.choices).id))
            seen.schedules += 1


def _only_serial(executed: ExecutedSchedule) -> bool:
    """Is it undecided only because no two operations overlapped? In an exploration such a schedule is normal."""
    checks = executed.verdict.checks if executed.verdict else []
    return all(check.verdict == "valid" or check.name == "overlap" for check in checks)


@contextmanager
def schedule_runner(case: Scenario) -> Iterator[ScheduleRunner]:
    """A runner for the schedules of a case, with a running service; both end with the block."""
    with tempfile.TemporaryDirectory(prefix="lastseat-explore-") as name, GateServer() as gate_server:
        folder = Path(name)
        with RunningOffice(case.service(str(gate_server.path)), folder) as office:
            try:
                yield ScheduleRunner(
                    office,
                    gate_server,
                    folder / "executed",
                    case.buyers,
                    case.tickets,
                    case.gates,
                    may_kill=case.kill,
                    may_pause=case.pause,
                )
            finally:
                # A buyer who still stands at a gate or waits for the guard would delay an orderly stop, and nothing in
                # this service is needed any more.
                office.kill()


def run(case: Scenario, on_executed: Callable[[Explored], None] = lambda _explored: None) -> Explored:
    """Explore a case: all its schedules, or the number of random walks given by ``walks``."""
    explored = Explored(case=case)
    with schedule_runner(case) as runner:

        def execute(chooser: Chooser) -> bool:
            explored.add(runner.execute(chooser))
            on_executed(explored)
            return True

        if case.walks:
            names, steps = buyer_names(case.buyers), case.buyers * len(case.gates)
            for number in range(case.walks):
                execute(Chooser(prefer=pct(case.seed + number, names, steps=steps, depth=case.depth)))
            explored.whole = False
        else:
            explored.whole = len(list(explore(execute, most=case.most))) < case.most
    return explored
