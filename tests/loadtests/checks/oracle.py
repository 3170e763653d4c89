"""A brute-force judge of small histories: the search of Wing and Gong over one honest clerk.

It shares nothing with the checker but the words of the contract; the rules of seats are written out in ``seat_rules``.
It works on plain dictionaries, one attempt at a time, and tries every order of the attempts that real time allows. An
attempt takes effect at one instant between its invocation and its return, an unknown one at any later instant or never.
The clerk keeps a log, remembers the keys in it and repeats their answers, and lets holds expire whenever he likes, but
none before its time is over, and the earliest due first.

Exponential, so for a handful of operations only. J. Wing and C. Gong, "Testing and Verifying Concurrent Objects",
1993; the memory of visited configurations is G. Lowe's, "Testing for Linearizability", 2017.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import seat_rules

Line = dict[str, Any]

NEVER = float("inf")


class Record(NamedTuple):
    """A committed mutation, as the audit has it."""

    kind: str
    key: str | None
    order: str | None
    hold: str | None
    quantity: int
    tickets: tuple[int, ...]
    expires_at: str | None = None
    seats: tuple[str, ...] = ()
    host: str | None = None
    due_ns: float = 0
    """Before which a hold cannot have expired, by the clock of its host."""


Log = tuple[Record, ...]


def is_linearizable(history: list[Line], audit: list[Line] | None, capacity: int) -> bool:
    """Whether one honest clerk could have given these answers, and written this audit if there is one."""
    return _Search(history, audit, capacity).succeeds()


class _Search:
    def __init__(self, history: list[Line], audit: list[Line] | None, capacity: int) -> None:
        self.capacity = capacity
        self.audit = audit
        self.hall = audit[0].get("hall") if audit else None
        self.marked = any(line.get("replayed") is not None for line in history)
        self.attempts = [
            line
            for line in history
            if line["outcome"] != "fail" and not (line["op"] == "read" and line["outcome"] == "unknown")
        ]
        self.told: dict[str, Line] = {}
        for line in self.attempts:
            if line["op"] != "read" and line["outcome"] == "ok":
                self.told.setdefault(line["key"], line)
        self.needed = frozenset(i for i, line in enumerate(self.attempts) if line["outcome"] != "unknown")
        self.visited: set[tuple[frozenset[int], Log]] = set()

    def succeeds(self) -> bool:
        if self.audit is not None:
            header, records = self.audit[0], self.audit[1:]
            versions = [record["version"] for record in records]
            if header["capacity"] != self.capacity or versions != list(range(1, header["versions"] + 1)):
                return False
            if self.hall and self.capacity != len(seat_rules.seats_of(self.hall)):
                return False
        return self._from(frozenset(), ())

    def _from(self, done: frozenset[int], log: Log) -> bool:
        if self.needed <= done and (self.audit is None or len(log) == len(self.audit) - 1):
            return True
        if (done, log) in self.visited:
            return False
        self.visited.add((done, log))
        for i in range(len(self.attempts)):
            if i not in done and self._may_be_next(i, done):
                for longer in self._effects(self.attempts[i], log):
                    if self._from(done | {i}, longer):
                        return True
        return any(self._from(done, longer) for longer in self._expiries(done, log))

    def _may_be_next(self, i: int, done: frozenset[int]) -> bool:
        """No attempt that must come first, because it had returned before this one was sent, is still to come."""
        line = self.attempts[i]
        for j, other in enumerate(self.attempts):
            waits = j not in done and j != i and other["outcome"] != "unknown"
            if waits and other.get("host") == line.get("host") and other["return_ns"] < line["invoke_ns"]:
                return False
        return True

    def _effects(self, line: Line, log: Log) -> Iterator[Log]:
        """The logs that the clerk may have after this attempt, if he would have given its answer."""
        if line["op"] == "read":
            if self._shows(line, log):
                yield log
            return
        at = next((i for i, record in enumerate(log) if record.key == line["key"]), None)
        if at is not None:
            may_repeat = line["outcome"] == "ok" and (line.get("replayed") is True or not self.marked)
            if may_repeat and self._says(line, log[: at + 1]):
                yield log
            return
        record = self._decide(line, log)
        if isinstance(record, str):
            named = line.get("wanted") or []
            taken = [seat for seat in named if seat in _seats_taken(log)]
            if (
                line["outcome"] in record.split()
                and self._shows(line, log)
                and (line["outcome"] != "seat_taken" or sorted(line.get("taken", taken)) == sorted(taken))
            ):
                yield log
            return
        resent = line["op"] in ("cancel", "release") and line.get("replayed") is True
        fresh = line["outcome"] == "ok" and (not self.marked or line.get("replayed") is not True or resent)
        if line["outcome"] == "unknown" or fresh:
            longer = (*log, record)
            if self._is_audited(longer) and (line["outcome"] == "unknown" or self._says(line, longer)):
                yield longer

    def _decide(self, line: Line, log: Log) -> Record | str:
        """What an honest clerk does: a record, or the outcomes of a refusal that are true, in one string."""
        kind, refusal, quantity, tickets = self._ruling(line, log)
        if refusal:
            return refusal
        seats = self._seats_for(line, log)
        told = self.told.get(line["key"], {})
        written = self.audit[len(log) + 1] if self.audit is not None and len(log) + 1 < len(self.audit) else {}
        named = {"sold": ("order",), "confirmed": ("order",), "held": ("hold",)}.get(kind, ())
        names = {
            name: told.get(name, written.get(name)) if name in named else line.get(name) for name in ("order", "hold")
        }
        if any(_is_used(name, names[name], log) for name in named):
            return "an id is given once"
        return Record(
            kind, line["key"], **names, quantity=quantity, tickets=tickets, expires_at=written.get("expires_at"),
            seats=seats, host=line.get("host"), due_ns=line["invoke_ns"] + line.get("seconds", 0) * 1e9,
        )  # fmt: skip

    def _seats_for(self, line: Line, log: Log) -> tuple[str, ...]:
        """The seats of the record that is due, in any order."""
        if line["op"] in ("buy", "hold"):
            if line.get("wanted"):
                return tuple(line["wanted"])
            if self.hall:
                asked = (line["quantity"], line.get("together", False), line.get("section"))
                return tuple(seat_rules.best(self.hall, _seats_taken(log), *asked) or ())
            return ()
        made = _open_order(line["order"], log) if line["op"] == "cancel" else _state_of_hold(line["hold"], log)[0]
        return made.seats if made else ()

    def _ruling(self, line: Line, log: Log) -> tuple[str, str, int, tuple[int, ...]]:
        """The kind of record that is due, or why it is refused; the tickets that it is about."""
        left = self.capacity - _taken(log)
        if line["op"] in ("buy", "hold"):
            quantity = line["quantity"]
            refusal = " ".join((["sold_out"] if quantity > left else []) + self._refusals_of_seats(line, log))
            return "sold" if line["op"] == "buy" else "held", refusal, quantity, _next_numbers(log, quantity)
        if line["op"] == "cancel":
            order = _open_order(line["order"], log)
            return ("cancelled", "", order.quantity, order.tickets) if order else ("", "refused", 0, ())
        held, state = _state_of_hold(line["hold"], log)
        if held is not None and state == "held":
            return "released" if line["op"] == "release" else "confirmed", "", held.quantity, held.tickets
        free = held is not None and held.quantity <= left and not set(held.seats) & _seats_taken(log)
        if held is not None and state == "expired" and line["op"] == "confirm" and free:
            return "sold", "", held.quantity, _next_numbers(log, held.quantity)
        return "", "refused", 0, ()

    def _refusals_of_seats(self, line: Line, log: Log) -> list[str]:
        """All refusals of seats that are true now."""
        taken = _seats_taken(log)
        if line.get("wanted"):
            return ["seat_taken"] if taken & set(line["wanted"]) else []
        if not self.hall:
            return []
        there = seat_rules.seats_of(self.hall, line.get("section"))
        free = [seat for seat in there if seat not in taken]
        if len(free) < line["quantity"]:
            return ["section_sold_out"] if line.get("section") else []
        best = seat_rules.best(self.hall, taken, line["quantity"], line.get("together", False), line.get("section"))
        return ["not_together"] if best is None else []

    def _expiries(self, done: frozenset[int], log: Log) -> Iterator[Log]:
        """The logs after one more hold has expired: of those open, one with the earliest due time, if it is known.

        None expires before its time: all that had returned by then on its host must have taken effect.
        """
        still = [i for i, r in enumerate(log) if r.kind == "held" and _state_of_hold(r.hold, log)[1] == "held"]
        if self.audit is not None:
            still = sorted(still, key=lambda i: (_moment(log[i].expires_at), i))[:1]
        for i in still:
            early = (each for j, each in enumerate(self.attempts) if j in self.needed and j not in done)
            if any(each["return_ns"] < log[i].due_ns and each.get("host") == log[i].host for each in early):
                continue
            longer = (
                *log, Record("expired", None, None, log[i].hold, log[i].quantity, log[i].tickets, seats=log[i].seats),
            )  # fmt: skip
            if self._is_audited(longer):
                yield longer

    def _is_audited(self, log: Log) -> bool:
        """Whether the audit, if there is one, has the last record of the log at its place."""
        if self.audit is None:
            return True
        if len(log) >= len(self.audit):
            return False
        written, record = self.audit[len(log)], log[-1]
        return (
            written["kind"] == record.kind
            and written.get("key") == record.key
            and written.get("order", record.order) == record.order
            and written.get("hold", record.hold) == record.hold
            and written["quantity"] == record.quantity
            and tuple(written.get("tickets", record.tickets)) == record.tickets
            and (sorted(written.get("seats", [])) == sorted(record.seats) if self.hall else True)
        )

    def _says(self, line: Line, log: Log) -> bool:
        """Whether an acknowledgement is what the clerk says of the last record of this log."""
        record = log[-1]
        return (
            self._shows(line, log)
            and line.get("quantity", record.quantity) == record.quantity
            and tuple(line.get("tickets", record.tickets)) == record.tickets
            and line.get("order", record.order) == record.order
            and (line.get("hold", record.hold) == record.hold)
            and sorted(line.get("seats") or record.seats) == sorted(record.seats)
        )

    def _shows(self, line: Line, log: Log) -> bool:
        left = self.capacity - _taken(log)
        true = line.get("version", len(log)) == len(log) and line.get("remaining", left) == left
        if "map" in line and self.hall:
            return true and line["map"] == seat_rules.map_of(self.hall, *_held_and_sold(log))
        return true


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text or "1970-01-01T00:00:00Z")


def _taken(log: Log) -> int:
    sign = {"sold": 1, "held": 1, "confirmed": 0, "cancelled": -1, "released": -1, "expired": -1}
    return sum(sign[record.kind] * record.quantity for record in log)


def _held_and_sold(log: Log) -> tuple[set[str], set[str]]:
    """The seats that are held, and those that are sold."""
    held: set[str] = set()
    sold: set[str] = set()
    for record in log:
        held -= set(record.seats)
        sold -= set(record.seats)
        if record.kind == "held":
            held |= set(record.seats)
        elif record.kind in ("sold", "confirmed"):
            sold |= set(record.seats)
    return held, sold


def _seats_taken(log: Log) -> set[str]:
    held, sold = _held_and_sold(log)
    return held | sold


def _next_numbers(log: Log, quantity: int) -> tuple[int, ...]:
    given = sum(record.quantity for record in log if record.kind in ("sold", "held"))
    return tuple(range(given + 1, given + quantity + 1))


def _is_used(what: str, name: str | None, log: Log) -> bool:
    kinds = ("held",) if what == "hold" else ("sold", "confirmed")
    return name is not None and any(record.kind in kinds and getattr(record, what) == name for record in log)


def _open_order(order: str, log: Log) -> Record | None:
    found = None
    for record in log:
        if record.order == order:
            found = None if record.kind == "cancelled" else record
    return found


def _state_of_hold(hold: str | None, log: Log) -> tuple[Record | None, str]:
    """The record that made a hold, and what became of it: held, confirmed, released, expired or sold (late)."""
    made, state = None, ""
    for record in log:
        if record.hold == hold:
            made = record if record.kind == "held" else made
            state = record.kind
    return made, state
