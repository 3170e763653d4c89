"""The lesson on coroutines: waits overlap in one thread, and whatever does not give the thread back stops everybody."""

from __future__ import annotations

from typing import Any

import pytest

from workers.lessons import load
from workers.lessons.common.lesson import LessonResult, run_lesson
from workers.lessons.common.processes import call_in_child
from workers.lessons.coroutines.by_hand import Coroutine, add_up, switch_between
from workers.lessons.coroutines.lesson import GOES_ON, OVERLAPS

LESSON = load("coroutines")

SMALL = {"unit_ms": 20, "lasts_ms": 50, "greenlets": 6, "switches": 200}


def test_generators_take_turns_and_each_keeps_its_own_sum() -> None:
    steps: list[tuple[str, int, int]] = []
    adders = {name: add_up(name, 3, lambda *step: steps.append(step)) for name in ("a", "b")}
    results, resumed = switch_between(adders)
    assert [name for name, *_ in steps] == ["a", "b"] * 3
    assert [total for name, _, total in steps if name == "b"] == [1, 3, 6]
    assert results == {"a": 6, "b": 6}
    assert resumed == 8


def test_who_wants_to_wait_less_is_resumed_first() -> None:
    order: list[str] = []

    def wait(name: str, lasts_s: float) -> Coroutine[str]:
        yield lasts_s
        order.append(name)
        return name

    results, _ = switch_between({"long": wait("long", 0.05), "short": wait("short", 0.01)})
    assert order == ["short", "long"]
    assert results == {"short": "short", "long": "long"}


def test_no_coroutines_are_no_work() -> None:
    assert switch_between({}) == ({}, 0)


@pytest.mark.servers
@pytest.mark.usefixtures("nothing_left_running")
def test_waits_overlap_but_not_without_the_patch(findings: LessonResult) -> None:
    found = {key: value for key, value in findings.measured.items() if key.endswith("_overlaps")}
    assert list(found.values()) == list(OVERLAPS.values())


@pytest.mark.servers
@pytest.mark.parametrize("doing", [doing for doing, goes_on in GOES_ON.items() if not goes_on])
def test_nobody_else_gets_a_turn_while_one(findings: LessonResult, doing: str) -> None:
    assert _beats(findings, doing) == 0


@pytest.mark.servers
@pytest.mark.parametrize("doing", [doing for doing, goes_on in GOES_ON.items() if goes_on])
def test_others_go_on_while_one(findings: LessonResult, doing: str) -> None:
    assert _beats(findings, doing) > 0


@pytest.mark.servers
def test_a_flock_between_two_greenlets_of_one_thread_hangs(findings: LessonResult) -> None:
    assert findings.measured["flock_between_greenlets_hangs"] is True


@pytest.mark.servers
def test_filelock_imported_before_the_patch_lets_everybody_in(findings: LessonResult) -> None:
    assert findings.measured["filelock_imported_before_lets_in"] > 1
    assert findings.measured["filelock_imported_after_lets_in"] == 1


@pytest.mark.servers
def test_one_thread_is_no_lock_where_something_waits(findings: LessonResult) -> None:
    assert findings.measured["left_at_once"] == 0
    assert findings.measured["left_waits_between"] == 5
    assert findings.measured["left_waits_between_with_a_lock"] == 0


@pytest.mark.servers
def test_the_claim_holds(findings: LessonResult) -> None:
    assert findings.holds


@pytest.mark.servers
def test_the_main_process_is_never_patched(findings: LessonResult) -> None:
    assert call_in_child("tests.workers.test_lesson_coroutines:patched_after_the_lesson", timeout_s=60) == []


def patched_after_the_lesson() -> list[str]:
    """In a fresh interpreter: which modules gevent has patched once the lesson is over."""
    run_lesson(LESSON, SMALL)
    from gevent import monkey

    return [module for module in ("time", "socket", "threading") if monkey.is_module_patched(module)]


@pytest.mark.parametrize("given", [{"unit_ms": 0}, {"greenlets": 1}, {"switches": 10**9}, {"lasts_ms": "long"}])
def test_wrong_parameters_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        run_lesson(LESSON, given)


def _beats(findings: LessonResult, doing: str) -> int:
    key = doing.replace(",", "").replace(".", "_").replace(" ", "_")
    beats: int = findings.measured[f"beats_while_it_{key}"]
    return beats
