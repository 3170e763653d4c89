"""What is the best and what are neighbours, as the checker says and as the rules are written out naively."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import seat_rules
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.lab.checks.judging import judge
from loadtests.lab.checks.seats import best
from loadtests.lab.history.history import Audit, History
from loadtests.lab.protocol.halls import Hall

WIDTHS = st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=3), min_size=1, max_size=2)


def hall_of(widths: list[list[int]]) -> dict[str, Any]:
    return {
        "sections": [
            {"name": name, "rows": [{"name": str(at), "seats": width} for at, width in enumerate(rows)]}
            for name, rows in zip("sb", widths, strict=False)
        ]
    }


@given(WIDTHS, st.integers(1, 4), st.booleans(), st.sampled_from([None, "s", "b"]), st.randoms(use_true_random=False))
def test_the_best_seats_are_those_of_the_rules(
    widths: list[list[int]], quantity: int, together: bool, section: str | None, rng: Any
) -> None:
    told = hall_of(widths)
    hall, every = Hall.of(told), seat_rules.seats_of(told)
    section = section if section in hall.section_names else None
    taken = set(rng.sample(every, rng.randint(0, len(every))))
    free = np.array([seat not in taken for seat in every])
    found = hall.best(free, quantity, together=together, section=section)
    assert (None if found is None else [every[seat] for seat in found]) == seat_rules.best(
        told, taken, quantity, together, section
    )


@pytest.mark.slow
@settings(max_examples=300)
@given(WIDTHS, st.integers(1, 4), st.booleans(), st.sampled_from([None, "s", "b"]), st.randoms(use_true_random=False))
def test_other_seats_than_the_best_are_found(
    widths: list[list[int]], quantity: int, together: bool, section: str | None, rng: Any
) -> None:
    """Some seats are sold by name, then some that are free are given as the best: the best ones, or any."""
    told = hall_of(widths)
    every = seat_rules.seats_of(told)
    section = section if section in [each["name"] for each in told["sections"]] else None
    taken = rng.sample(every, rng.randint(1, len(every)))
    free = [seat for seat in every if seat not in taken]
    right_ones = seat_rules.best(told, set(taken), quantity, together, section)
    outcome, seats = (
        "ok",
        right_ones if right_ones is not None and rng.random() < 0.5 else rng.sample(free, min(quantity, len(free))),
    )
    if len(seats) < quantity or rng.random() < 0.2:
        outcome, seats = "not_together", []
    wish = {"quantity": quantity, "together": together, "section": section}
    verdict = judge(*history(told, taken, outcome, seats, wish))
    there = [seat for seat in seat_rules.seats_of(told, section) if seat in free]
    if outcome == "ok":
        right = sorted(seats) == sorted(right_ones or [])
    else:
        right = len(there) >= quantity and seat_rules.best(told, set(taken), quantity, True, section) is None
    (found,) = [check for check in verdict.checks if check.name == "seats free"]
    assert (found.verdict == "valid") == right


def history(
    hall: dict[str, Any], taken: list[str], outcome: str, seats: list[str], wish: dict[str, Any]
) -> tuple[History, dict[str, Audit]]:
    """A sale by name and a request for the best after it, with their audit."""
    first = {"quantity": len(taken), "tickets": list(range(1, len(taken) + 1)), "seats": taken, "order": "o1"}
    second: dict[str, Any] = {"version": 1}
    records = [{"version": 1, "kind": "sold", "key": "a", **first}]
    if outcome == "ok":
        tickets = list(range(len(taken) + 1, len(taken) + len(seats) + 1))
        second |= {"version": 2, "tickets": tickets, "seats": seats, "order": "o2"}
        records.append({"version": 2, "kind": "sold", "key": "b", "quantity": len(seats), **second})
    lines = [
        {"process": 1, "op": "buy", "key": "a", "invoke_ns": 1, "return_ns": 9, "outcome": "ok", "version": 1}
        | {"wanted": taken, **first},
        {"process": 2, "op": "buy", "key": "b", "invoke_ns": 5, "return_ns": 15, "outcome": outcome, **wish, **second},
    ]
    header = {"event": "e", "capacity": len(seat_rules.seats_of(hall)), "hall": hall, "versions": len(records)}
    return History.of([line | {"event": "e"} for line in lines]), {"e": Audit.of([header, *records])}


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4), st.integers(1, 9), st.data())
def test_the_first_run_is_that_of_a_plain_search(
    taken: list[bool], length: int, leap: int, data: st.DataObject
) -> None:
    strip, run = bytearray(taken), bytes(length)
    low = data.draw(st.integers(0, len(strip)))
    high = data.draw(st.integers(low, len(strip)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(best, "_STRETCH", leap)
        assert best._first_run(strip, run, low, high) == strip.find(run, low, high)
