"""The explorer's own power: each of these bugs of the service is found, by this schedule, and none without the bug."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import planted_bugs as bugs
import pytest

from loadtests.lab.explore.exploration import ExplorationResult, Scenario, run
from loadtests.lab.explore.programs import parse_programs

pytestmark = pytest.mark.servers


def scenario(name: str, **given: Any) -> Scenario:
    return Scenario.of(name, guard="file", worker="gthread", **given)


def scripts(*programs: str, **given: Any) -> Scenario:
    return Scenario.of_programs(parse_programs(programs), guard="file", worker="gthread", **given)


PURCHASES = Scenario(guard="file", worker="gthread")
KILLED = Scenario(guard="file", worker="gthread", tickets=2, gates=("view",), kill=True)
COMBINED = Scenario(guard="file", worker="sync", tickets=2, gates=("view", "release"), may=("combiner",), most=8)

FOUND: list[tuple[Callable[[], None], Scenario, int, str]] = [
    (bugs.a_confirmation_that_does_not_look_at_the_hold, scenario("expiry"), 3, "2.json.file.expiry.1.ivp.tAAABBB"),
    (bugs.an_expiry_decided_by_two_clocks, scenario("expiry"), 8, "2.json.file.expiry.1.ivp.AtAABBB"),
    (bugs.a_hold_that_keeps_nothing_from_others, scenario("expiry"), 2, "2.json.file.expiry.1.ivp.BBBAAA"),
    (
        bugs.a_hold_whose_tickets_are_freed_twice,
        scripts("A: hold; release", "B: buy, buy", most=20),
        3,
        "2.json.file.hold:release/buy,buy.1.ivp.tAAABBBBBB",
    ),
    (bugs.a_sweep_outside_of_the_guard, scenario("sweep"), 16, "2.json.file.sweep.1.ivp.tBBAAAB"),
    (bugs.a_retry_without_its_key, scenario("retry"), 1, "2.json.file.retry.2.ivp.AAABBB"),
    (bugs.a_key_looked_up_before_the_guard, scenario("retry"), 3, "2.json.file.retry.2.ivp.ABAABB"),
    (
        bugs.a_cancellation_that_gives_back_twice,
        scripts("A: buy; cancel, cancel", "B: buy 2"),
        1,
        "2.json.file.buy:cancel,cancel/buy=2.1.ivp.AAAAAABBB",
    ),
    (bugs.a_cart_written_event_by_event, scenario("cart"), 2, "2.json.file.cart.1.ivp.BBBAAAA"),
    (bugs.a_seat_looked_up_before_the_lock, scenario("seats", tickets=3), 3, "2.json.file.seats.3.ivp.ABAABB"),
    (bugs.a_view_read_before_the_guard_is_taken, PURCHASES, 3, "1.json.file.2x1.avpw.ABAAABBB"),
    (bugs.a_guard_given_back_before_the_write, PURCHASES, 4, "1.json.file.2x1.avpw.AABBBBAA"),
    (
        bugs.a_cache_that_outlives_the_write_of_another_process,
        Scenario(guard="file"),
        1,
        "1.json.file.2x1.avpw.AAAABBBB",
    ),
    (
        bugs.a_look_at_what_was_read_before,
        scripts("A: buy", "B: read, read"),
        5,
        "2.json.file.buy/read,read.1.ivp.BAAAB",
    ),
    (
        bugs.a_version_that_nobody_compares,
        Scenario(store="journal", guard="optimistic", worker="gthread", most=20),
        4,
        "1.journal.optimistic.2x1.avpw.AABBBBAA",
    ),
    (bugs.an_answer_before_the_write, KILLED, 3, "1.json.file.2x2.v.Ab"),
    (bugs.a_combiner_that_answers_before_the_write, COMBINED, 1, "1.json.file.2x2.vprd.AAAA"),
    (bugs.a_withdrawal_after_sending, COMBINED, 8, "2.json.file.buy/buy.2.vprd.AA+"),
]


@functools.cache
def without_a_bug(case: Scenario) -> ExplorationResult:
    return run(case)


@pytest.mark.parametrize(
    ("bug", "case", "tried", "replay"),
    [
        pytest.param(*each, id=each[0].__name__, marks=[pytest.mark.soak] if each[1] is COMBINED else [])
        for each in FOUND
    ],
)
def test_a_planted_bug_is_found_and_nothing_is_where_there_is_none(
    bug: Callable[[], None], case: Scenario, tried: int, replay: str, tmp_path: Path
) -> None:
    """It is found among the first ``tried`` schedules; ``replay`` is how the id of the losing one begins."""
    control = without_a_bug(case)
    assert (control.failing, control.first) == (0, None)
    with bugs.planted(bug, tmp_path):
        found = run(msgspec.structs.replace(case, most=tried)).first
    assert found is not None
    assert found.replay.startswith(replay)
