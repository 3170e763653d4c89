"""A deadlock: two locks taken in two orders; found in the wait-for graph; cured by order, by time-out, by a try."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from workers.lessons.deadlock_ways import ONE_ORDER, OWN_ORDER, TIMEOUT, TRY, WAYS, Plan, Report, go, twice
from workers.lessons.form import Arrow, Findings, Graph, Lesson, Parameter, Progress, Span, Table, Timeline

LEGEND = {
    "faint": "has its first lock",
    "wait": "waits",
    "good": "has both",
    "bad": "stuck",
}
# So many rounds are drawn: the first ones show it all.
_ROUNDS_DRAWN = 3


def run(settings: Mapping[str, Any], progress: Progress) -> Findings:
    plan = Plan(
        settings["threads"],
        settings["rounds"],
        settings["hold_ms"] / 1e3,
        settings["stuck_ms"] / 1e3,
        settings["timeout_ms"] / 1e3,
    )
    reports = {}
    for way in WAYS:
        progress(f"two locks: {way}")
        reports[way] = go(way, plan)
    progress("the same lock twice")
    plain, reentrant = twice(threading.Lock(), plan.stuck_s), twice(threading.RLock(), plan.stuck_s)
    wrong, all_rounds = reports[OWN_ORDER], plan.threads * plan.rounds
    measured: dict[str, Any] = {"threads": plan.threads, "rounds": all_rounds}
    for way, each in reports.items():
        key = way.replace(",", "").replace("-", "").replace(" ", "_")
        measured |= {
            f"{key}_circles": each.circles,
            f"{key}_gave_up": each.gave_up,
            f"{key}_stepped_back": each.stepped_back,
            f"{key}_finished": each.finished,
        }
    measured |= {"lock_twice_stuck": plain.gave_up == 1, "rlock_twice_stuck": reentrant.gave_up == 1}
    return Findings(
        holds=wrong.circles > 0
        and wrong.gave_up > 0
        and wrong.finished + wrong.gave_up == all_rounds
        and all(reports[way].finished == all_rounds for way in (ONE_ORDER, TIMEOUT, TRY))
        and reports[ONE_ORDER].circles == reports[TRY].circles == 0
        and (plain.circles, plain.gave_up) == (1, 1)
        and (reentrant.circles, reentrant.finished) == (0, 1),
        measured=measured,
        tables=[
            Table(
                f"{plan.threads} threads, each needs two of {plan.threads} locks",
                ["way", "to do", "deadlocks seen", "had to give up", "stepped back", "finished", "took (ms)"],
                [
                    [
                        way,
                        all_rounds,
                        each.circles,
                        each.gave_up,
                        each.stepped_back,
                        each.finished,
                        round(each.took_s * 1e3),
                    ]
                    for way, each in reports.items()
                ],
            ),
            Table(
                "The same lock twice, by one thread",
                ["lock", "waits for itself", "got it twice"],
                [
                    ["Lock", plain.circles > 0, plain.finished == 1],
                    ["RLock", reentrant.circles > 0, reentrant.finished == 1],
                ],
            ),
        ],
        figures=[
            _graph(wrong.first_circle),
            Timeline("Each its own order: stuck until one is told to give up", _first(wrong), LEGEND),
            Timeline("One order for all: they wait, and nobody is stuck", _first(reports[ONE_ORDER]), LEGEND),
        ],
        see=_see(reports, plan, all_rounds),
    )


def _graph(circle: Sequence[str]) -> Graph:
    """The circle drawn: threads wait for locks, locks are held by threads."""
    following = [*circle[1:], *circle[:1]]
    arrows = [
        Arrow(one, other, "waits for" if one.startswith("thread") else "is held by", "bad")
        for one, other in zip(circle, following, strict=True)
    ]
    return Graph("The first deadlock, as the wait-for graph", circle, arrows, frozenset(circle[1::2]))


def _first(report: Report) -> dict[str, list[Span]]:
    """The first rounds; after those, the rest looks alike."""
    until = min(report.round_starts_s[_ROUNDS_DRAWN:], default=float("inf"))
    return {
        name: [span for span in spans if span.start_s < min(span.end_s, until)] for name, spans in report.lanes.items()
    }


def _see(reports: Mapping[str, Report], plan: Plan, all_rounds: int) -> list[str]:
    wrong, order, timeout, attempt = (reports[way] for way in (OWN_ORDER, ONE_ORDER, TIMEOUT, TRY))
    return [
        f"Each in its own order, {wrong.circles} deadlocks in {plan.rounds} rounds. None ended by itself in the "
        f"{plan.stuck_s * 1e3:.0f} ms that each was watched; {wrong.gave_up} times one was told to give up, and its "
        "round was lost.",
        f"With one order for all, {order.circles}: everybody waits only for a higher lock than he has, so a chain of "
        f"waiting climbs and cannot come back to where it began. {order.finished} of {all_rounds} rounds finished.",
        f"A time-out lets deadlocks happen ({timeout.circles} seen) and ends them: {timeout.stepped_back} times a "
        f"thread gave its first lock back and tried again. A try never waits with a lock in its hand, so there were "
        f"{attempt.circles}, at the price of {attempt.stepped_back} tries more.",
        "A plain lock taken twice by one thread is the smallest circle: it waits for itself. An RLock counts instead.",
    ]


LESSON = Lesson(
    name="deadlock",
    title="A deadlock: each holds what the other waits for",
    claim="Locks taken in different orders end in a deadlock that does not end by itself; one order for all never "
    "does, and a time-out or a try gets out of it.",
    wrong="Each takes its own lock first and then waits, with that in its hand, for the other's.",
    right="The same order for everybody; where that cannot be, a limit to the wait, and give back before trying again.",
    service="A purchase takes the epoch's lock of service/control.py first and the event's guard second, always so; "
    "the switch takes only the first. Every wait has a limit, LASTSEAT_LOCK_TIMEOUT_S, and ends as a 503 with nothing "
    "written. Guard thread is an RLock: with LASTSEAT_GUARD_SCOPE=request its holder enters it again.",
    run=run,
    parameters=(
        Parameter("threads", 2, "threads in the ring, and locks", 2, 6),
        Parameter("rounds", 10, "how often each thread needs its two locks", 1, 50),
        Parameter("hold_ms", 5, "how long it has the first before it asks for the second, in milliseconds", 1, 100),
        Parameter("stuck_ms", 50, "how long a deadlock is watched before it is broken, in milliseconds", 10, 300),
        Parameter("timeout_ms", 20, "the time-out, in milliseconds", 5, 300),
    ),
    limit_s=120,
    chinese={
        **{f"{n} threads, each needs two of {n} locks": f"{n} 个线程,各需要 {n} 把锁中的两把" for n in range(2, 7)},
        "way": "方式",
        "to do": "要做的",
        "deadlocks seen": "看到的死锁",
        "had to give up": "被迫放弃",
        "stepped back": "退让重试",
        "finished": "完成",
        "took (ms)": "用时（毫秒）",
        OWN_ORDER: "各按各的顺序",
        ONE_ORDER: "统一顺序",
        TIMEOUT: "限时等待",
        TRY: "试一下，不等",
        "The same lock twice, by one thread": "同一个线程把同一把锁拿两次",
        "lock": "锁",
        "waits for itself": "自己等自己",
        "got it twice": "两次都拿到",
        "The first deadlock, as the wait-for graph": "第一次死锁的等待图",
        "thread": "线程",
        "waits for": "等待",
        "is held by": "被持有",
        "Each its own order: stuck until one is told to give up": "各按各的顺序：卡住，直到有一个被要求放弃",
        "One order for all: they wait, and nobody is stuck": "统一顺序：会等，但没有人卡死",
        "has its first lock": "拿到第一把锁",
        "waits": "等待",
        "has both": "两把都有",
        "stuck": "卡死",
    },
)
