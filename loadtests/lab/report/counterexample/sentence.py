"""The sentence of a counterexample: each buyer's request and answer, and why the answers cannot all be true."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from loadtests.lab.report.counterexample.selection import Counterexample, DrawnOperation
from loadtests.lab.report.text import counted

_REFUSALS = ("sold_out", "refused", "seat_taken", "section_sold_out", "not_together")

_ASKED = {
    "read": "looked how many were left",
    "cancel": "gave an order back",
    "confirm": "confirmed a hold",
    "release": "released a hold",
}
_TOLD = {
    "unknown": "never had an answer",
    "fail": "was told that it failed",
    "sold_out": "was told “sold out”",
    "refused": "was refused",
    "section_sold_out": "was told that the section is sold out",
    "not_together": "was told that no such neighbours are free",
}
_SHOWN_SEATS = 4


def sentence(example: Counterexample) -> str:
    """The sentence above a drawing, for somebody who has never heard of a race."""
    said = _SENTENCES.get(example.violation, _plainly)(example)
    return said[0].upper() + said[1:]


def client(operation: DrawnOperation) -> str:
    return f"client {operation.process}"


def asked(operation: DrawnOperation) -> str:
    """A buyer's request as a predicate: ``asked for 4 tickets``."""
    if operation.op in _ASKED:
        return _ASKED[operation.op]
    wanted = counted(operation.quantity, "ticket") if operation.quantity is not None else "tickets"
    if operation.wanted:
        wanted = seats_of(operation.wanted)
    elif operation.together:
        wanted += " side by side"
    where = f" in {operation.section}" if operation.section else ""
    return f"asked {'for' if operation.op == 'buy' else 'to hold'} {wanted}{where}"


def told(operation: DrawnOperation) -> str:
    """A buyer's answer as a predicate: ``was sold tickets 1–4``."""
    if operation.outcome == "seat_taken":
        taken = seats_of(operation.taken) if operation.taken else "what it wanted"
        return f"was told that {taken} {'are' if len(operation.taken) > 1 else 'is'} taken"
    if operation.outcome in _TOLD:
        return _TOLD[operation.outcome]
    if operation.op == "read":
        return "was shown nothing" if operation.remaining is None else f"was shown {operation.remaining:,} left"
    if operation.op in {"buy", "confirm", "hold"}:
        wanted = counted(operation.quantity, "ticket") if operation.quantity else "tickets"
        given = numbers_of(operation.tickets) if operation.tickets else wanted
        if operation.seats:
            given = f"{given}, {seats_of(operation.seats)}," if operation.op == "hold" else seats_of(operation.seats)
        return f"was given {given} on hold" if operation.op == "hold" else f"was sold {given}"
    return f"was told that it is {'cancelled' if operation.op == 'cancel' else 'released'}"


def seats_of(seats: Iterable[str]) -> str:
    """``seat stalls-A-7``, ``seats stalls-A-7 and stalls-A-8``."""
    ids = list(dict.fromkeys(seats))
    shown = ids if len(ids) <= _SHOWN_SEATS else [*ids[: _SHOWN_SEATS - 1], f"{len(ids) - _SHOWN_SEATS + 1} more"]
    return ("seat " if len(ids) == 1 else "seats ") + in_words(shown)


def numbers_of(tickets: Iterable[int]) -> str:
    """``ticket 7``, ``tickets 1–4 and 9``."""
    numbers = sorted(set(tickets))
    runs = []
    for _, run in itertools.groupby(enumerate(numbers), lambda each: each[1] - each[0]):
        members = [number for _, number in run]
        few = len(members) < 3
        runs += [str(number) for number in members] if few else [f"{members[0]}–{members[-1]}"]
    shown = runs if len(runs) <= 4 else [*runs[:3], f"{len(runs) - 3} more"]
    return ("ticket " if len(numbers) == 1 else "tickets ") + in_words(shown)


def in_words(things: list[str]) -> str:
    """``a, b and c``."""
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"


def duration(ns: int) -> str:
    """A time in a suitable unit."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if abs(ns) >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns} ns"


def saw_before(operation: DrawnOperation) -> tuple[int, int] | None:
    """The tickets left and the version that a sale was decided on; None if the answer does not say."""
    is_sale = operation.outcome == "ok" and operation.op in {"buy", "hold"}
    if not is_sale or operation.remaining is None or operation.version is None:
        return None
    taken = len(operation.tickets) or operation.quantity
    return None if taken is None else (operation.remaining + taken, operation.version - 1)


def shared_tickets(a: DrawnOperation, b: DrawnOperation) -> list[int]:
    """The ticket numbers that both buyers hold."""
    return sorted(set(a.tickets) & set(b.tickets))


def rivals(example: Counterexample) -> tuple[DrawnOperation, DrawnOperation] | None:
    """The two operations that cannot both be true, in the order of their requests; None if there are not two.

    In an oversell they read the same version; the sale that passed the capacity may be one of them.
    """
    operations = example.operations
    if len(operations) == 3 and example.violation == "oversold":
        operations = operations[1:]
    if len(operations) != 2:
        return None
    first, second = sorted(operations, key=lambda operation: (operation.invoke_ns, operation.line))
    return first, second


def race(a: DrawnOperation, b: DrawnOperation) -> str:
    """The reads and answers of two buyers: ``client 12 and client 40 both read 1 left at version 99; both were …``."""
    both = f"{client(a)} and {client(b)}"
    before, after = saw_before(a), saw_before(b)
    twice = shared_tickets(a, b)
    verb = "sold" if {a.op, b.op} == {"buy"} else "given"
    sold = f"were both {verb} {numbers_of(twice)}" if twice else ""
    told_each = f"{client(a)} {told(a)} and {client(b)} {told(b)}"
    if before is not None and before == after:
        left, version = before
        read = f"{both} both read {left:,} left at version {version:,}"
        return f"{read}; both were {verb} {numbers_of(twice)}" if twice else f"{read}; {told_each}"
    if twice and a.version is not None and a.version == b.version:
        return f"{both} {sold}, both at version {a.version:,}"
    return f"{both} {sold}" if twice else told_each


def _oversold(example: Counterexample) -> str:
    crossing, counts, pair = example.operations[0], example.counts, rivals(example)
    said = f"{race(*pair)}. " if pair else ""
    passed = f"{client(crossing)} {asked(crossing)} and {told(crossing)}"
    if counts is None or counts.capacity is None:
        return said + passed + ", beyond the last."
    seats = "is 1 seat" if counts.capacity == 1 else f"are {counts.capacity:,} seats"
    hall = f"There {seats}, and buyers were promised {counts.acknowledged:,}"
    in_order = "" if crossing.version is None else "counted in the order of their versions, "
    return f"{said}{hall}: {in_order}the first too many went to {client(crossing)}, who {told(crossing)}."


def _double_booked(example: Counterexample) -> str:
    pair = rivals(example)
    return race(*pair) + "." if pair and shared_tickets(*pair) else _plainly(example)


def _seat_twice(example: Counterexample) -> str:
    """Two buyers have one seat; a hold is named as one."""
    pair, seats = rivals(example), example.witness.seats
    if pair is None or not seats:
        return _plainly(example)
    first, second = pair
    held = [operation for operation in pair if operation.op == "hold"]
    verb = "sold" if not held else "given"
    said = f"{client(first)} and {client(second)} were both {verb} {seats_of(seats)}"
    if first.version is not None and second.version is not None:
        said += f", at version {first.version:,} and at version {second.version:,}"
    if len(held) == 1:
        said += f"; {client(held[0])} has it on hold, and that time was not over"
    return f"{said}. One of the two will find somebody on the seat."


def _lost(example: Counterexample) -> str:
    lost = example.operations[0]
    said = f"{client(lost)} {asked(lost)} and {told(lost)}{_at(lost)}, and the office's own list has no record of it"
    if len(example.operations) == 2:
        winner = example.operations[1]
        return f"{said}: at that version stands {client(winner)}, who {told(winner)}. One was written over the other."
    return said + "."


def _inversion(example: Counterexample) -> str:
    early, ahead = example.operations[0], example.operations[1]
    if early.return_ns is None:
        return _plainly(example)
    later = f"{_at(early)}, {duration(ahead.invoke_ns - early.return_ns)} before {client(ahead)} asked"
    answered = f"{client(early)} had its answer{later}"
    if _only_looked(ahead):
        return f"{answered}; yet {client(ahead)} {told(ahead)}{_at(ahead)}: a state that was already past."
    if _only_looked(early):
        looked = f"{client(early)} {told(early)}{later}"
        return f"{looked}; yet what {client(ahead)} did is counted in it{_at(ahead)}: it saw the future."
    return f"{answered}; yet {client(ahead)} stands ahead of it{_at(ahead)}: the later request was put first."


def _only_looked(operation: DrawnOperation) -> bool:
    return operation.op == "read" or operation.outcome in _REFUSALS


def _sold_out(example: Counterexample) -> str:
    operation, why = example.operations[0], example.witness.text
    there = (why.partition("; ")[2] or why).replace("there were 1 ", "there was 1 ")
    return f"{client(operation)} {asked(operation)} and {told(operation)}{_at(operation)}; {there}."


def _half_a_cart(example: Counterexample) -> str:
    """A cart is one request of one buyer, so its lines make one sentence."""
    first, why = example.operations[0], example.witness.text
    return f"{client(first)} asked for a cart and {told(first)}. {why[:1].upper()}{why[1:]}."


def _plainly(example: Counterexample) -> str:
    """For all other violations: requests, answers, and the words of the check."""
    named = example.violation in {"answer differs", "duplicate"}
    deeds = [
        f"{client(operation)} {asked(operation)} and {told(operation)}{_at(operation)}"
        + (f", order {operation.order}" if named and operation.order else "")
        for operation in example.operations[:3]
    ]
    why = example.witness.text
    if not deeds:
        return f"the office's own list cannot be true: {why}." if example.records else f"{why}."
    return f"{'; '.join(deeds)}. {why[:1].upper()}{why[1:]}."


def _at(operation: DrawnOperation) -> str:
    return "" if operation.version is None else f" at version {operation.version:,}"


_SENTENCES: dict[str, Callable[[Counterexample], str]] = {
    "oversold": _oversold,
    "double-booked": _double_booked,
    "seat sold twice": _seat_twice,
    "lost sale": _lost,
    "inversion": _inversion,
    "false sold-out": _sold_out,
    "half a cart": _half_a_cart,
}
