"""Seats for a synthetic run: half of the purchases name theirs, the others get the best, as in an honest office."""

from __future__ import annotations

import heapq
import json
from typing import Any

from loadtests.lab.history.history import BUY, CANCEL, CONFIRM, HOLD, RELEASE
from loadtests.lab.history.synthetic import Run, Seating
from loadtests.lab.protocol.halls import Hall

ROW = 40


def seated(run: Run) -> Seating:
    """The seats of each step of a run, in a hall of one section whose rows have ``ROW`` seats.

    Raises HallError where the run's capacity is more than a hall may have.
    """
    hall = _hall(run.capacity)
    seats = Hall.of(hall)
    rank = seats.rank.tolist()
    by_rank = sorted(range(len(seats)), key=rank.__getitem__)
    is_free = [True] * len(seats)
    best, worst = list(range(len(seats))), [-each for each in range(len(seats))][::-1]
    theirs: dict[int, list[int]] = {}
    asked: dict[int, str] = {}

    def take(heap: list[int], quantity: int) -> list[int]:
        taken: list[int] = []
        while len(taken) < quantity:
            seat = by_rank[abs(heapq.heappop(heap))]
            if is_free[seat]:
                is_free[seat] = False
                taken.append(seat)
        return sorted(taken)

    def give_back(step: int) -> None:
        for seat in theirs[step]:
            is_free[seat] = True
            heapq.heappush(best, rank[seat])
            heapq.heappush(worst, -rank[seat])

    for step in range(len(run)):
        op, about, key = int(run.op[step]), int(run.about[step]), int(run.key[step])
        if run.expires[step] >= 0:
            give_back(int(run.expires[step]))
        if not run.committed[step]:
            continue
        if op in (BUY, HOLD):
            # Whose answer was lost may come again, and then asks for the same: not for seats that are gone.
            by_name = step % 2 == 0 and key == step and not run.unknown[step]
            theirs[step] = take(worst if by_name else best, int(run.quantity[step]))
            if by_name:
                asked[step] = f',"wanted":{_ids(seats, theirs[step])}'
        elif op in (CANCEL, RELEASE, CONFIRM):
            theirs[step] = theirs[about]
            if op != CONFIRM:
                give_back(about)
    given = {step: f',"seats":{_ids(seats, each)}' for step, each in theirs.items()}
    return Seating(asked, given, f',"hall":{json.dumps(hall)}')


def _hall(capacity: int) -> dict[str, Any]:
    full, rest = divmod(capacity, ROW)
    widths = [ROW] * full + ([rest] if rest else [])
    return {"sections": [{"name": "s", "rows": [{"name": str(at), "seats": width} for at, width in enumerate(widths)]}]}


def _ids(hall: Hall, seats: list[int]) -> str:
    return json.dumps([hall.ids[seat] for seat in seats])
