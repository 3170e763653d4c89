"""The verdict on an event that its admin changed: the capacity at each version is that of the audit."""

from __future__ import annotations

from typing import Any

import pytest

from loadtests.lab.checks.judging import judge
from loadtests.lab.history.audit import Audit
from loadtests.lab.history.history import History

Line = dict[str, Any]


def buy(number: int, version: int, outcome: str = "ok", *, tickets: list[int] | None = None, left: int = 0) -> Line:
    line: Line = {
        "process": number, "op": "buy", "event": "show", "key": f"k{number}", "quantity": 1, "outcome": outcome,
        "invoke_ns": 10 * number, "return_ns": 10 * number + 15, "version": version, "remaining": left,
    }  # fmt: skip
    return line | ({"order": f"o{number}", "tickets": tickets} if tickets else {})


SOLD_1: Line = {"version": 1, "kind": "sold", "key": "k1", "order": "o1", "quantity": 1, "tickets": [1]}
SOLD_3: Line = {"version": 3, "kind": "sold", "key": "k3", "order": "o3", "quantity": 1, "tickets": [2]}


def amended(version: int, before: int, after: int) -> Line:
    return {"version": version, "kind": "amended", "key": "admin", "capacity_before": before, "capacity": after}


def verdict(history: list[Line], *records: Line, end: int) -> Any:
    header = {"event": "show", "capacity": end, "versions": len(records)}
    audit = Audit.of([header, *records])
    return judge(History.of(history), {"show": audit}, capacity=1)


GOOD = [
    buy(1, 1, tickets=[1], left=0),
    buy(2, 1, "sold_out", left=0),
    buy(3, 3, tickets=[2], left=0),
]


def wrong(found: Any) -> set[str]:
    return {each.violation for check in found.checks for each in check.witness}


def test_a_sale_that_was_made_larger_is_judged_by_the_capacity_of_each_version() -> None:
    found = verdict(GOOD, SOLD_1, amended(2, 1, 2), SOLD_3, end=2)
    assert (found.verdict, wrong(found)) == ("valid", set())


def test_without_the_change_the_same_sale_is_oversold() -> None:
    """The negative control."""
    sold_2 = SOLD_3 | {"version": 2}
    found = verdict([GOOD[0], GOOD[1], GOOD[2] | {"version": 2, "remaining": -1}], SOLD_1, sold_2, end=1)
    assert found.verdict == "invalid"
    assert "oversold" in wrong(found)


@pytest.mark.parametrize(
    ("history", "records", "end", "violation"),
    [
        ([*GOOD[:2], buy(3, 2, "sold_out", left=1)], [SOLD_1, amended(2, 1, 2)], 2, "false sold-out"),
        ([*GOOD[:2], GOOD[2] | {"remaining": 3}], [SOLD_1, amended(2, 1, 2), SOLD_3], 2, "wrong read"),
        (GOOD, [SOLD_1, amended(2, 1, 2), SOLD_3, amended(4, 2, 1)], 1, "over-recorded"),
        (GOOD, [SOLD_1, amended(2, 2, 2), SOLD_3], 2, "torn audit"),
    ],
)
def test_what_the_change_does_not_allow_is_found(
    history: list[Line], records: list[Line], end: int, violation: str
) -> None:
    found = verdict(history, *records, end=end)
    assert found.verdict == "invalid"
    assert violation in wrong(found)
