"""An exploration: one case, its service, and the results of all its schedules."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from loadtests.lab.checks.anomalies import anomalies_of
from loadtests.lab.experiment.expectation import Expectation, expectation_of
from loadtests.lab.explore.dependence import Dependence
from loadtests.lab.explore.execution import ExecutedSchedule, ScheduleRunner
from loadtests.lab.explore.failures import FAILURES, check_failures, failure_of
from loadtests.lab.explore.programs import BUY, Program, written
from loadtests.lab.explore.pruning import explore_pruned
from loadtests.lab.explore.reason import Reason, reason_of
from loadtests.lab.explore.replay import GATE_LETTERS, ReplayId
from loadtests.lab.explore.scenarios import PURCHASE, REQUESTS, SCENARIOS
from loadtests.lab.explore.schedules import TIME, Choices, Chooser, buyer_names, explore, pct
from loadtests.lab.explore.trace import TraceStep
from loadtests.lab.servers.gate_server import GateServer
from loadtests.lab.servers.office import RunningOffice, Service
from service.catalogue import DEFAULT_STORE, GUARDS, OFF

# The buyers wait for a lock as long as the exploration holds the buyer who has it; under --pause they give up instead.
# A lease is shorter than that, so that under --pause and --kill the others get it.
_LOCK_WAIT_S, _LOCK_WAIT_PAUSED_S = 3600.0, 0.8
_LEASE_MS, _SHORT_LEASE_MS = 3_600_000, 300


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """The case that is explored."""

    store: str = DEFAULT_STORE
    guard: str = OFF
    worker: str = "sync"
    buyers: int = 2
    scripts: tuple[Program, ...] = ()
    """The programs of the buyers; without any, each makes a plain purchase."""
    scenario: str = ""
    """The name of a scenario with these programs."""
    tickets: int = 1
    gates: tuple[str, ...] = PURCHASE
    moves: int = 0
    """How often time moves on."""
    kill: bool = False
    pause: bool = False
    may: tuple[str, ...] = ()
    """What else the scheduler may let fail."""
    lock_order: str | None = None
    most: int = 2000
    walks: int = 0
    depth: int = 3
    seed: int = 1
    prune: bool = True
    """Whether of schedules that differ only in steps that do not depend on each other one is executed."""

    def __post_init__(self) -> None:
        if self.scripts:
            msgspec.structs.force_setattr(self, "buyers", len(self.scripts))
        needed = {gate for failure in self.failures for gate in FAILURES[failure].gates}
        gates = tuple(gate for gate in GATE_LETTERS if gate in {*self.gates, *needed})
        msgspec.structs.force_setattr(self, "gates", gates)

    @classmethod
    def of(cls, name: str, **given: Any) -> Scenario:
        """The case of a named scenario. Raises ``ValueError`` where there is none of that name."""
        script = SCENARIOS.get(name)
        if script is None:
            raise ValueError(f"there is no scenario {name!r}; they are: {', '.join(SCENARIOS)}")
        own = {name: getattr(script, name) for name in ("tickets", "gates", "moves", "lock_order")}
        return cls(scripts=script.parsed, scenario=name, **(own | given))

    @classmethod
    def of_programs(cls, programs: tuple[Program, ...], **given: Any) -> Scenario:
        """The case of programs without a name. Time moves once, if anything is held."""
        held = any(operation.verb == "hold" for program in programs for operation in program)
        own: dict[str, Any] = {"gates": REQUESTS, "moves": int(held)}
        return cls(scripts=programs, **(own | given))

    @classmethod
    def of_replay(cls, wanted: ReplayId, **given: Any) -> Scenario:
        """The case that a replay id is about; what its schedule lets fail may fail."""
        case = {"store": wanted.store, "guard": wanted.guard, "tickets": wanted.tickets, "gates": wanted.gates}
        failed = {failure_of(token) for token in wanted.prefix}
        case["may"] = tuple(name for name in FAILURES if name in {*given.pop("may", ()), *failed})
        if wanted.is_plain:
            return cls(**(given | case | {"buyers": len(wanted.programs)}))
        if wanted.scenario:
            return cls.of(wanted.scenario, **(given | case))
        return cls.of_programs(wanted.programs, **(given | case))

    @property
    def programs(self) -> tuple[Program, ...]:
        return self.scripts or (BUY,) * self.buyers

    @property
    def named(self) -> str:
        """The scenario, before what else is said of the case."""
        return f"{self.scenario}: " if self.scenario else ""

    @property
    def told(self) -> str:
        """What the buyers do, where it is more than a purchase each."""
        names = buyer_names(self.buyers)
        return " · ".join(f"{name}: {text}" for name, text in zip(names, written(self.scripts), strict=False))

    @property
    def failures(self) -> frozenset[str]:
        """What the scheduler may let fail."""
        typed = {"kill": self.kill, "pause": self.pause}
        return frozenset({*self.may, *(name for name, may in typed.items() if may)})

    def check(self) -> None:
        """Raises ``ValueError`` where the scenario, or what may fail, is not possible for the store and the guard."""
        script = SCENARIOS.get(self.scenario)
        if script is not None and script.stores and self.service("").store not in script.stores:
            raise ValueError(f"scenario {self.scenario} is for the stores {', '.join(script.stores)}: {script.cannot}")
        check_failures(self.failures, self.service(""))

    @property
    def lengths(self) -> list[int]:
        """The most steps of each buyer who never begins again, and how often time moves."""
        gates = [gate for gate in self.gates if gate != "release"]
        each = [sum(not operation.before for operation in program) for program in self.programs]
        return [*(len(gates) * operations for operations in each), self.moves]

    @property
    def orders(self) -> int:
        """About how many schedules there are if nobody waits for a lock: all ways to merge the steps of the buyers, and
        again with each failure at each place."""
        steps = sum(self.lengths)
        merged = math.factorial(steps) // math.prod(map(math.factorial, self.lengths))
        return merged * (1 + len(self.failures) * steps)

    @property
    def dependence(self) -> Dependence | None:
        """What the steps touch; None where it is not known: a lease ends by itself, one process decides for others."""
        service = self.service("")
        switched = any(each.verb == "switch" for program in self.programs for each in program)
        short_lease = service.lease_ms != _LEASE_MS and GUARDS[service.acting_guard].is_lease
        if short_lease or service.line == "host":
            return None
        return Dependence(
            gates=self.gates,
            guard="" if switched else service.acting_guard,
            one_process=self.worker != "sync",
            gives_up=service.lock_timeout_s != _LOCK_WAIT_S,
        )

    def replay(self, choices: Choices) -> ReplayId:
        return ReplayId(
            self.store, self.guard, self.programs, self.tickets, self.gates, choices.schedule, self.scenario
        )

    def service(self, gates: str) -> Service:
        """A service in which all buyers can be under way at once, and the lab's own calls beside them."""
        room = self.buyers + 2
        return Service(
            worker=self.worker,
            processes=room if self.worker == "sync" else 1,
            store=self.store,
            guard=self.guard,
            threads=room if self.worker == "gthread" else None,
            lock_timeout_s=_LOCK_WAIT_PAUSED_S if "pause" in self.failures or self.lock_order else _LOCK_WAIT_S,
            lease_ms=_SHORT_LEASE_MS if self.failures & {"pause", "kill"} else _LEASE_MS,
            lock_order=self.lock_order,
            allow_unsafe=True,
            gates=gates,
            batch=1,
            line="host" if "combiner" in self.failures else "process",
        )


class First(msgspec.Struct):
    """The first schedule that failed; the same every time."""

    preemptions: int
    steps: list[TraceStep]
    replay: str
    why: str
    reason: Reason


class SeenAnomaly(msgspec.Struct):
    """An anomaly: the number of schedules with it, and the replay id of the first."""

    schedules: int
    replay: str


class ExplorationResult(msgspec.Struct, kw_only=True):
    """The results of all schedules. ``whole``: no schedule was left out."""

    case: Scenario
    schedules: int = 0
    by_preemptions: dict[int, int] = {}
    failing: int = 0
    stuck: int = 0
    undecided: int = 0
    whole: bool = True
    pruned: int | None = None
    """The number of schedules that differ from these only in steps that do not depend on each other; None if they were
    not counted."""
    cut: int = 0
    """Executions that were cut, since all that could go on had been tried in another order."""
    first: First | None = None
    anomalies: dict[str, SeenAnomaly] = {}
    """By name, in the order in which they were found."""
    example: list[TraceStep] = []
    """The steps of the last schedule that did not fail."""

    @property
    def verdict(self) -> str:
        return "invalid" if self.failing else "unknown" if self.undecided else "valid"

    @property
    def expected(self) -> Expectation:
        """An exploration tries every order, so without mutual exclusion one of them goes wrong: luck has no part."""
        expected = expectation_of(self.case.service(""), "pause" if self.case.failures & {"pause", "lease-end"} else "")
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
            self.be_first(executed)

    def be_first(self, executed: ExecutedSchedule) -> None:
        """Have this be the schedule that failed first."""
        why = executed.stuck or (executed.verdict.why if executed.verdict else "")
        choices = executed.choices
        reason = reason_of(executed.steps, executed.verdict)
        self.first = First(choices.preemptions, executed.steps, self.case.replay(choices).id, why, reason)

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
    with tempfile.TemporaryDirectory(prefix="lastseat-explore-") as name, GateServer(parks=True) as gate_server:
        folder = Path(name)
        with RunningOffice(case.service(str(gate_server.path)), folder) as office:
            try:
                yield ScheduleRunner(
                    office,
                    gate_server,
                    folder / "executed",
                    case.programs,
                    case.tickets,
                    case.gates,
                    case.moves,
                    case.failures,
                )
            finally:
                # A buyer who still stands at a gate or waits for the guard would delay an orderly stop, and nothing in
                # this service is needed any more.
                office.kill()


def run(case: Scenario, on_executed: Callable[[ExplorationResult], None] = lambda _explored: None) -> ExplorationResult:
    """Explore a case: all its schedules, or the number of random walks given by ``walks``."""
    explored = ExplorationResult(case=case)
    dependence = case.dependence if case.prune else None
    with schedule_runner(case) as runner:

        def execute(chooser: Chooser) -> bool:
            executed = runner.execute(chooser)
            explored.add(executed)
            on_executed(explored)
            return executed.failing

        def look_for_the_first(chooser: Chooser) -> bool:
            executed = runner.execute(chooser)
            if executed.failing:
                explored.be_first(executed)
            return executed.failing

        if case.walks:
            names = [*buyer_names(case.buyers), *([TIME] if case.moves else [])]
            for number in range(case.walks):
                execute(Chooser(prefer=pct(case.seed + number, names, steps=sum(case.lengths), depth=case.depth)))
            explored.whole = False
        elif dependence is None:
            explored.whole = len(list(explore(lambda chooser: execute(chooser) or True, most=case.most))) < case.most
        else:
            known = explore_pruned(execute, dependence, most=case.most)
            explored.whole, explored.pruned, explored.cut = known.whole, known.others(), known.cut
            if explored.failing:
                known.first(look_for_the_first, most=case.most)
    return explored
