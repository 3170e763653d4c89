"""Pruning against an oracle that tries all orders of small programs: no outcome is missed, and none is tried twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from loadtests.lab.explore.dependence import CHANGE, LOOK, Dependence, Touched, depend
from loadtests.lab.explore.pruning import Known, explore_pruned
from loadtests.lab.explore.schedules import Chooser, Standing, Token, buyer_names, explore

Programs = tuple[tuple[str, ...], ...]
"""Steps of each buyer: ``rx`` reads x, ``wx`` writes it from what was read last, ``lx`` and ``ux`` lock and unlock it,
``i`` is asked and ``o`` is answered (real time), ``?x`` makes the next step at once if x was written."""
NONE: Mapping[Token, Standing] = {}
Run = tuple[str, object, bool]
"""A schedule, its end, and whether it fails."""


@dataclass
class World:
    """Executes abstract programs. ``end`` tells all that can be seen of a run."""

    programs: Programs
    moves: int = 0
    values: dict[str, tuple[object, ...]] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
    blocked: list[tuple[str, str]] = field(default_factory=list)
    seen: dict[str, list[Any]] = field(default_factory=dict)
    answered: list[str] = field(default_factory=list)

    def run(self, chooser: Chooser) -> bool:
        """Whether it fails: an arbitrary predicate of its end."""
        left = dict(zip(buyer_names(len(self.programs)), map(list, self.programs), strict=True))
        self.seen = {name: [] for name in left}
        while any(left.values()):
            waiting = {name for name, _ in self.blocked}
            standings = {name: _standing(name, left[name]) for name in left if left[name] and name not in waiting}
            if not standings:
                self.seen["deadlock"] = sorted(waiting)
                return True
            if self.moves:
                standings["t"] = Standing("", "time", 0, "", "wT")
            blocked = [structs.replace(_standing(name, left[name]), gate="blocked") for name, _ in self.blocked]
            token = chooser.choose(list(standings), standings, blocked)
            if token == "t":
                self.moves -= 1
                self.values["T"] = ("moved", *self.values.get("T", ()))
            else:
                self._go_on(token, left)
        return hash_of(self.end) % 5 == 0

    @property
    def end(self) -> tuple[object, ...]:
        return (
            tuple(sorted(self.values.items())),
            tuple(sorted((name, tuple(map(str, seen))) for name, seen in self.seen.items())),
        )

    def _go_on(self, name: str, left: dict[str, list[str]]) -> None:
        step = left[name][0]
        if self._step(name, step):
            left[name].pop(0)
            self._wake(left)
            if step[0] == "?" and left[name] and step[1:] in self.values:
                self._go_on(name, left)

    def _step(self, name: str, step: str) -> bool:
        what, thing = step[0], step[1:]
        if what == "l" and thing in self.holders:
            self.blocked.append((name, thing))
            return False
        if what == "l":
            self.holders[thing] = name
        elif what == "u" and self.holders.get(thing) == name:
            del self.holders[thing]
        elif what in "r?":
            self.seen[name].append(self.values.get(thing, ()))
        elif what == "w":
            self.values[thing] = (name, *(str(self.seen[name][-1:]),))
        elif what == "i":
            self.seen[name].append(sorted(self.answered))
        elif what == "o":
            self.answered.append(name + str(len(self.seen[name])))
        return True

    def _wake(self, left: dict[str, list[str]]) -> None:
        for name, lock in list(self.blocked):
            if lock not in self.holders:
                self.blocked.remove((name, lock))
                self.holders[lock] = name
                left[name].pop(0)


def hash_of(value: object) -> int:
    return sum(map(ord, str(value)))


def _standing(name: str, left: Sequence[str]) -> Standing:
    """A buyer before the first of the steps that are left; how many there are stands in the place of the process."""
    return Standing(name, "step", len(left), "", " ".join(left))


HOW = {"r": LOOK, "?": LOOK, "w": CHANGE, "l": CHANGE, "u": CHANGE, "i": "invoke", "o": "answer"}


@dataclass(frozen=True)
class Touches:
    """What the steps of a world touch."""

    without: str = ""
    """Plants a mistake: this thing is left out."""

    def touched(self, token: Token, standing: Standing, blocked: Sequence[Standing]) -> Touched:
        return self.did(token, standing, blocked, None)

    def did(self, token: Token, standing: Standing, blocked: Sequence[Standing], now: Standing | None) -> Touched:
        steps = standing.operation.split()
        at_once = next((number for number, step in enumerate(steps, 1) if step[0] != "?"), len(steps))
        # Of what may be made at once, what was made; the next one too, if it is what the buyer waits for now.
        made = steps[: at_once if now is None else min(at_once, standing.pid - now.pid + 1)]
        if now is not None and now.gate != "blocked":
            made = steps[: standing.pid - now.pid]
        # The run may end with any step, and time does not move on after that.
        mine = {("T", LOOK), (token, CHANGE)} if token != "t" else {("T", CHANGE)}
        for step in made if token != "t" else ():
            kind = {"l": "lock ", "u": "lock "}.get(step[0], "")
            mine.add(("real time" if step[0] in "io" else kind + step[1:], HOW[step[0]]))
        woken = [each for each in blocked if ("lock " + each.operation.split()[0][1:], CHANGE) in mine]
        mine |= {(each.buyer, CHANGE) for each in woken}
        changed = {thing for thing, how in mine if how == CHANGE}
        return frozenset((thing, CHANGE if thing in changed else how) for thing, how in mine if thing != self.without)


def all_orders(programs: Programs, moves: int = 0) -> list[Run]:
    """The oracle: every schedule, in the order of the search without pruning."""
    found: list[Run] = []

    def execute(chooser: Chooser) -> bool:
        world = World(programs, moves)
        failed = world.run(chooser)
        found.append((chooser.choices.schedule, world.end, failed))
        return True

    for _ in explore(execute, most=100_000):
        pass
    return found


def pruned(programs: Programs, moves: int = 0, touches: Touches = Touches()) -> tuple[Known, list[Run]]:
    found: list[Run] = []

    def loses(chooser: Chooser) -> bool:
        world = World(programs, moves)
        failed = world.run(chooser)
        found.append((chooser.choices.schedule, world.end, failed))
        return failed

    return explore_pruned(loses, touches, most=100_000), found


def first_found(known: Known, programs: Programs, moves: int = 0) -> list[str]:
    """The schedules that were executed to find the one that fails first."""
    executed = []

    def loses(chooser: Chooser) -> bool:
        failed = World(programs, moves).run(chooser)
        executed.append(chooser.choices.schedule)
        return failed

    known.first(loses, most=10)
    return executed


def kind(schedule: str, programs: Programs, moves: int) -> object:
    """What makes two schedules equivalent, told without the code under test: the order of each two dependent steps."""
    steps: list[tuple[str, int, Touched]] = []
    waiting: list[tuple[str, Standing, Sequence[Standing]]] = []

    class Watching(Chooser):
        def choose(
            self, enabled: Sequence[Token], standings: Mapping[Token, Standing] = NONE, blocked: Sequence[Standing] = ()
        ) -> Token:
            learn(standings, blocked)
            token = super().choose(enabled, standings, blocked)
            waiting[:] = [(token, standings[token], blocked)]
            return token

    def learn(standings: Mapping[Token, Standing] = NONE, blocked: Sequence[Standing] = ()) -> None:
        for token, standing, meanwhile in waiting:
            now = standings.get(token) or next((each for each in blocked if each.buyer == token), None)
            number = sum(each[0] == token for each in steps)
            steps.append((token, number, Touches().did(token, standing, meanwhile, now)))

    World(programs, moves).run(Watching(list(schedule)))
    learn()
    return frozenset(
        (one[:2], other[:2])
        for place, one in enumerate(steps)
        for other in steps[place + 1 :]
        if depend(one[2], other[2])
    )


step = st.sampled_from(["rx", "wx", "ry", "wy", "i", "o", "rT", "?x"])
locked = st.tuples(st.sampled_from("xy"), st.lists(step, max_size=2)).map(
    lambda given: (f"l{given[0]}", *given[1], f"u{given[0]}")
)
program = st.lists(st.one_of(step.map(lambda each: (each,)), locked), min_size=1, max_size=3).map(
    lambda parts: tuple(each for part in parts for each in part)[:4]
)
programs_of = st.lists(program, min_size=2, max_size=3).map(tuple).filter(lambda each: sum(map(len, each)) <= 8)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(programs_of, st.integers(0, 1))
def test_no_outcome_is_missed_no_kind_is_tried_twice_and_the_same_schedule_fails_first(
    programs: Programs, moves: int
) -> None:
    everything = all_orders(programs, moves)
    known, found = pruned(programs, moves)
    assert {end for _, end, _ in found} == {end for _, end, _ in everything}
    kinds = Counter(kind(schedule, programs, moves) for schedule, _, _ in everything)
    assert {kind(schedule, programs, moves) for schedule, _, _ in found} == kinds.keys()
    assert len(found) == known.executed >= len(kinds)
    if not any("?" in step for program in programs for step in program):
        assert len(found) == len(kinds)
    assert known.whole
    assert known.others() == len(everything) - len(found)
    failing = [schedule for schedule, _, failed in everything if failed]
    if failing:
        assert first_found(known, programs, moves) == failing[:1]


@pytest.mark.parametrize(
    ("programs", "left_out"),
    [
        ((("rx", "wx"), ("rx", "wx")), "x"),
        ((("lx", "ry", "ux"), ("lx", "wy", "ux")), "lock x"),
        ((("wx", "o"), ("i", "rx")), "real time"),
        ((("rT", "wx"), ("wy",)), "T"),
    ],
)
def test_a_dependence_that_is_left_out_is_noticed_by_the_oracle(programs: Programs, left_out: str) -> None:
    """The negative control: what the oracle is for."""

    everything = {end for _, end, _ in all_orders(programs, moves=1)}
    _, complete = pruned(programs, moves=1)
    _, found = pruned(programs, 1, Touches(without=left_out))
    assert {end for _, end, _ in complete} == everything
    assert {end for _, end, _ in found} < everything


def test_steps_of_which_none_depends_on_another_are_tried_in_one_order() -> None:
    known, found = pruned((("rx",), ("ry",), ("rx",)))
    assert [schedule for schedule, _, _ in found] == ["ABC"]
    assert (known.executed, known.others(), known.whole) == (1, 5, True)


def test_the_schedule_that_fails_first_is_found_where_the_bound_ended_the_search() -> None:
    """Then what is not known is executed on the way to it."""
    programs: Programs = (("rx", "wx", "ry"), ("rx", "wx", "ry"), ("wx", "ry"))
    failing = [schedule for schedule, _, failed in all_orders(programs) if failed]
    assert failing
    for most in (1, 5, 20):
        known = explore_pruned(lambda chooser: World(programs).run(chooser), Touches(), most=most)
        assert not known.whole
        executed: list[tuple[str, bool]] = []

        def loses(chooser: Chooser, executed: list[tuple[str, bool]] = executed) -> bool:
            failed = World(programs).run(chooser)
            executed.append((chooser.choices.schedule, failed))
            return failed

        known.first(loses, most=500)
        assert [schedule for schedule, failed in executed if failed] == failing[:1]


def test_a_search_that_its_bound_ended_does_not_count_and_says_that_it_is_not_whole() -> None:
    known = explore_pruned(World((("rx", "wx"), ("rx", "wx"))).run, Touches(), most=1)
    assert (known.whole, known.others()) == (False, None)


OF_A_PURCHASE = ("acquire", "view", "append", "answer")


def purchase(gate: str, buyer: str = "A", operation: str = "buy") -> Standing:
    return Standing(buyer, gate, 1, "a", operation)


def depends(case: Dependence, one: Token, at: str, other: Token, other_at: str, *blocked: Standing) -> bool:
    """Whether the step of one token at a gate depends on that of another one; ``time`` and such are gates too."""
    mine, others = (
        case.touched(
            token,
            Standing("", gate, 0, "a", "")
            if gate in {"time", "lease-end", "combiner"}
            else purchase(gate, token[-1].upper()),
            blocked,
        )
        for token, gate in ((one, at), (other, other_at))
    )
    assert depend(mine, others) is depend(others, mine)
    return depend(mine, others)


@pytest.mark.parametrize(
    ("guard", "at", "other_at", "expected"),
    [
        ("none", "acquire", "view", False),
        ("none", "view", "view", False),
        ("none", "view", "append", True),
        ("none", "append", "append", True),
        ("none", "answer", "append", False),
        ("none", "answer", "answer", False),
        ("none", "answer", "invoke", True),
        ("none", "invoke", "invoke", False),
        ("file", "acquire", "acquire", True),
        ("file", "view", "acquire", True),  # who finds nothing left gives the guard back
        ("thread", "acquire", "acquire", False),  # each process has a lock of its own
        ("", "acquire", "acquire", True),
    ],
)
def test_steps_of_two_buyers_depend_on_each_other_by_what_lies_behind_their_gates(
    guard: str, at: str, other_at: str, expected: bool
) -> None:
    case = Dependence(guard=guard, gates=OF_A_PURCHASE)
    assert depends(case, "A", at, "B", other_at) is expected


def test_a_gate_that_is_not_held_adds_what_lies_behind_it() -> None:
    assert not depends(Dependence(guard="none", gates=("invoke", "view", "answer")), "A", "answer", "B", "view")
    assert depends(Dependence(guard="none", gates=("invoke", "view")), "A", "view", "B", "view"), "both may write"
    assert depends(Dependence(guard="none", gates=("invoke", "view", "append")), "A", "append", "B", "invoke"), (
        "an answer"
    )


def test_the_locks_of_one_process_exclude_its_threads() -> None:
    assert depends(Dependence(guard="thread", gates=OF_A_PURCHASE, one_process=True), "A", "acquire", "B", "acquire")


def test_time_a_lease_and_failures_depend_on_what_they_change_and_a_run_has_one_failure() -> None:
    case = Dependence(guard="lease", gates=OF_A_PURCHASE)
    assert all(depends(case, "t", "time", "A", gate) for gate in OF_A_PURCHASE)
    assert depends(case, "x", "lease-end", "A", "acquire")
    assert depends(case, "b", "view", "x", "lease-end")
    assert depends(case, "*", "combiner", "A", "answer")
    assert depends(case, "-B", "view", "A", "answer")
    assert depends(case, "!B", "durable", "A", "view")


def test_a_kill_touches_its_process_and_what_was_held_there() -> None:
    alone = Dependence(guard="file", gates=OF_A_PURCHASE)
    together = Dependence(guard="file", gates=OF_A_PURCHASE, one_process=True)
    assert depends(alone, "a", "append", "B", "acquire")
    assert not depends(alone, "a", "append", "B", "answer")
    assert depends(together, "a", "append", "B", "answer")


def test_who_gives_the_guard_back_touches_what_those_will_who_wait_for_it() -> None:
    case = Dependence(guard="file", gates=("acquire", "append", "release", "answer"))
    waits = [purchase("blocked", "C")]
    assert ("buyer C", CHANGE) in case.touched("A", purchase("release"), waits)
    assert ("buyer C", CHANGE) not in case.touched("A", purchase("answer"), waits)
    impatient = Dependence(guard="file", gates=OF_A_PURCHASE, gives_up=True)
    assert depends(impatient, "A", "answer", "B", "answer", *waits), "C may give up in any step"
    assert not depends(impatient, "A", "answer", "B", "answer")


@pytest.mark.parametrize("operation", ["sweep", "switch none"])
def test_a_sweep_and_a_switch_touch_everything(operation: str) -> None:
    case = Dependence(guard="", gates=OF_A_PURCHASE)
    sweeps = case.touched("C", purchase("view", "C", operation))
    assert depend(sweeps, case.touched("A", purchase("answer")))
    assert depends(case, "A", "answer", "B", "answer", purchase("blocked", "C", operation))
