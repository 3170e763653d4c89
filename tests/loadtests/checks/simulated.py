"""Random small histories for the oracle and the checker to agree on: an honest office, and what can go wrong.

``honest`` simulates a clerk with concurrent buyers, retries, resent DELETEs, lost answers and expiring holds, and
gives the history and the audit. ``corrupt`` changes one thing. ``stripped`` takes away what weaker services do not
tell. ``drawn`` puts them together, from a seed.
"""

from __future__ import annotations

import copy
import random
from typing import Any, NamedTuple

Line = dict[str, Any]

EVENT = "show"
OPS_OF_TIER = {
    "A": ("buy", "buy", "buy", "read", "cancel", "hold", "hold", "confirm", "release"),
    "B": ("buy", "buy", "buy", "read"),
    "C": ("buy", "buy", "buy", "read"),
}


class Drawn(NamedTuple):
    """A history, its audit if the checker is to see one, and the capacity."""

    lines: list[Line]
    audit: list[Line] | None
    capacity: int


def drawn(seed: int, tier: str) -> Drawn:
    """The history of a seed: honest in two of five, otherwise with one or two things wrong."""
    rng = random.Random(f"{tier}{seed}")
    lines, audit, capacity = copy.deepcopy(honest(rng, tier, rng.randint(2, 8)))
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        corrupt(rng, lines, audit)
    stripped(rng, tier, lines)
    if tier == "A" and rng.random() < 0.65:
        return Drawn(lines, audit, audit[0]["capacity"])
    return Drawn(lines, None, capacity)


def honest(rng: random.Random, tier: str, size: int) -> tuple[list[Line], list[Line], int]:
    """A history of about ``size`` lines, its audit and its capacity, as one honest clerk would have them."""
    return Office(rng, tier, size).run()


class Office:
    def __init__(self, rng: random.Random, tier: str, size: int) -> None:
        self.rng, self.tier, self.size = rng, tier, size
        self.capacity = rng.randint(1, 6)
        self.largest = 1 if tier == "C" else rng.choice((1, 2, 3))
        self.records: list[Line] = []
        self.answers: dict[str, Line] = {}
        self.keys: list[Line] = []
        self.lines: list[Line] = []
        self.orders: dict[str, Line] = {}
        self.holds: dict[str, Line] = {}
        self.now = 0
        self.refusal: Line = {}
        """What a refusal says beside its word."""

    def run(self) -> tuple[list[Line], list[Line], int]:
        rng = self.rng
        width = rng.choice((2, 6, 15))
        for moment in sorted(rng.randint(0, 30) for _ in range(self.size)):
            self.now = moment
            request = self.request()
            invoke, returned = max(0, moment - rng.randint(0, width)), moment + rng.randint(0, width)
            self.lines.append(self.attempt(request, invoke, returned))
        header = {"event": EVENT, "capacity": self.capacity, "versions": len(self.records)}
        rng.shuffle(self.lines)
        return self.lines, [header, *self.records], self.capacity

    def request(self) -> Line:
        """A new request, or an earlier one again."""
        rng = self.rng
        if self.keys and rng.random() < 0.3:
            request = rng.choice(self.keys)
        else:
            op = rng.choice(OPS_OF_TIER[self.tier])
            if op == "read":
                return {"op": "read"}
            request = {"op": op, "key": f"k{len(self.keys)}", "attempts": 0}
            if op in ("buy", "hold"):
                request["quantity"] = rng.randint(1, self.largest)
            elif op == "cancel":
                request["order"] = rng.choice([*self.orders, "o?"])
            else:
                request["hold"] = rng.choice([*self.holds, "h?"])
            self.keys.append(request)
        request["attempts"] += 1
        return {**{k: v for k, v in request.items() if k != "attempts"}, "attempt": request["attempts"]}

    def attempt(self, request: Line, invoke: int, returned: int) -> Line:
        """What the buyer records of one request that the clerk meets now."""
        rng = self.rng
        line = {"process": len(self.lines), "event": EVENT, **request, "invoke_ns": invoke, "return_ns": returned}
        fate = rng.random()
        if fate < 0.06:
            return {**line, "outcome": "fail"}
        if fate < 0.12:
            return {**line, "return_ns": None, "outcome": "unknown"}  # it never arrived
        answer = self.decide(request)
        if fate < 0.28:
            return {**line, "return_ns": None, "outcome": "unknown"}  # it arrived, and the answer was lost
        if request["op"] in ("cancel", "release") and rng.random() < 0.2:
            answer = self.decide(request)  # the client's library had sent it twice
        return {**line, **answer}

    def decide(self, request: Line) -> Line:
        rng, op = self.rng, request["op"]
        if op == "read":
            return {"outcome": "ok", **self.state()}
        if request["key"] in self.answers:
            return {**self.answers[request["key"]], "replayed": True}
        while self.open_holds() and rng.random() < 0.25:
            first = min(self.open_holds(), key=lambda hold: (hold["expires_at"], hold["version"]))
            if not self.is_due(first):
                break
            self.commit("expired", first, key=None)
        self.refusal = {}
        answer = self.mutate(request)
        if isinstance(answer, str):
            return {"outcome": answer, **self.state(), **self.refusal}
        self.answers[request["key"]] = {"outcome": "ok", **answer, **self.state(), "replayed": False}
        return self.answers[request["key"]]

    def mutate(self, request: Line) -> Line | str:
        """The clerk's rules: what the answer says, or why it is refused."""
        rules = {
            "buy": self.buy,
            "hold": self.hold,
            "cancel": self.cancel,
            "confirm": self.confirm,
            "release": self.release,
        }
        return rules[request["op"]](request)

    def buy(self, request: Line) -> Line | str:
        quantity = request["quantity"]
        if quantity > self.state()["remaining"]:
            return "sold_out"
        return self.sell(request["key"], {"quantity": quantity, "tickets": self.numbers(quantity)})

    def hold(self, request: Line) -> Line | str:
        quantity = request["quantity"]
        if quantity > self.state()["remaining"]:
            return "sold_out"
        due = f"2026-11-23T08:00:0{self.rng.randint(0, 3)}Z"
        name = f"h{len(self.holds)}"
        thing = {"quantity": quantity, "tickets": self.numbers(quantity), "hold": name, "expires_at": due}
        self.holds[name] = {**thing, "state": "held", "version": len(self.records) + 1}
        self.commit("held", thing, request["key"])
        return {"hold": name, "tickets": thing["tickets"]}

    def cancel(self, request: Line) -> Line | str:
        order = self.orders.get(request["order"], {"state": ""})
        if order["state"] != "open":
            return "refused"
        order["state"] = "cancelled"
        self.commit("cancelled", order, request["key"])
        return {}

    def release(self, request: Line) -> Line | str:
        hold = self.holds.get(request["hold"], {"state": ""})
        if hold["state"] != "held":
            return "refused"
        self.commit("released", hold, request["key"])
        return {}

    def confirm(self, request: Line) -> Line | str:
        hold = self.holds.get(request["hold"], {"state": ""})
        late = hold["state"] == "expired" and hold["quantity"] <= self.state()["remaining"]
        if hold["state"] != "held" and not late:
            return "refused"
        thing = {name: hold[name] for name in ("hold", "quantity", "tickets")}
        if late:
            thing["tickets"] = self.numbers(hold["quantity"])
        return {"quantity": hold["quantity"], **self.sell(request["key"], thing, "sold" if late else "confirmed")}

    def sell(self, key: str, thing: Line, kind: str = "sold") -> Line:
        order = {**thing, "order": f"o{len(self.orders)}"}
        self.orders[order["order"]] = {
            "order": order["order"],
            "quantity": order["quantity"],
            "tickets": order["tickets"],
            "state": "open",
        }
        self.commit(kind, order, key)
        return {"order": order["order"], "tickets": order["tickets"]}

    def commit(self, kind: str, thing: Line, key: str | None) -> None:
        fields = ("order", "hold", "quantity", "tickets") + (("expires_at",) if kind == "held" else ())
        record = {"version": len(self.records) + 1, "kind": kind, **({"key": key} if key else {})}
        self.records.append({**record, **{name: thing[name] for name in fields if name in thing}})
        if thing.get("hold") in self.holds and kind != "held":
            self.holds[thing["hold"]]["state"] = kind

    def is_due(self, hold: Line) -> bool:
        """Whether a hold may expire by now."""
        return True

    def open_holds(self) -> list[Line]:
        return [hold for hold in self.holds.values() if hold["state"] == "held"]

    def numbers(self, quantity: int) -> list[int]:
        given = sum(record["quantity"] for record in self.records if record["kind"] in ("sold", "held"))
        return list(range(given + 1, given + quantity + 1))

    def state(self) -> Line:
        sign = {"sold": 1, "held": 1, "confirmed": 0, "cancelled": -1, "released": -1, "expired": -1}
        taken = sum(sign[record["kind"]] * record["quantity"] for record in self.records)
        return {"remaining": self.capacity - taken, "version": len(self.records)}


def corrupt(rng: random.Random, lines: list[Line], audit: list[Line], _hall: object = None) -> None:
    """Change one thing, in place; what it breaks, if anything, is for the oracle to say."""
    line = rng.choice(lines)
    what = rng.choice(
        ("interval", "interval", "interval", "number", "number", "outcome", "replayed", "drop", "audit", "swap")
    )
    if what == "interval" and line["return_ns"] is not None:
        line["invoke_ns"] = rng.randint(0, 40)
        line["return_ns"] = line["invoke_ns"] + rng.randint(0, 10)
    elif what == "number":
        field = rng.choice(("version", "remaining", "quantity", "tickets"))
        if field == "tickets" and line.get("tickets"):
            line["tickets"] = [number + rng.choice((-1, 1)) for number in line["tickets"]]
        elif field in line and field != "tickets":
            line[field] = max(1 if field == "quantity" else 0, line[field] + rng.choice((-2, -1, 1, 2)))
    elif what == "outcome":
        _change_outcome(rng, line)
    elif what == "replayed" and "replayed" in line:
        line["replayed"] = not line["replayed"]
    elif what == "drop" and len(lines) > 1:
        lines.remove(line)
    elif what == "audit" and len(audit) > 1:
        _change_audit(rng, audit)
    elif what == "swap" and len(lines) > 1:
        other = rng.choice(lines)
        if line["return_ns"] is not None and other["return_ns"] is not None:
            for field in ("invoke_ns", "return_ns"):
                line[field], other[field] = other[field], line[field]


def _change_outcome(rng: random.Random, line: Line) -> None:
    if line["op"] == "read" or line["outcome"] == "fail":
        return
    for field in ("order", "hold", "tickets", "replayed"):
        if line["outcome"] == "ok" and (field, line["op"]) not in (
            ("order", "cancel"),
            ("hold", "confirm"),
            ("hold", "release"),
        ):
            line.pop(field, None)
    refusal = "sold_out" if line["op"] in ("buy", "hold") else "refused"
    line["outcome"] = rng.choice((refusal, "unknown"))
    if line["outcome"] == "unknown":
        line["return_ns"] = None
    elif line["return_ns"] is None:
        line["return_ns"] = line["invoke_ns"] + rng.randint(0, 10)


def _change_audit(rng: random.Random, audit: list[Line]) -> None:
    at = rng.randrange(1, len(audit))
    what = rng.choice(("drop", "drop and renumber", "quantity", "swap", "header", "repeat"))
    if what.startswith("drop"):
        del audit[at]
        audit[0]["versions"] -= 1
    elif what == "quantity":
        audit[at]["quantity"] += 1
    elif what == "swap" and at + 1 < len(audit):
        audit[at], audit[at + 1] = audit[at + 1], audit[at]
    elif what == "header":
        audit[0][rng.choice(("versions", "capacity"))] += 1
    elif what == "repeat":
        audit.append(dict(audit[at]))
        audit[0]["versions"] += 1
    if what in ("drop and renumber", "swap", "repeat"):
        for version, record in enumerate(audit[1:], 1):
            record["version"] = version


def stripped(rng: random.Random, tier: str, lines: list[Line]) -> None:
    """Take away, in place, what a service of this tier does not tell."""
    if rng.random() < 0.2:
        for line in lines:
            line.pop("replayed", None)
    if rng.random() < 0.15:
        for line in lines:
            line["host"] = rng.choice(("east", "west"))
    if tier == "A":
        forgetful = rng.choice((0, 0, 0, 0.1, 0.4))
        for line in lines:
            for field in ("version", "remaining", "tickets"):
                if rng.random() < forgetful:
                    line.pop(field, None)
        return
    only_remaining = rng.random() < 0.5
    silent_refusals = rng.random() < 0.5
    for line in lines:
        line.pop("version", None)
        mutation = line["op"] != "read"
        if (tier == "C" or only_remaining) and mutation:
            line.pop("tickets", None)
        silent = (tier == "C" and line["outcome"] == "ok") or (silent_refusals and line["outcome"] == "sold_out")
        if mutation and (silent or (tier == "B" and not only_remaining and rng.random() < 0.3)):
            line.pop("remaining", None)
