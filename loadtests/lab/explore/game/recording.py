"""A recording: every order of a level, run on the real service, as a tree in which equal parts are stored once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from loadtests.lab.explore.exploration import schedule_runner
from loadtests.lab.explore.game.levels import MOST_ORDERS, Level
from loadtests.lab.explore.game.moves import SceneState, ScheduleEnd, Shown, WatchingChooser, result_of, shown
from loadtests.lab.explore.schedules import Choices, Chooser, Token, explore
from loadtests.lab.explore.trace import TraceStep

_BUSY = "; a lease may end by itself where the machine is busy: try again when it is not"


class Unrecordable(Exception):
    """A level that cannot be recorded as it is. The message says which and why."""


class Best(msgspec.Struct, frozen=True):
    """The order that breaks the level with the fewest preemptions, of these the shortest."""

    preemptions: int
    moves: int
    schedule: str


class LevelRecording(msgspec.Struct, kw_only=True):
    """All orders of a level. ``nodes[-1]`` is the beginning."""

    replay: str
    """The beginning of the replay ids."""
    tokens: list[Token]
    orders: int = 0
    broken: int = 0
    best: Best | None = None
    steps: list[Shown] = []
    documents: list[list[Shown]] = []
    results: list[ScheduleEnd] = []
    nodes: list[Any] = []
    """``[documents, who waits, [[token, node, [step, …]], …]]``, with indices, or ``[result]`` at an end. No node
    stands before one that it leads to."""


@dataclass(slots=True)
class _SceneNode:
    view: SceneState | None = None
    result: ScheduleEnd | None = None
    moves: dict[Token, tuple[list[Shown], _SceneNode]] = field(default_factory=dict)


def record(level: Level, on_order: Callable[[int], None] = lambda _orders: None) -> LevelRecording:
    """Run all orders of a level. ``on_order`` is told how many ran.

    Errors: ``Unrecordable`` where there are too many orders, where one did not do the same twice, and as ``check``.
    """
    made = LevelRecording(replay=level.replay, tokens=level.tokens)
    beginning, known = _SceneNode(), dict[str, SceneState]()
    with schedule_runner(level.case()) as runner:

        def execute(chooser: Chooser) -> bool:
            watch = WatchingChooser(chooser, runner, known)
            executed = runner.execute(watch)
            result = result_of(executed, runner, level.breaks)
            if not _grow(beginning, watch, executed.steps, result):
                raise Unrecordable(f"level {level.name}: {executed.choices.schedule} did not do the same twice{_BUSY}")
            made.orders += 1
            if result.broken:
                made.broken += 1
                made.best = _better(made.best, executed.choices)
            on_order(made.orders)
            return True

        tried = len(list(explore(execute, most=MOST_ORDERS)))
    if tried == MOST_ORDERS:
        raise Unrecordable(f"level {level.name} has {MOST_ORDERS} orders or more: hold the buyers at fewer gates")
    check(level, made)
    _Sharing(made).add(beginning)
    return made


def check(level: Level, recording: LevelRecording) -> None:
    """Raises ``Unrecordable`` if the level's words say that it can be won and it cannot, or the other way round."""
    if level.winnable is (recording.best is None):
        found = f"{recording.best.schedule} does" if recording.best else f"none of {recording.orders} orders does"
        raise Unrecordable(f"level {level.name} says whether an order breaks it: {level.winnable}; but {found}")


def _better(best: Best | None, choices: Choices) -> Best:
    found = Best(choices.preemptions, len(choices.decisions), choices.schedule)
    return min(best or found, found, key=lambda each: (each.preemptions, each.moves, each.schedule))


def _grow(beginning: _SceneNode, watch: WatchingChooser, steps: list[TraceStep], result: ScheduleEnd) -> bool:
    """Add an execution to a tree. False if it contradicts what is there."""
    node, consistent = beginning, True
    ends = [*(view.made for view in watch.views[1:]), len(steps)]
    for view, end, decision in zip(watch.views, ends, watch.choices.decisions, strict=True):
        node.view = view
        seen = shown(steps[view.made : end])
        before, node = node.moves.setdefault(decision.chosen, (seen, _SceneNode()))
        consistent &= before == seen
    node.result = result
    return consistent and not node.moves


class _Sharing:
    """Writes a tree into a recording. Two parts that play the same become one."""

    def __init__(self, recording: LevelRecording) -> None:
        self._recording = recording
        self._places: dict[tuple[str, bytes], int] = {}

    def add(self, node: _SceneNode) -> int:
        made = self._recording
        if node.view is None:
            return self._place("nodes", made.nodes, [self._place("results", made.results, node.result)])
        moves = [
            [token, self.add(after), [self._place("steps", made.steps, step) for step in steps]]
            for token, (steps, after) in node.moves.items()
        ]
        documents = self._place("documents", made.documents, node.view.documents)
        return self._place("nodes", made.nodes, [documents, node.view.waits, sorted(moves)])

    def _place(self, kind: str, among: list[Any], each: Any) -> int:
        place = self._places.setdefault((kind, msgspec.json.encode(each)), len(among))
        if place == len(among):
            among.append(each)
        return place
