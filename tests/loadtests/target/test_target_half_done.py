"""Purchases of several steps that stop half way, at an honest shop that is drawn at random: never *invalid*.

The shop sets a ticket aside in the first step, and takes it back some time after a purchase that did not come to its
end. What the adapter makes of that in the history must be right whenever the ticket came back.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from loadtests.lab.checks.judging import judge
from loadtests.lab.history.history import History

CAPACITY = 3
Line = dict[str, Any]


class Drawn:
    """A sale at an honest shop: what happened at which instant, and the intervals in which buyers saw it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.lines: list[Line] = []
        self.half_done = 0
        self.acts: list[tuple[int, int, str]] = []
        for process in range(12):
            self.acts.append((self.rng.randrange(10, 500), process, self.rng.choice(["buy", "buy", "read"])))

    def play(self) -> list[Line]:
        """Every act at its instant, and what comes of it at later ones."""
        left, pending = CAPACITY, sorted(self.acts)
        while pending:
            now, process, act = pending.pop(0)
            if act == "read":
                self.add("read", process, now, now, remaining=left)
            elif act == "back":
                left += 1
            elif left == 0:
                self.add("buy", process, now, now, outcome="sold_out", key=f"k{process}", quantity=1)
            else:
                left -= 1
                back = self.bought(process, now)
                if back is not None:
                    pending = sorted([*pending, (back, process, "back")])
        return self.lines

    def bought(self, process: int, now: int) -> int | None:
        """A ticket is set aside: the records of what follows, as the adapter makes them; when it comes back."""
        key, paid = f"k{process}", now + self.rng.randrange(5, 60)
        fate = self.rng.choice(["paid", "paid", "paid", "lost", "stopped", "given back", "payment lost"])
        if fate == "paid":
            self.add("buy", process, now, paid, key=key, quantity=1, order=f"o{process}")
            return None
        self.half_done += 1
        back = paid + self.rng.randrange(1, 80)
        if fate == "lost":  # no answer to the first step: the ticket may have been set aside, or sold for ever
            self.add("hold", process, now, None, outcome="unknown", key=key, quantity=1, hold=key)
            return back
        held = self.add("hold", process, now, now, key=key, quantity=1, hold=key)
        begin = held["return_ns"]
        if fate == "given back":
            release = self.add("release", process, max(paid, begin), max(paid, begin), key=f"{key}-b", hold=key)
            return int(self.rng.randint(release["invoke_ns"], release["return_ns"]))
        self.lines.append(self.line("confirm", process, begin, None, outcome="unknown", key=f"{key}-c", hold=key))
        return None if fate == "payment lost" else back

    def add(self, op: str, process: int, first: int, last: int | None, **fields: Any) -> Line:
        """An operation whose interval has both instants inside."""
        began = first - self.rng.randrange(0, 5)
        self.lines.append(
            self.line(op, process, began, None if last is None else last + self.rng.randrange(0, 5), **fields)
        )
        return self.lines[-1]

    @staticmethod
    def line(op: str, process: int, began: int, ended: int | None, outcome: str = "ok", **fields: Any) -> Line:
        return {"op": op, "process": process, "event": "e", "invoke_ns": began, "return_ns": ended, "outcome": outcome,
                **fields}  # fmt: skip


@pytest.fixture(scope="module")
def sales() -> list[tuple[list[Line], int]]:
    drawn = [Drawn(seed) for seed in range(400)]
    return [(each.play(), each.half_done) for each in drawn]


@pytest.mark.slow
def test_an_honest_shop_is_never_invalid_whenever_its_tickets_come_back(sales: list[tuple[list[Line], int]]) -> None:
    for lines, _ in sales:
        verdict = judge(History.of(lines), {}, capacity=CAPACITY)
        assert verdict.verdict != "invalid", (verdict.why, lines)
    assert sum(half > 0 for _, half in sales) > 200


@pytest.mark.slow
def test_as_purchases_of_which_nothing_is_known_it_would_be(sales: list[tuple[list[Line], int]]) -> None:
    """The negative control: one unknown purchase for each that stopped half way."""
    wrong = 0
    for lines, half in sales:
        if half:
            known = [line for line in lines if line["op"] in {"buy", "read"}]
            stopped = [
                line | {"op": "buy", "outcome": "unknown", "return_ns": None} for line in lines if line["op"] == "hold"
            ]
            wrong += judge(History.of([*known, *stopped]), {}, capacity=CAPACITY).verdict == "invalid"
    assert wrong > 20
