"""The lesson on deadlocks: it happens, it is found and drawn, it never hangs, and three ways avoid or end it."""

from __future__ import annotations

import io
import threading
import time

import pytest
from rich.console import Console

from workers.lessons import load
from workers.lessons.common.figures import Arrow, Graph
from workers.lessons.common.lesson import LessonResult, run_lesson
from workers.lessons.common.svg import svg
from workers.lessons.common.terminal import show
from workers.lessons.deadlock.locks import GaveUp, WaitForGraph, WatchedLock, find_cycle
from workers.lessons.deadlock.strategies import (
    ONE_ORDER,
    OWN_ORDER,
    TIMEOUT,
    TRY,
    RingSettings,
    lock_twice,
    run_strategy,
    watch,
)

LESSON = load("deadlock")

pytestmark = pytest.mark.usefixtures("nothing_left_running")


def plan(threads: int = 2, rounds: int = 3) -> RingSettings:
    return RingSettings(threads, rounds, hold_s=0.01, stuck_s=0.02, timeout_s=0.02)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_each_in_its_own_order_they_get_stuck_and_only_giving_up_frees_them(threads: int) -> None:
    report = run_strategy(OWN_ORDER, plan(threads))
    assert report.cycles > 0
    assert report.gave_up > 0
    assert report.finished + report.gave_up == threads * 3
    assert sorted(report.first_cycle) == sorted(
        name for number in range(1, threads + 1) for name in (f"thread {number}", f"lock {number}")
    )


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_in_one_order_nobody_is_stuck(threads: int) -> None:
    report = run_strategy(ONE_ORDER, plan(threads))
    assert (report.cycles, report.gave_up, report.stepped_back) == (0, 0, 0)
    assert report.finished == threads * 3


@pytest.mark.parametrize("way", [TIMEOUT, TRY])
def test_stepping_back_finishes_everything(way: str) -> None:
    report = run_strategy(way, plan(3))
    assert report.finished == 9
    assert report.gave_up == 0
    assert report.stepped_back > 0
    if way == TRY:
        assert report.cycles == 0


def test_a_lock_taken_twice_waits_for_itself_and_an_rlock_does_not() -> None:
    plain, reentrant = lock_twice(threading.Lock(), 0.02), lock_twice(threading.RLock(), 0.02)
    assert (plain.cycles, plain.gave_up, plain.finished) == (1, 1, 0)
    assert (reentrant.cycles, reentrant.gave_up, reentrant.finished) == (0, 0, 1)


def test_a_circle_is_found_wherever_one_begins_to_look() -> None:
    assert find_cycle({"a": "x", "b": "y"}, {"x": "b", "y": "a"}) == ["a", "x", "b", "y"]
    assert find_cycle({"c": "x", "a": "x", "b": "y"}, {"x": "b", "y": "a"}) == ["b", "y", "a", "x"]
    assert find_cycle({"a": "x"}, {"x": "a"}) == ["a", "x"]


def test_a_chain_of_waiting_is_no_circle() -> None:
    assert find_cycle({}, {}) == []
    assert find_cycle({"a": "x", "b": "y"}, {"x": "b", "y": "c"}) == []
    assert find_cycle({"a": "x"}, {}) == []
    assert find_cycle({"a": "x", "b": "x"}, {"x": "c"}) == []


def test_who_waits_when_the_board_is_closed_gives_up() -> None:
    graph = WaitForGraph()
    lock = WatchedLock("lock 1", graph)
    lock.acquire()
    gave_up = threading.Event()

    def wait() -> None:
        try:
            lock.acquire()
        except GaveUp:
            gave_up.set()

    thread = threading.Thread(target=wait)
    thread.start()
    graph.close()
    thread.join(10)
    assert gave_up.is_set()
    lock.release()


def test_a_watch_that_is_interrupted_frees_those_who_are_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = WaitForGraph()
    lock = WatchedLock("lock 1", graph)
    gave_up = []

    def stuck() -> None:
        lock.acquire()
        try:
            lock.acquire()
        except GaveUp:
            gave_up.append(True)

    def interrupt() -> tuple[list[str], frozenset[int]]:
        time.sleep(0.02)
        raise KeyboardInterrupt

    monkeypatch.setattr(graph, "cycle", interrupt)
    with pytest.raises(KeyboardInterrupt):
        watch({"thread 1": stuck}, graph, stuck_s=1, break_cycles=False)
    assert gave_up == [True]


def test_the_lesson_holds_and_draws_the_circle() -> None:
    findings = run_lesson(LESSON, {"rounds": 4, "stuck_ms": 20})
    assert findings.holds
    measured = findings.measured
    assert measured["each_its_own_order_circles"] > 0 == measured["one_order_for_all_circles"]
    assert measured["each_its_own_order_gave_up"] > 0 == measured["a_timeout_gave_up"]
    assert measured["a_timeout_finished"] == measured["a_try_no_wait_finished"] == measured["rounds"] == 8
    assert measured["lock_twice_stuck"] is True
    assert measured["rlock_twice_stuck"] is False
    graph = findings.figures[0]
    assert isinstance(graph, Graph)
    assert {(arrow.start, arrow.end) for arrow in graph.arrows} == {
        ("thread 1", "lock 2"), ("lock 2", "thread 2"), ("thread 2", "lock 1"), ("lock 1", "thread 1"),
    }  # fmt: skip


def test_the_circle_is_drawn_in_both_languages_and_written_in_the_terminal() -> None:
    circle = ["thread 1", "lock 2", "thread 2", "lock 1"]
    arrows = [Arrow("thread 1", "lock 2", "waits for", "bad"), Arrow("lock 2", "thread 2", "is held by", "bad")]
    graph = Graph("Who waits", circle, arrows, frozenset({"lock 1", "lock 2"}))
    drawn, chinese = svg(graph), svg(graph, LESSON.told_in("zh").translate)
    assert all(f">{name}</text>" in drawn for name in circle)
    assert drawn.count("marker-end") == 2
    assert ">线程 1</text>" in chinese
    assert ">等待</text>" in chinese
    console = Console(width=80, record=True, file=io.StringIO())
    show(console, LESSON, LessonResult(True, {}, figures=[graph]))
    assert "thread 1  ╌╌ waits for ╌▶  lock 2" in console.export_text()


@pytest.mark.parametrize(
    ("name", "value"), [("threads", 1), ("threads", 1_000_000), ("rounds", 0), ("stuck_ms", -1), ("timeout_ms", "none")]
)
def test_wrong_parameters_are_refused(name: str, value: int | str) -> None:
    with pytest.raises(ValueError, match=name):
        run_lesson(LESSON, {name: value})
