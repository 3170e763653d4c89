# ruff: noqa: C408, E501 - the tables have an operation a line
"""The runs with seats that recorded histories derive from: each valid, small, and of another kind."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from loadtests.lab.protocol.halls import Hall
from tests.loadtests.checks.recorded import Run, lines_of

HALL: dict[str, Any] = {
    "sections": [
        {"name": "stalls", "rows": [{"name": "A", "seats": 4}, {"name": "B", "seats": 3}]},
        {"name": "balcony", "rows": [{"name": "A", "seats": 3}]},
    ]
}


def a(*numbers: int) -> list[str]:
    """Seats of the first row of the stalls."""
    return [f"stalls-A-{number}" for number in numbers]


def b(*numbers: int) -> list[str]:
    """Seats of the second row of the stalls."""
    return [f"stalls-B-{number}" for number in numbers]


def up(*numbers: int) -> list[str]:
    """Seats of the only row of the balcony."""
    return [f"balcony-A-{number}" for number in numbers]


def map_of(*states: int) -> str:
    """The map with these states, in the hall's order."""
    return Hall.of(HALL).packed(np.array(states, np.uint8))


def hall() -> Run:
    """Everything that a buyer can do with seats, with versions and an audit: 10 seats in three rows."""
    first = {"replayed": False}
    lines = lines_of(
        ("buy", 100, 500, "ok", dict(key="a", quantity=2, wanted=a(2, 3), order="o1", tickets=[1, 2], seats=a(2, 3), remaining=8, version=1, **first)),
        ("read", 150, 300, "ok", dict(remaining=10, version=0, map=map_of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0))),
        ("hold", 300, 700, "ok", dict(key="b", quantity=2, together=True, section="stalls", seconds=2e-6, hold="h1", tickets=[3, 4], seats=b(1, 2), remaining=6, version=2, **first)),
        ("buy", 600, 900, "seat_taken", dict(key="c", quantity=2, wanted=a(3, 4), taken=a(3), remaining=6, version=2)),
        ("buy", 700, 1000, "ok", dict(key="d", quantity=1, order="o2", tickets=[5], seats=a(1), remaining=5, version=3, **first)),
        ("hold", 900, 1200, "not_together", dict(key="e", quantity=2, together=True, section="stalls", remaining=5, version=3)),
        ("read", 950, 1100, "ok", dict(remaining=5, version=3, map=map_of(2, 2, 2, 0, 1, 1, 0, 0, 0, 0))),
        ("confirm", 1100, 1500, "ok", dict(key="f", hold="h1", order="o3", quantity=2, tickets=[3, 4], seats=b(1, 2), remaining=5, version=4, **first)),
        ("cancel", 1300, 1700, "ok", dict(key="g", order="o1", remaining=7, version=5, **first)),
        ("hold", 1600, 2000, "ok", dict(key="h", quantity=1, wanted=up(2), seconds=5e-7, hold="h2", tickets=[6], seats=up(2), remaining=6, version=6, **first)),
        # The second hold expires at version 7.
        ("buy", 1900, 2400, "ok", dict(key="j", quantity=1, wanted=up(2), order="o4", tickets=[7], seats=up(2), remaining=6, version=8, **first)),
        ("confirm", 2300, 2600, "refused", dict(key="k", hold="h2", remaining=6, version=8)),
        ("hold", 2500, 2900, "ok", dict(key="l", quantity=2, together=True, seconds=4e-7, hold="h3", tickets=[8, 9], seats=a(2, 3), remaining=4, version=9, **first)),
        # The third hold expires at version 10; its confirmation is decided as a new sale of its own seats.
        ("confirm", 2800, 3300, "ok", dict(key="m", hold="h3", order="o5", quantity=2, tickets=[10, 11], seats=a(2, 3), remaining=4, version=11, **first)),
        ("buy", 3200, 3500, "ok", dict(key="n", quantity=2, section="balcony", order="o6", tickets=[12, 13], seats=up(1, 3), remaining=2, version=12, **first)),
        ("buy", 3400, 3700, "section_sold_out", dict(key="o", quantity=1, section="balcony", remaining=2, version=12)),
        ("read", 3500, 3800, "ok", dict(remaining=2, version=12, map=map_of(2, 2, 2, 0, 2, 2, 0, 2, 2, 2))),
        ("buy", 3600, None, "unknown", dict(key="p", quantity=1, wanted=a(4))),
        ("buy", 3900, 4200, "sold_out", dict(key="q", quantity=2, remaining=1, version=13)),
        ("buy", 3950, None, "unknown", dict(key="r", quantity=1)),
        ("hold", 4000, 4400, "ok", dict(key="s", quantity=1, wanted=b(3), seconds=9e-6, hold="h4", tickets=[15], seats=b(3), remaining=0, version=14, **first)),
        ("release", 4300, 4700, "ok", dict(key="t", hold="h4", remaining=1, version=15, **first)),
        ("read", 4500, 4900, "ok", dict(remaining=1, version=15, map=map_of(2, 2, 2, 2, 2, 2, 0, 2, 2, 2))),
        ("buy", 1450, 1600, "not_together", dict(key="u", quantity=2, together=True, section="stalls", remaining=5, version=4)),
    )  # fmt: skip
    records = [
        dict(kind="sold", key="a", order="o1", quantity=2, tickets=[1, 2], seats=a(2, 3)),
        dict(kind="held", key="b", hold="h1", quantity=2, tickets=[3, 4], seats=b(1, 2), expires_at="2026-11-23T08:00:09Z"),
        dict(kind="sold", key="d", order="o2", quantity=1, tickets=[5], seats=a(1)),
        dict(kind="confirmed", key="f", hold="h1", order="o3", quantity=2, tickets=[3, 4], seats=b(1, 2)),
        dict(kind="cancelled", key="g", order="o1", quantity=2, tickets=[1, 2], seats=a(2, 3)),
        dict(kind="held", key="h", hold="h2", quantity=1, tickets=[6], seats=up(2), expires_at="2026-11-23T08:00:02Z"),
        dict(kind="expired", hold="h2", quantity=1, tickets=[6], seats=up(2)),
        dict(kind="sold", key="j", order="o4", quantity=1, tickets=[7], seats=up(2)),
        dict(kind="held", key="l", hold="h3", quantity=2, tickets=[8, 9], seats=a(2, 3), expires_at="2026-11-23T08:00:03Z"),
        dict(kind="expired", hold="h3", quantity=2, tickets=[8, 9], seats=a(2, 3)),
        dict(kind="sold", key="m", hold="h3", order="o5", quantity=2, tickets=[10, 11], seats=a(2, 3)),
        dict(kind="sold", key="n", order="o6", quantity=2, tickets=[12, 13], seats=up(1, 3)),
        dict(kind="sold", key="p", order="o7", quantity=1, tickets=[14], seats=a(4)),
        dict(kind="held", key="s", hold="h4", quantity=1, tickets=[15], seats=b(3), expires_at="2026-11-23T08:00:20Z"),
        dict(kind="released", key="t", hold="h4", quantity=1, tickets=[15], seats=b(3)),
    ]  # fmt: skip
    header = {"event": "show", "capacity": 10, "hall": copy.deepcopy(HALL), "versions": len(records)}
    return Run(lines, {"show": [header, *({"version": n, **record} for n, record in enumerate(records, 1))]})


def one_row() -> Run:
    """Four seats in one row, of which the second is sold; three neighbours are refused."""
    row = {"sections": [{"name": "s", "rows": [{"name": "A", "seats": 4}]}]}
    return Run(
        lines_of(
            ("buy", 100, 500, "ok", dict(key="a", quantity=1, wanted=["s-A-2"], order="o1", tickets=[1], seats=["s-A-2"], remaining=3, version=1)),
            ("buy", 300, 700, "not_together", dict(key="b", quantity=3, together=True, remaining=3, version=1)),
        ),
        {
            "show": [
                {"event": "show", "capacity": 4, "hall": row, "versions": 1},
                {"version": 1, "kind": "sold", "key": "a", "order": "o1", "quantity": 1, "tickets": [1], "seats": ["s-A-2"]},
            ]
        },
    )  # fmt: skip


def lost_seat() -> Run:
    """Versions without an audit: the seat that is refused belongs to a purchase whose answer was lost."""
    return Run(
        lines_of(
            ("buy", 100, None, "unknown", dict(key="a", quantity=1, wanted=["x"])),
            ("buy", 200, 500, "seat_taken", dict(key="b", quantity=1, wanted=["x"], taken=["x"], remaining=1, version=1)),
            ("buy", 300, 700, "ok", dict(key="c", quantity=1, wanted=["y"], seats=["y"], order="o1", remaining=0, version=2)),
        ),
        capacity=2,
    )  # fmt: skip


def seats() -> Run:
    """Seats that buyers of another service choose, 3 of them; one is refused to whom somebody else was faster."""
    return Run(
        lines_of(
            ("buy", 100, 400, "ok", dict(key="a", quantity=1, seat="A1", order="o1")),
            ("buy", 150, 600, "ok", dict(key="b", quantity=1, seat="A2", order="o2")),
            ("buy", 200, 300, "sold_out", dict(key="c", quantity=1, seat="A1")),
            ("read", 700, 800, "ok", dict(remaining=1)),
        ),
        capacity=3,
    )


def versioned_seats() -> Run:
    """Seats by name with versions, and no audit: purchases and a cancellation of a service without a known hall."""
    return Run(
        lines_of(
            ("buy", 100, 500, "ok", dict(key="a", quantity=2, wanted=["x", "y"], seats=["x", "y"], order="o1", remaining=2, version=1)),
            ("buy", 300, 700, "seat_taken", dict(key="b", quantity=2, wanted=["y", "z"], taken=["y"], remaining=2, version=1)),
            ("cancel", 600, 900, "ok", dict(key="c", order="o1", remaining=4, version=2)),
            ("buy", 800, 1200, "ok", dict(key="d", quantity=1, wanted=["y"], seats=["y"], order="o2", remaining=3, version=3)),
        ),
        capacity=4,
    )  # fmt: skip


def named_seats() -> Run:
    """Seats by name of a service that tells no versions; a purchase whose answer was lost may have taken one."""
    return Run(
        lines_of(
            ("buy", 100, 500, "ok", dict(key="a", quantity=1, wanted=["x"])),
            ("buy", 200, 600, "seat_taken", dict(key="b", quantity=2, wanted=["x", "y"], taken=["x"])),
            ("buy", 300, None, "unknown", dict(key="c", quantity=1, wanted=["y"])),
            ("buy", 650, 800, "seat_taken", dict(key="d", quantity=2, wanted=["y", "z"], taken=["y"])),
            ("buy", 700, 900, "ok", dict(key="e", quantity=1, wanted=["z"])),
            ("buy", 850, 950, "seat_taken", dict(key="f", quantity=2, wanted=["y", "z"])),
        ),
        capacity=4,
    )  # fmt: skip


def held() -> Run:
    """Holds of an event without a hall that end only when their time is over: 3 places, and no audit."""
    return Run(
        lines_of(
            ("hold", 100, 300, "ok", dict(key="a", quantity=2, seconds=1e-6, hold="h1", tickets=[1, 2], remaining=1, version=1)),
            ("buy", 200, 400, "sold_out", dict(key="b", quantity=2, remaining=1, version=1)),
            ("confirm", 500, 900, "ok", dict(key="c", hold="h1", order="o1", quantity=2, tickets=[1, 2], remaining=1, version=2)),
            ("buy", 800, 1000, "ok", dict(key="d", quantity=1, order="o2", tickets=[3], remaining=0, version=3)),
        ),
        capacity=3,
    )  # fmt: skip
