"""The checker against a brute-force search that shares nothing with it.

``make soak`` runs hundreds of thousands of seeds instead of a few thousand; a failing seed is in the message.
"""

from __future__ import annotations

from collections import Counter

import pytest
from agreement import TIERS, posed
from oracle import is_linearizable
from simulated import drawn

from loadtests.lab.checks.judging import judge
from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.history.history import Audit, History, HistoryError

SEEDS = {"A": 800, "B": 800, "C": 800, "S": 600, "N": 600}
SOAK_SEEDS = 150_000


def line(op: str, invoke: int, returned: int, outcome: str = "ok", **more: object) -> dict[str, object]:
    fields = {"process": invoke, "event": "show", "invoke_ns": invoke, "return_ns": returned, "outcome": outcome}
    return {"op": op, **fields, **more}


def test_the_oracle_finds_an_oversell() -> None:
    one = line("buy", 0, 9, key="a", quantity=1)
    other = line("buy", 1, 9, key="b", quantity=1)
    assert is_linearizable([one, other], None, 2)
    assert not is_linearizable([one, other], None, 1)


def test_the_oracle_finds_a_stale_read() -> None:
    sale = line("buy", 0, 5, key="a", quantity=1)
    assert is_linearizable([sale, line("read", 5, 9, remaining=1)], None, 1)
    assert not is_linearizable([sale, line("read", 6, 9, remaining=1)], None, 1)


def test_the_oracle_finds_a_seat_that_two_have() -> None:
    one = line("buy", 0, 9, key="a", quantity=1, wanted=["x"], seats=["x"])
    other = line("buy", 1, 9, key="b", quantity=1, wanted=["x"], seats=["x"])
    refused = line("buy", 1, 9, "seat_taken", key="b", quantity=1, wanted=["x"], taken=["x"])
    assert not is_linearizable([one, other], None, 9)
    assert is_linearizable([one, refused], None, 9)
    assert not is_linearizable([refused], None, 9)


def test_the_oracle_keeps_a_hold_for_its_time() -> None:
    hold = line("hold", 0, 9, key="a", quantity=1, wanted=["x"], seats=["x"], hold="h", seconds=2e-8)
    late = line("buy", 10, 21, key="b", quantity=1, wanted=["x"], seats=["x"])
    assert is_linearizable([hold, late], None, 1)
    assert not is_linearizable([hold, {**late, "return_ns": 19}], None, 1)


@pytest.mark.parametrize("tier", ["A", "S", "N"])
def test_the_drawn_histories_are_good_and_bad(tier: str) -> None:
    histories = [each for each in (posed(seed, tier) for seed in range(100)) if each is not None]
    assert 20 < sum(each.truth for each in histories) < 96


@pytest.mark.slow
@pytest.mark.parametrize("tier", TIERS)
def test_the_checker_agrees_with_the_brute_force_search(tier: str) -> None:
    agree(tier, range(SEEDS[tier]))


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("tier", TIERS)
def test_the_checker_agrees_with_the_brute_force_search_at_length(tier: str) -> None:
    agree(tier, range(SEEDS[tier], SEEDS[tier] + SOAK_SEEDS))


def test_events_do_not_touch_each_other() -> None:
    for seed in range(0, 150, 2):
        one, other = drawn(seed, "A"), drawn(seed + 1, "A")
        lines = [{**line, "process": line["process"] + 50, "event": "late"} for line in other.lines]
        try:
            apart = [History.of(one.lines), History.of(lines)]
        except HistoryError:
            continue
        if apart[0].marks_replays != apart[1].marks_replays:
            continue
        audits = {"show": Audit.of(one.audit)} if one.audit else {}
        if other.audit:
            audits["late"] = Audit.of([{**other.audit[0], "event": "late"}, *other.audit[1:]])
        together = judge(History.of(one.lines + lines), audits, capacity=one.capacity)
        alone = [judge(history, audits, capacity=one.capacity) for history in apart]
        found = sum((violations(verdict) for verdict in alone), Counter())
        assert violations(together) == found
        assert together.events == {**alone[0].events, **alone[1].events}


def violations(verdict: Verdict) -> Counter[str]:
    return sum((Counter(result.violations) for result in verdict.checks), Counter())


def agree(tier: str, seeds: range) -> None:
    judged = 0
    for seed in seeds:
        history = posed(seed, tier)
        if history is not None:
            judged += 1
            assert history.disagreement() is None
    assert judged > 0.9 * len(seeds)
