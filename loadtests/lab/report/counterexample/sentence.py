"""A scene in plain words: what each buyer asked and was told, and why the two cannot both be true."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from loadtests.lab.report.counterexample.selection import Act, Scene

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
}


def tell(scene: Scene) -> str:
    """The sentence above a drawing: from the operations themselves, for somebody who has never heard of a race."""
    said = _TELLERS.get(scene.violation, _plainly)(scene)
    return said[0].upper() + said[1:]


def client(act: Act) -> str:
    """How a buyer is called."""
    return f"client {act.process}"


def asked(act: Act) -> str:
    """What a buyer did, as the end of a sentence: ``asked for 4 tickets``."""
    if act.op in _ASKED:
        return _ASKED[act.op]
    wanted = tickets_of(act.quantity) if act.quantity is not None else "tickets"
    return f"asked {'for' if act.op == 'buy' else 'to hold'} {wanted}"


def told(act: Act) -> str:
    """What a buyer was answered: ``was sold tickets 1–4``."""
    if act.outcome in _TOLD:
        return _TOLD[act.outcome]
    if act.op == "read":
        return "was shown nothing" if act.remaining is None else f"was shown {act.remaining:,} left"
    if act.op in {"buy", "confirm", "hold"}:
        given = numbers_of(act.tickets) if act.tickets else "tickets" if not act.quantity else tickets_of(act.quantity)
        return f"was given {given} on hold" if act.op == "hold" else f"was sold {given}"
    return f"was told that it is {'cancelled' if act.op == 'cancel' else 'released'}"


def tickets_of(count: int) -> str:
    """``1 ticket``, ``4 tickets``."""
    return f"{count:,} ticket" if count == 1 else f"{count:,} tickets"


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
    """A time in the unit that suits it."""
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if abs(ns) >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns} ns"


def saw_before(act: Act) -> tuple[int, int] | None:
    """What a buyer's sale was decided on: how many were left, at which version; None where the answer does not say."""
    if act.outcome != "ok" or act.op not in {"buy", "hold"} or act.remaining is None or act.version is None:
        return None
    taken = len(act.tickets) or act.quantity
    return None if taken is None else (act.remaining + taken, act.version - 1)


def shared_tickets(a: Act, b: Act) -> list[int]:
    """The ticket numbers that two buyers hold."""
    return sorted(set(a.tickets) & set(b.tickets))


def rivals(scene: Scene) -> tuple[Act, Act] | None:
    """The two operations that cannot both be true, who asked first first; None where the scene is not about two.

    Of an oversell they are those that read the same version; the sale that passed the capacity may be one of them.
    """
    acts = scene.acts[1:] if len(scene.acts) == 3 and scene.violation == "oversold" else scene.acts
    if len(acts) != 2:
        return None
    first, second = sorted(acts, key=lambda act: (act.invoke_ns, act.line))
    return first, second


def race(a: Act, b: Act) -> str:
    """What two buyers read and were told: ``client 12 and client 40 both read 1 left at version 99; both were …``."""
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


def _oversold(scene: Scene) -> str:
    crossing, counts, pair = scene.acts[0], scene.counts, rivals(scene)
    said = f"{race(*pair)}. " if pair else ""
    passed = f"{client(crossing)} {asked(crossing)} and {told(crossing)}"
    if counts is None or counts.capacity is None:
        return said + passed + ", beyond the last."
    seats = "is 1 seat" if counts.capacity == 1 else f"are {counts.capacity:,} seats"
    hall = f"There {seats}, and buyers were promised {counts.acknowledged:,}"
    counted = "" if crossing.version is None else "counted in the order of their versions, "
    return f"{said}{hall}: {counted}the first too many went to {client(crossing)}, who {told(crossing)}."


def _double_booked(scene: Scene) -> str:
    pair = rivals(scene)
    return race(*pair) + "." if pair and shared_tickets(*pair) else _plainly(scene)


def _lost(scene: Scene) -> str:
    lost = scene.acts[0]
    said = f"{client(lost)} {asked(lost)} and {told(lost)}{_at(lost)}, and the office's own list has no record of it"
    if len(scene.acts) == 2:
        winner = scene.acts[1]
        return f"{said}: at that version stands {client(winner)}, who {told(winner)}. One was written over the other."
    return said + "."


def _inversion(scene: Scene) -> str:
    early, ahead = scene.acts[0], scene.acts[1]
    if early.return_ns is None:
        return _plainly(scene)
    pause = duration(ahead.invoke_ns - early.return_ns)
    if _only_looked(ahead):
        before = f"{client(early)} had its answer{_at(early)}, {pause} before {client(ahead)} asked"
        return f"{before}; yet {client(ahead)} {told(ahead)}{_at(ahead)}: a state that was already past."
    if _only_looked(early):
        before = f"{client(early)} {told(early)}{_at(early)}, {pause} before {client(ahead)} asked"
        return f"{before}; yet what {client(ahead)} did is counted in it{_at(ahead)}: it saw the future."
    before = f"{client(early)} had its answer{_at(early)}, {pause} before {client(ahead)} asked"
    return f"{before}; yet {client(ahead)} stands ahead of it{_at(ahead)}: who came later was put first."


def _only_looked(act: Act) -> bool:
    return act.op == "read" or act.outcome in {"sold_out", "refused"}


def _sold_out(scene: Scene) -> str:
    act, why = scene.acts[0], scene.witness.text
    there = (why.partition("; ")[2] or why).replace("there were 1 ", "there was 1 ")
    return f"{client(act)} {asked(act)} and {told(act)}{_at(act)}; {there}."


def _half_a_cart(scene: Scene) -> str:
    """A cart is one request, so one buyer: its lines are told as one."""
    first, why = scene.acts[0], scene.witness.text
    return f"{client(first)} asked for a cart and {told(first)}. {why[:1].upper()}{why[1:]}."


def _plainly(scene: Scene) -> str:
    """Whatever else: what each did and was told, and what the check says about it."""
    named = scene.violation in {"answer differs", "duplicate"}
    deeds = [
        f"{client(act)} {asked(act)} and {told(act)}{_at(act)}"
        + (f", order {act.order}" if named and act.order else "")
        for act in scene.acts[:3]
    ]
    why = scene.witness.text
    if not deeds:
        return f"the office's own list cannot be true: {why}." if scene.entries else f"{why}."
    return f"{'; '.join(deeds)}. {why[:1].upper()}{why[1:]}."


def _at(act: Act) -> str:
    return "" if act.version is None else f" at version {act.version:,}"


_TELLERS: dict[str, Callable[[Scene], str]] = {
    "oversold": _oversold,
    "double-booked": _double_booked,
    "lost sale": _lost,
    "inversion": _inversion,
    "false sold-out": _sold_out,
    "half a cart": _half_a_cart,
}
