"""Random small histories with seats: an office with a hall, strangers that know seats by name, and what goes wrong.

Tier ``S`` has versions; with an audit there is a hall, the best seats may be asked for, and maps are read. Without one
all seats are asked for by name. Holds end only after the seconds that they were asked for. Tier ``N`` is a service that
tells of seats by name alone; one seat a purchase, so that what each seat allows is all there is to know.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import seat_rules
from simulated import EVENT, Drawn, Line, Office, corrupt

Hall = dict[str, Any]


def drawn_with_seats(seed: int, tier: str) -> Drawn:
    """The history of a seed: honest in two of five, otherwise with one or two things wrong."""
    rng = random.Random(f"{tier}{seed}")
    office = SeatOffice(rng, tier, rng.randint(2, 8))
    lines, audit, capacity = copy.deepcopy(office.run())
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        (corrupt_seats if rng.random() < 0.6 else corrupt)(rng, lines, audit, office.hall)
    if tier == "N":
        _tell_little(rng, lines)
    elif rng.random() < 0.1:
        for line in lines:
            line["host"] = rng.choice(("east", "west"))
    if office.audited:
        return Drawn(lines, audit, audit[0]["capacity"])
    return Drawn(lines, None, capacity)


class SeatOffice(Office):
    """The honest clerk of an event whose seats are known by name; with an audit its hall is known, too."""

    def __init__(self, rng: random.Random, tier: str, size: int) -> None:
        super().__init__(rng, "A" if tier == "S" else "B", size)
        self.audited = tier == "S" and rng.random() < 0.75
        self.hall = _hall(rng)
        self.seats = seat_rules.seats_of(self.hall)
        self.capacity = len(self.seats)
        self.largest = 1 if tier == "N" else rng.choice((1, 2, 3))

    def run(self) -> tuple[list[Line], list[Line], int]:
        lines, audit, capacity = super().run()
        return lines, [audit[0] | {"hall": self.hall}, *audit[1:]], capacity

    def request(self) -> Line:
        """As without seats; what is asked for of them is drawn once for each key."""
        line = super().request()
        if line["op"] not in ("buy", "hold"):
            return line
        kept = self.keys[int(line["key"][1:])]
        if "asked" not in kept:
            kept["asked"] = self._wish(kept)
            kept["quantity"] = len(kept["asked"].get("wanted", ())) or kept["quantity"]
        return {**line, **kept["asked"], "quantity": kept["quantity"], "asked": None}

    def _wish(self, kept: Line) -> Line:
        rng = self.rng
        quantity = min(kept["quantity"], self.capacity)
        if self.audited and rng.random() < 0.6:
            wish: Line = {"together": True} if rng.random() < 0.5 else {}
            wish |= {"section": rng.choice(self.hall["sections"])["name"]} if rng.random() < 0.4 else {}
        else:
            wish = {"wanted": rng.sample(self.seats, quantity)}
        return wish | ({"seconds": rng.randint(1, 12) / 1e9} if kept["op"] == "hold" and rng.random() < 0.7 else {})

    def attempt(self, request: Line, invoke: int, returned: int) -> Line:
        line = super().attempt(request, invoke, returned)
        return {name: value for name, value in line.items() if name != "asked"}

    def decide(self, request: Line) -> Line:
        if request["op"] == "read" and self.audited and self.rng.random() < 0.7:
            return {**super().decide(request), "map": seat_rules.map_of(self.hall, *self._held_and_sold())}
        return super().decide(request)

    def is_due(self, hold: Line) -> bool:
        return bool(hold.get("due", 0) <= self.now)

    def buy(self, request: Line) -> Line | str:
        return self._with_seats(request, super().buy)

    def hold(self, request: Line) -> Line | str:
        name = f"h{len(self.holds)}"
        answer = self._with_seats(request, super().hold)
        if name in self.holds and isinstance(answer, dict):
            made = self.holds[name]
            made["due"] = self.now + request.get("seconds", 0) * 1e9
            if "seconds" in request:
                made["expires_at"] = self.records[-1]["expires_at"] = f"2026-11-23T08:00:00.{int(made['due']):06}Z"
        return answer

    def _with_seats(self, request: Line, take: Any) -> Line | str:
        taken = set().union(*self._held_and_sold())
        quantity, section = request["quantity"], request.get("section")
        if request.get("wanted"):
            seats = request["wanted"]
            if taken & set(seats):
                self.taken = [seat for seat in seats if seat in taken]
                return "seat_taken"
        else:
            free = [seat for seat in seat_rules.seats_of(self.hall, section) if seat not in taken]
            if len(free) < quantity:
                return "section_sold_out" if section else "sold_out"
            seats = seat_rules.best(self.hall, taken, quantity, request.get("together", False), section)
            if seats is None:
                return "not_together"
        answer = take(request)
        if isinstance(answer, str):
            return answer
        for thing in (
            self.records[-1],
            self.holds.get(answer.get("hold", "")),
            self.orders.get(answer.get("order", "")),
        ):
            if thing is not None:
                thing["seats"] = seats
        return {**answer, "seats": seats}

    def mutate(self, request: Line) -> Line | str:
        answer = super().mutate(request)
        if answer == "seat_taken":
            self.refusal = {"taken": self.taken}
        return answer

    def confirm(self, request: Line) -> Line | str:
        hold = self.holds.get(request["hold"], {"state": ""})
        if hold["state"] == "expired" and set(hold["seats"]) & set().union(*self._held_and_sold()):
            return "refused"
        answer = super().confirm(request)
        if isinstance(answer, str):
            return answer
        self.records[-1]["seats"] = self.orders[answer["order"]]["seats"] = hold["seats"]
        return {**answer, "seats": hold["seats"]}

    def commit(self, kind: str, thing: Line, key: str | None) -> None:
        super().commit(kind, thing, key)
        if "seats" in thing:
            self.records[-1]["seats"] = thing["seats"]

    def _held_and_sold(self) -> tuple[set[str], set[str]]:
        held: set[str] = set()
        sold: set[str] = set()
        for record in self.records:
            theirs = set(record["seats"])
            held, sold = held - theirs, sold - theirs
            if record["kind"] == "held":
                held |= theirs
            elif record["kind"] in ("sold", "confirmed"):
                sold |= theirs
        return held, sold


def corrupt_seats(rng: random.Random, lines: list[Line], audit: list[Line], hall: Hall) -> None:
    """Change what one line or one record says of seats, in place; what it breaks is for the oracle to say."""
    what = rng.choice(
        ("seats", "record", "both", "taken", "outcome", "map", "seconds", "wanted", "together", "section")
    )
    field = "seats" if what == "both" else what
    line = rng.choice([each for each in lines if field in each] or lines)
    of_key = [each for each in lines if "key" in line and each.get("key") == line["key"]]
    every = seat_rules.seats_of(hall)
    if what in ("record", "both"):
        record = rng.choice(audit[1:]) if what == "record" and len(audit) > 1 else {}
        seats = _others(rng, record.get("seats", line.get("seats", [])), every)
        told = (
            [record]
            if what == "record"
            else [*of_key, *(each for each in audit[1:] if each.get("key") in line.values())]
        )
        for each in told:
            each.update({"seats": seats} if "seats" in each else {})
    elif what == "outcome":
        _refuse_otherwise(rng, line)
    elif what in line and what in ("seats", "taken", "map"):
        line[what] = {
            "seats": lambda: _others(rng, line["seats"], every),
            "taken": lambda: rng.sample(line["wanted"], rng.randint(1, len(line["wanted"]))),
            "map": lambda: seat_rules.map_of(hall, set(), set(rng.sample(every, rng.randint(0, len(every))))),
        }[what]()
    elif what in line or ("wanted" not in line and line["op"] in ("buy", "hold") and what in ("together", "section")):
        changed = {
            "seconds": lambda: line["seconds"] * rng.choice((2, 4)),
            "wanted": lambda: _others(rng, line["wanted"], every),
            "together": lambda: not line.get("together"),
            "section": lambda: hall["sections"][-1]["name"],
        }
        value = changed[what]() if what in changed else None
        for each in of_key if what in changed else []:
            each[what] = value


def _refuse_otherwise(rng: random.Random, line: Line) -> None:
    """A refusal of seats is another one, or was never answered."""
    if line["outcome"] in ("seat_taken", "not_together", "section_sold_out"):
        line["outcome"] = rng.choice(("sold_out", "unknown", "section_sold_out", "not_together"))
        line.pop("taken", None)
        if line["outcome"] == "unknown":
            line["return_ns"] = None


def _others(rng: random.Random, seats: list[str], every: list[str]) -> list[str]:
    """One of these seats is another one."""
    free = [seat for seat in every if seat not in seats]
    if not free or not seats:
        return seats
    changed = list(seats)
    changed[rng.randrange(len(changed))] = rng.choice(free)
    return changed


def _tell_little(rng: random.Random, lines: list[Line]) -> None:
    """Take away, in place, what a stranger does not tell."""
    silent = rng.random() < 0.5
    for line in lines:
        for name in ("version", "remaining", "tickets", "replayed"):
            line.pop(name, None)
        if silent:
            line.pop("taken", None)
            line.pop("seats", None)
    lines[:] = [line for line in lines if line["op"] != "read"] or lines


def _hall(rng: random.Random) -> Hall:
    """One or two sections of one or two rows, six seats at most."""
    widths = rng.choice(([[3]], [[2, 1]], [[4]], [[2], [2]], [[3, 2]], [[1], [3]], [[1, 2], [2]], [[5]], [[3], [3]]))
    return {
        "sections": [
            {"name": name, "rows": [{"name": str(at), "seats": width} for at, width in enumerate(rows, 1)]}
            for name, rows in zip(("s", "b"), widths, strict=False)
        ]
    }


__all__ = ["EVENT", "SeatOffice", "corrupt_seats", "drawn_with_seats"]
