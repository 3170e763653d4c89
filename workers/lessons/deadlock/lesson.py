"""A deadlock: two locks taken in two orders. The wait-for graph shows it; one order, a time-out or a try ends it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from workers.lessons.common.figures import Arrow, Graph, Span, Table, Timeline
from workers.lessons.common.lesson import LessonResult, Progress, keyed
from workers.lessons.deadlock.strategies import (
    ONE_ORDER,
    OWN_ORDER,
    STRATEGIES,
    TIMEOUT,
    TRY,
    RingSettings,
    StrategyResult,
    lock_twice,
    run_strategy,
)

LEGEND = {"faint": "has its first lock", "wait": "waits", "good": "has both", "bad": "stuck"}
# The first rounds show everything.
_ROUNDS_DRAWN = 3


def run(settings: Mapping[str, Any], progress: Progress) -> LessonResult:
    times_s = (settings[name] / 1e3 for name in ("hold_ms", "stuck_ms", "timeout_ms"))
    plan = RingSettings(settings["threads"], settings["rounds"], *times_s)
    reports = {}
    for way in STRATEGIES:
        progress(f"two locks: {way}")
        reports[way] = run_strategy(way, plan)
    progress("the same lock twice")
    plain, reentrant = lock_twice(threading.Lock(), plan.stuck_s), lock_twice(threading.RLock(), plan.stuck_s)
    wrong, all_rounds = reports[OWN_ORDER], plan.threads * plan.rounds
    measured: dict[str, Any] = {"threads": plan.threads, "rounds": all_rounds}
    for way, each in reports.items():
        measured |= keyed(
            way, circles=each.cycles, gave_up=each.gave_up, stepped_back=each.stepped_back, finished=each.finished
        )
    measured |= {"lock_twice_stuck": plain.gave_up == 1, "rlock_twice_stuck": reentrant.gave_up == 1}
    return LessonResult(
        holds=wrong.cycles > 0
        and wrong.gave_up > 0
        and wrong.finished + wrong.gave_up == all_rounds
        and all(reports[way].finished == all_rounds for way in (ONE_ORDER, TIMEOUT, TRY))
        and reports[ONE_ORDER].cycles == reports[TRY].cycles == 0
        and (plain.cycles, plain.gave_up) == (1, 1)
        and (reentrant.cycles, reentrant.finished) == (0, 1),
        measured=measured,
        tables=[
            Table(
                f"{plan.threads} threads, each needs two of {plan.threads} locks",
                ["way", "to do", "deadlocks seen", "had to give up", "stepped back", "finished", "took (ms)"],
                [
                    [way, all_rounds, each.cycles, each.gave_up, each.stepped_back, each.finished, each.took_ms]
                    for way, each in reports.items()
                ],
            ),
            Table(
                "The same lock twice, by one thread",
                ["lock", "waits for itself", "got it twice"],
                [
                    ["Lock", plain.cycles > 0, plain.finished == 1],
                    ["RLock", reentrant.cycles > 0, reentrant.finished == 1],
                ],
            ),
        ],
        figures=[
            _graph(wrong.first_cycle),
            Timeline("Each its own order: stuck until one is told to give up", _first(wrong), LEGEND),
            Timeline("One order for all: they wait, and nobody is stuck", _first(reports[ONE_ORDER]), LEGEND),
        ],
        facts={"rounds_of_each": plan.rounds},
    )


def _graph(cycle: Sequence[str]) -> Graph:
    """The cycle: threads wait for locks, locks are held by threads."""
    following = [*cycle[1:], *cycle[:1]]
    arrows = [
        Arrow(one, other, "waits for" if one.startswith("thread") else "is held by", "bad")
        for one, other in zip(cycle, following, strict=True)
    ]
    return Graph("The first deadlock, as the wait-for graph", cycle, arrows, frozenset(cycle[1::2]))


def _first(report: StrategyResult) -> dict[str, list[Span]]:
    """The lanes of the first rounds. The later ones look alike."""
    until = min(report.round_starts_s[_ROUNDS_DRAWN:], default=float("inf"))
    return {
        name: [span for span in spans if span.start_s < min(span.end_s, until)] for name, spans in report.lanes.items()
    }
