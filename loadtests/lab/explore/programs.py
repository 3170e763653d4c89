"""Programs: what each buyer of an exploration does, one operation after another.

``A: hold, confirm`` is the program of buyer A. What stands before a semicolon (``A: hold; confirm``) has happened when
the exploration begins, undisturbed. A comma ends an operation where a word of two letters or more follows: the events
of a cart have one letter each. The first event is ``a``; operations without an event are about it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import msgspec

MOST_PROGRAMS = 4
MOST_OPERATIONS = 6
WORDS = {
    "buy": "buy, buy 2, buy b, buy 2 b: tickets, by default one, by default of event a",
    "hold": "hold, hold 2, hold seats stalls-A-1: sets them aside for 60 s",
    "confirm": "turns the buyer's last hold into an order",
    "release": "gives the buyer's last hold back",
    "cancel": "cancels the buyer's last order",
    "retry": "the operation before again under the same key; retry A: buyer A's first one, which may be under way",
    "cart": "cart a,b: a ticket of each of these events, all or none",
    "seats": "seats stalls-A-1: these seats of a small hall",
    "read": "read, read b: the event's counters",
    "sweep": "the sweeper's decision, which ends holds that are due",
    "switch": "switch on, switch none: has the service change its guard",
}
"""The operations, and what they mean."""

_SEPARATOR = re.compile(r",\s*(?=[a-z]{2})")
_EVENT = re.compile(r"[a-d]")
_BUYER = re.compile("[A-D]")
_SEAT = re.compile(r"[A-Za-z0-9]+-[A-Za-z0-9]+-[1-9][0-9]*")
_OWN = ("sweep", "switch")
"""What no buyer asks for: it is in no history."""


class ProgramOperation(msgspec.Struct, frozen=True):
    """One operation of a program."""

    verb: str
    events: tuple[str, ...] = ("a",)
    quantity: int = 1
    seats: tuple[str, ...] = ()
    argument: str = ""
    """Of ``retry``: the buyer whose first operation it repeats; of ``switch``: the guard."""
    before: bool = False
    """It has happened when the exploration begins."""

    @property
    def text(self) -> str:
        """As it is written in a program."""
        match self.verb:
            case "cart":
                return f"cart {','.join(self.events)}"
            case "buy" | "hold" | "read":
                if self.seats:
                    return " ".join(("hold seats" if self.verb == "hold" else "seats", *self.seats))
                number = [str(self.quantity)] if self.quantity > 1 else []
                event = self.events if self.events != ("a",) else ()
                return " ".join((self.verb, *number, *event))
            case _:
                return f"{self.verb} {self.argument}".strip()

    @property
    def is_recorded(self) -> bool:
        """Whether it stands in the history."""
        return self.verb not in _OWN


Program = tuple[ProgramOperation, ...]
BUY: Program = (ProgramOperation("buy"),)


def parse_programs(texts: Sequence[str]) -> tuple[Program, ...]:
    """The programs of buyers A, B, …, in this order; ``A:`` may be left out. Raises ``ValueError`` in words."""
    if not 2 <= len(texts) <= MOST_PROGRAMS:
        raise ValueError(f"an exploration has 2 to {MOST_PROGRAMS} scripts, not {len(texts)}")
    found = tuple(_program(text, name) for text, name in zip(texts, "ABCD", strict=False))
    if sum(operation.verb == "sweep" for program in found for operation in program) > 1:
        raise ValueError("there is one sweeper, so one operation of all scripts may be a sweep")
    for operation in (each for program in found for each in program if each.verb == "retry" and each.argument):
        if ord(operation.argument) - ord("A") >= len(found):
            raise ValueError(f"{operation.text!r}: there is no buyer {operation.argument}")
    return found


def written(programs: Sequence[Program]) -> list[str]:
    """The programs as ``parse_programs`` reads them, without the buyers' letters."""
    return [
        "; ".join(
            ", ".join(each.text for each in part) for _, part in itertools.groupby(program, lambda each: each.before)
        )
        for program in programs
    ]


def events_of(programs: Sequence[Program]) -> list[str]:
    """The letters of all events that the programs name, and ``a``."""
    return sorted({"a", *(event for program in programs for each in program for event in each.events)})


def _program(text: str, name: str) -> Program:
    before, colon, after = text.partition(":")
    if colon and before.strip() != name:
        raise ValueError(f"the scripts are of A, B, … in this order: {text!r} should begin with “{name}:”")
    before, semicolon, rest = (after if colon else text).rpartition(";")
    words = [(each, True) for each in _SEPARATOR.split(before) if semicolon]
    words += [(each, False) for each in _SEPARATOR.split(rest)]
    if len(words) > MOST_OPERATIONS:
        raise ValueError(f"a script has at most {MOST_OPERATIONS} operations, not {len(words)}: {text!r}")
    operations: list[ProgramOperation] = []
    for each, is_before in words:
        operation = msgspec.structs.replace(_operation(each.strip(), text), before=is_before)
        _insist_on_what_came_before(operation, operations, text)
        operations.append(operation)
    return tuple(operations)


def _operation(text: str, script: str) -> ProgramOperation:
    verb, *rest = text.split() or [""]
    found = _of_tickets(verb, rest)
    if found is None:
        match verb, rest:
            case "retry", [] | [_] if _all(_BUYER, rest):
                found = ProgramOperation("retry", argument="".join(rest))
            case "switch", [guard] if guard.isalnum():
                found = ProgramOperation("switch", argument=guard)
            case (("confirm" | "release" | "cancel" | "sweep"), []):
                found = ProgramOperation(verb)
            case _:
                known = f"{verb} is written so: {WORDS[verb]}" if verb in WORDS else f"there are: {', '.join(WORDS)}"
                raise ValueError(f"{text!r} in {script!r} is no operation; {known}")
    return found


def _of_tickets(verb: str, rest: list[str]) -> ProgramOperation | None:
    """An operation that names events, tickets or seats."""
    match verb, rest:
        case "cart", [events] if _all(_EVENT, names := events.split(",")) and 1 < len(names) == len(set(names)):
            return ProgramOperation("cart", tuple(names))
        case "seats", [_, *_] if _all(_SEAT, rest):
            return ProgramOperation("buy", quantity=len(rest), seats=tuple(rest))
        case "hold", ["seats", _, *_] if _all(_SEAT, rest[1:]):
            return ProgramOperation("hold", quantity=len(rest) - 1, seats=tuple(rest[1:]))
        case (("buy" | "hold"), [] | [_] | [_, _]) if (asked := _tickets(rest)) is not None:
            return ProgramOperation(verb, (asked[1],), asked[0])
        case "read", [] | [_] if _all(_EVENT, rest):
            return ProgramOperation("read", (rest[0] if rest else "a",))
    return None


def _tickets(words: list[str]) -> tuple[int, str] | None:
    number, event = [*(["1"] if not words or _EVENT.fullmatch(words[0]) else []), *words, "a"][:2]
    fits = number.isascii() and number.isdigit() and 1 <= int(number[:3]) <= 10 and _EVENT.fullmatch(event)
    return (int(number), event) if fits else None


def _all(pattern: re.Pattern[str], words: Sequence[str]) -> bool:
    return all(map(pattern.fullmatch, words))


def _insist_on_what_came_before(operation: ProgramOperation, before: Sequence[ProgramOperation], script: str) -> None:
    verbs = {each.verb for each in before}
    missing = (
        (operation.verb in {"confirm", "release"} and "hold" not in verbs)
        or (operation.verb == "cancel" and not verbs & {"buy", "confirm"})
        or (operation.verb == "retry" and not operation.argument and not before)
    )
    if missing:
        what = {"cancel": "an order (buy, or hold and confirm)", "retry": "an operation"}.get(operation.verb, "a hold")
        raise ValueError(f"{operation.text!r} in {script!r} needs {what} before it, by the same buyer")
