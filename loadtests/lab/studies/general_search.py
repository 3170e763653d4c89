"""The general search for a linearization, which ``checks`` avoids; a small one, for comparison only.

Wing and Gong's algorithm with Lowe's memory of visited configurations, as in Knossos and Porcupine: take an operation
that no remaining operation must precede, apply it to the model, continue, and take it back if that leads nowhere.
Invocations and returns stand in one doubly linked list; an operation is lifted from the list when it is applied, and
put back when it is taken back. A configuration is remembered by a random 128-bit hash of its operations, and its state.

The model is a ticket counter: a purchase is *ok* or *sold out*, a cancellation gives places back, a read shows the
remaining places. Versions and ticket numbers, which tell the order, are ignored: a general search has none.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loadtests.lab.history.history import BUY, CANCEL, FAIL, OK, READ, SOLD_OUT, UNKNOWN, History

_STEPS_BETWEEN_CLOCKS = 1024


@dataclass(frozen=True)
class _Call:
    """An operation of the model: it is possible if ``taken`` is in a range, and changes ``taken``."""

    least: int
    most: int
    change: int
    required: bool


def search(history: History, capacity: int, limit_s: float) -> Literal["valid", "invalid", "gave up"]:
    """Search for a linearization for at most ``limit_s`` seconds. Holds and retries are not supported."""
    calls = _calls(history, capacity)
    moments = sorted(
        [(int(history.invoke_ns[row]), 0, row) for row in calls]
        + [(int(history.return_ns[row]), 1, row) for row in calls if calls[row].required]
    )
    return _Search(calls, moments).run(time.monotonic() + limit_s)


class _Search:
    """The list of moments, 1 to n: even tags are invocations, and 0 is both the head and the end."""

    def __init__(self, calls: dict[int, _Call], moments: list[tuple[int, int, int]]) -> None:
        self.call = [_Call(0, 0, 0, False), *(calls[row] for _, _, row in moments)]
        self.is_return = [False, *(bool(kind) for _, kind, _ in moments)]
        place = {(kind, row): at for at, (_, kind, row) in enumerate(moments, 1)}
        self.partner = [0, *(place.get((1 - kind, row), 0) for _, kind, row in moments)]
        count = len(moments)
        self.next = [*range(1, count + 1), 0]
        self.previous = [count, *range(count)]
        self.mark = [random.Random(at).getrandbits(128) for at in range(count + 1)]

    def run(self, deadline: float) -> Literal["valid", "invalid", "gave up"]:
        missing = sum(call.required for call in self.call) // 2
        taken, done, steps = 0, 0, 0
        stack: list[int] = []
        visited: set[tuple[int, int]] = set()
        at = self.next[0]
        while missing:
            steps += 1
            if steps % _STEPS_BETWEEN_CLOCKS == 0 and time.monotonic() > deadline:
                return "gave up"
            if at and not self.is_return[at]:
                call = self.call[at]
                configuration = (done ^ self.mark[at], taken + call.change)
                if call.least <= taken <= call.most and configuration not in visited:
                    visited.add(configuration)
                    done, taken = configuration
                    missing -= call.required
                    self._lift(at)
                    stack.append(at)
                    at = self.next[0]
                else:
                    at = self.next[at]
            elif stack:  # the next event is a return that cannot be applied yet: take an operation back
                at = stack.pop()
                self._give_back(at)
                done ^= self.mark[at]
                taken -= self.call[at].change
                missing += self.call[at].required
                at = self.next[at]
            else:
                return "invalid"
        return "valid"

    def _lift(self, at: int) -> None:
        for place in (at, self.partner[at]):
            if place:
                self.next[self.previous[place]] = self.next[place]
                self.previous[self.next[place]] = self.previous[place]

    def _give_back(self, at: int) -> None:
        for place in (self.partner[at], at):
            if place:
                self.next[self.previous[place]] = place
                self.previous[self.next[place]] = place


def _calls(h: History, capacity: int) -> dict[int, _Call]:
    said = (h.outcome != FAIL) & ~((h.op == READ) & (h.outcome == UNKNOWN))
    bought = {int(h.order[row]): int(h.quantity[row]) for row in np.flatnonzero((h.op == BUY) & (h.outcome == OK))}
    calls = {}
    for row in np.flatnonzero(said).tolist():
        op, outcome, quantity = h.op[row], h.outcome[row], int(h.quantity[row])
        required = bool(outcome != UNKNOWN)
        if op == READ:
            shown = capacity - int(h.remaining[row])
            calls[row] = _Call(shown, shown, 0, required)
        elif op == CANCEL:
            quantity = bought.get(int(h.order[row]), 0)
            calls[row] = _Call(quantity, capacity, -quantity, required)
        elif outcome == SOLD_OUT:
            calls[row] = _Call(capacity - quantity + 1, capacity, 0, required)
        else:
            calls[row] = _Call(0, capacity - quantity, quantity, required)
    return calls
