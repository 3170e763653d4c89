"""The line: who waits is decided together, who gives up is out for certain, nobody is excluded by standing in it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from service.errors import Problem
from service.guards import Transaction
from service.rules.inventory import Outcome, Refusal, Sell, View
from service.runtime.notifications import Signal
from service.sales.batch import Line, Purchases, Take, Waiting
from service.stores.base import OneRefused

FAR = 90.0


class Hall:
    """A guard to wait for, in the test's hands: leaders stand at ``door`` until it is opened."""

    def __init__(self, limit: int) -> None:
        self.line = Line(limit)
        self.door = threading.Semaphore(0)
        self.decided: list[list[str]] = []
        self.leaders_waiting = threading.Semaphore(0)
        self.finish = threading.Event()
        self.finish.set()
        self.taken = threading.Semaphore(0)

    def lead(self, take: Take) -> Purchases:
        self.leaders_waiting.release()
        assert self.door.acquire(timeout=FAR)
        commands = take()
        self.taken.release()
        assert self.finish.wait(FAR)
        self.decided.append([command.key for command in commands])
        transaction: Purchases = Transaction(None, ["show"], lambda: [take()], no_thought, 0.0)  # type: ignore[arg-type]
        transaction.outcomes = [Refusal(command.key, 0, 0) for command in commands]
        return transaction

    def join(self, key: str, *, patience_s: float = FAR, answer_s: float = FAR) -> Waiting:
        now = time.monotonic()
        return self.line.run(Sell(key, "", key, 1), now + patience_s, now + answer_s, self.lead)

    def length(self) -> int:
        return len(self.line._waiting)


def no_thought(*_: object) -> tuple[list[Outcome], list[View]]:
    return [], []


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + FAR
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.001)


def stand_in_line(pool: ThreadPoolExecutor, hall: Hall, keys: str, **patience: float) -> list[Future[Waiting]]:
    """Let them join one after the other, so that the order of arrival is known."""
    futures = []
    for key in keys:
        before = hall.length()
        futures.append(pool.submit(hall.join, key, **patience))
        until(lambda before=before: hall.length() == before + 1)  # type: ignore[misc]
    return futures


def test_those_who_wait_are_decided_together_in_order_of_arrival() -> None:
    hall = Hall(limit=10)
    with ThreadPoolExecutor(8) as pool:
        futures = stand_in_line(pool, hall, "abcde")
        hall.door.release()
        outcomes = [future.result(FAR).outcome for future in futures]
    assert hall.decided == [["a", "b", "c", "d", "e"]]
    assert [outcome.code for outcome in outcomes if isinstance(outcome, Refusal)] == list("abcde")


def test_no_more_than_the_limit_are_taken_and_the_next_one_leads() -> None:
    hall = Hall(limit=2)
    with ThreadPoolExecutor(8) as pool:
        futures = stand_in_line(pool, hall, "abcde")
        for _ in range(3):
            hall.door.release()
        for future in futures:
            future.result(FAR)
    assert sorted(hall.decided) == [["a", "b"], ["c", "d"], ["e"]]


def test_one_at_a_time_waits_for_the_guard_but_deciding_is_not_excluded() -> None:
    """Batching is not exclusion: while the first decides, the second is already inside too."""
    hall = Hall(limit=1)
    hall.finish.clear()
    with ThreadPoolExecutor(8) as pool:
        futures = stand_in_line(pool, hall, "ab")
        assert hall.leaders_waiting.acquire(timeout=FAR)
        assert not hall.leaders_waiting.acquire(blocking=False)
        hall.door.release(2)
        assert hall.taken.acquire(timeout=FAR)
        assert hall.taken.acquire(timeout=FAR)
        hall.finish.set()
        for future in futures:
            future.result(FAR)


def test_a_waiter_who_gives_up_is_never_decided() -> None:
    hall = Hall(limit=10)
    with ThreadPoolExecutor(8) as pool:
        futures = stand_in_line(pool, hall, "a") + stand_in_line(pool, hall, "b", patience_s=1.0)
        with pytest.raises(Problem) as problem:
            futures[1].result(FAR)
        hall.door.release()
        futures[0].result(FAR)
    assert problem.value.code == "lock_timeout"
    assert problem.value.kind.definite
    assert hall.decided == [["a"]]


def test_a_waiter_whose_command_was_taken_waits_for_the_outcome_past_the_limit() -> None:
    hall = Hall(limit=10)
    hall.finish.clear()
    with ThreadPoolExecutor(8) as pool:
        futures = stand_in_line(pool, hall, "a") + stand_in_line(pool, hall, "b", patience_s=2.5)
        limit = time.monotonic() + 2.5
        hall.door.release()
        assert hall.taken.acquire(timeout=FAR)
        until(lambda: time.monotonic() > limit)
        hall.finish.set()
        assert futures[1].result(FAR).outcome == Refusal("b", 0, 0)


class Torn(BaseException):
    """Thrown into somebody who waits, as gevent does when a worker stops."""


def test_who_is_thrown_out_when_it_is_his_turn_lets_the_next_one_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    hall = Hall(limit=1)
    whole, torn = Signal.wait, []

    def wait(signal: Signal, timeout_s: float) -> bool:
        woken = whole(signal, timeout_s)
        if threading.current_thread() is thrown_out:
            torn.append(woken)
            raise Torn
        return woken

    def be_thrown_out() -> None:
        with pytest.raises(Torn):
            hall.join("b")

    thrown_out = threading.Thread(target=be_thrown_out)
    monkeypatch.setattr(Signal, "wait", wait)
    with ThreadPoolExecutor(8) as pool:
        first = stand_in_line(pool, hall, "a")
        thrown_out.start()
        until(lambda: hall.length() == 2)
        last = stand_in_line(pool, hall, "c")
        hall.door.release(2)
        for future in first + last:
            future.result(FAR)
    thrown_out.join(FAR)
    assert (torn, hall.decided) == ([True], [["a"], ["c"]])


def test_an_outcome_that_never_comes_is_indefinite() -> None:
    hall = Hall(limit=10)
    hall.finish.clear()
    with ThreadPoolExecutor(8) as pool:
        futures = stand_in_line(pool, hall, "a") + stand_in_line(pool, hall, "b", patience_s=2.5, answer_s=2.7)
        hall.door.release()
        with pytest.raises(Problem) as problem:
            futures[1].result(FAR)
        hall.finish.set()
        futures[0].result(FAR)
    assert problem.value.code == "outcome_unknown"
    assert not problem.value.kind.definite


def test_a_leader_who_fails_before_taking_harms_nobody_else() -> None:
    hall = Hall(limit=10)
    failures = iter([Problem("lock_timeout")])

    def lead(take: Take) -> Purchases:
        for failure in failures:
            hall.leaders_waiting.release()
            assert hall.door.acquire(timeout=FAR)
            raise failure
        return hall.lead(take)

    with ThreadPoolExecutor(8) as pool:
        far = time.monotonic() + FAR
        first = pool.submit(hall.line.run, Sell("a", "", "a", 1), far, far, lead)
        assert hall.leaders_waiting.acquire(timeout=FAR)
        second = pool.submit(hall.line.run, Sell("b", "", "b", 1), far, far, lead)
        until(lambda: hall.length() == 2)
        hall.door.release(2)
        with pytest.raises(Problem):
            first.result(FAR)
        assert second.result(FAR).outcome == Refusal("b", 0, 0)
    assert hall.length() == 0


def test_those_who_were_taken_share_the_failure_of_the_transaction() -> None:
    hall = Hall(limit=10)

    def lead(take: Take) -> Purchases:
        hall.leaders_waiting.release()
        assert hall.door.acquire(timeout=FAR)
        take()
        raise Problem("storage_full")

    with ThreadPoolExecutor(8) as pool:
        far = time.monotonic() + FAR
        first = pool.submit(hall.line.run, Sell("a", "", "a", 1), far, far, lead)
        assert hall.leaders_waiting.acquire(timeout=FAR)
        second = pool.submit(hall.line.run, Sell("b", "", "b", 1), far, far, lead)
        until(lambda: hall.length() == 2)
        hall.door.release()
        for future in (first, second):
            with pytest.raises(Problem) as problem:
                future.result(FAR)
            assert problem.value.code == "storage_full"


def test_who_is_refused_for_its_own_sake_takes_nobody_along_whatever_becomes_of_the_others() -> None:
    """One is refused, and the engine goes away while the rest is decided: each is told what became of its own."""
    hall = Hall(limit=10)
    engine_is_there = True

    def lead(take: Take) -> Purchases:
        nonlocal engine_is_there
        if not engine_is_there:
            raise Problem("engine_unreachable")
        keys = {command.key for command in take()}
        if "c" in keys:
            engine_is_there = len(keys) > 1
            raise OneRefused("invalid_value")
        return Hall.lead(hall, take)

    hall.lead = lead  # type: ignore[method-assign]
    hall.door.release(10)
    first = Waiting(Sell("first", "", "first", 1), 0.0)
    hall.line._waiting.append(first)  # so that the others stand in line until all of them do
    with ThreadPoolExecutor(8) as pool:
        futures = stand_in_line(pool, hall, "abcdef")
        with hall.line._mutex:
            hall.line._waiting.remove(first)
            hall.line._next_leads()
        told = []
        for future in futures:
            try:
                told.append(future.result(FAR).outcome.code)  # type: ignore[union-attr]
            except Problem as problem:
                told.append(problem.code)
    assert told == ["a", "b", "invalid_value", *["engine_unreachable"] * 3]
