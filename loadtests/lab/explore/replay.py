"""A replay id: one word that names an explored case and one of its schedules. No shell takes it for something else.

``1.json.none.2x1.avpw.AABBBBAA``: format 1, the store, the guard, 2 buyers for 1 ticket, the gates at which they were
held, the schedule. It is written for plain purchases.

``2.json.none.expiry.1.ivp.AAAtBBBA``: format 2, the store, the guard, the scenario, the tickets, the gates, the
schedule. In the scenario's place may stand programs: ``hold:confirm/buy=2``. Of a schedule's tokens, ``~A``, ``!A`` and
``*`` are written ``_A``, ``%A`` and ``+``.

The worker model is not part of it: the same schedule has the same result under each.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadtests.lab.explore.programs import BUY, Program, parse_programs, written
from loadtests.lab.explore.scenarios import SCENARIOS
from loadtests.lab.explore.schedules import Token, buyer_of, tokens

PLAIN, FORMAT = "1", "2"
MOST_BUYERS = 8
MOST_TICKETS = 100
GATE_LETTERS = {
    "invoke": "i", "acquire": "a", "view": "v", "append": "p", "release": "r", "durable": "d", "answer": "w",
}  # fmt: skip
_TO_WORD, _FROM_WORD = str.maketrans("~!*", "_%+"), str.maketrans("_%+", "~!*")
_LOOKS_LIKE = "1.json.none.2x1.avpw.AABBBBAA or 2.json.none.expiry.1.ivp.AAAtBBBA"


class ReplayId(msgspec.Struct, frozen=True):
    """The content of a replay id."""

    store: str
    guard: str
    programs: tuple[Program, ...]
    tickets: int
    gates: tuple[str, ...]
    schedule: str
    scenario: str = ""
    """The name of a scenario with these programs, where there is one."""

    @property
    def id(self) -> str:
        gates = "".join(GATE_LETTERS[gate] for gate in self.gates)
        if self.is_plain:
            case = f"{len(self.programs)}x{self.tickets}"
            return f"{PLAIN}.{self.store}.{self.guard}.{case}.{gates}.{self.schedule}"
        what = self.scenario or _packed(written(self.programs))
        schedule = self.schedule.translate(_TO_WORD)
        return f"{FORMAT}.{self.store}.{self.guard}.{what}.{self.tickets}.{gates}.{schedule}"

    @property
    def prefix(self) -> list[Token]:
        return tokens(self.schedule)

    @property
    def is_plain(self) -> bool:
        known = all(buyer_of(token) and token[0] not in "~!" for token in self.prefix)
        return known and "invoke" not in self.gates and all(program == BUY for program in self.programs)


def parse(text: str) -> ReplayId:
    """The content of a replay id. Raises ``ValueError`` if it has another format or is broken."""
    parts = text.strip().split(".")
    if parts[0] not in {PLAIN, FORMAT}:
        raise ValueError(
            f"{text!r} was written by another version (format {parts[0]!r}; this one reads formats {PLAIN} and "
            f"{FORMAT}). Explore again to get an id that fits."
        )
    try:
        found = _plain(parts[1:]) if parts[0] == PLAIN else _of_programs(parts[1:])
    except (ValueError, IndexError):
        raise ValueError(f"{text!r} is no replay id; one looks like {_LOOKS_LIKE}") from None
    buyers = len(found.programs)
    check_case(buyers, found.tickets)
    for token in found.prefix:
        if buyer_of(token) and ord(buyer_of(token)) - ord("A") >= buyers:
            raise ValueError(f"{text!r} lets {buyer_of(token)} go on, and there are {buyers} buyers")
    return found


def _plain(parts: Sequence[str]) -> ReplayId:
    store, guard, case, letters, schedule = parts
    buyers, tickets = (int(number) for number in case.split("x"))
    return ReplayId(store, guard, (BUY,) * buyers, tickets, _gates_of(letters), schedule)


def _of_programs(parts: Sequence[str]) -> ReplayId:
    store, guard, what, tickets, letters, schedule = parts
    scenario = SCENARIOS.get(what)
    programs = parse_programs(_unpacked(what)) if scenario is None else scenario.parsed
    name = "" if scenario is None else what
    return ReplayId(store, guard, programs, int(tickets), _gates_of(letters), schedule.translate(_FROM_WORD), name)


def _packed(programs: Sequence[str]) -> str:
    return "/".join(programs).replace("; ", ":").replace(", ", ",").replace(" ", "=")


def _unpacked(word: str) -> list[str]:
    return [text.replace("=", " ").replace(":", ";") for text in word.split("/")]


def _gates_of(letters: str) -> tuple[str, ...]:
    gates = tuple(gate for gate, letter in GATE_LETTERS.items() if letter in letters)
    if len(gates) != len(letters):
        raise ValueError
    return gates


def check_case(buyers: int, tickets: int) -> None:
    """Raises ``ValueError`` if there are too many buyers or tickets, or too few for a race."""
    if not 2 <= buyers <= MOST_BUYERS:
        raise ValueError(f"an exploration has 2 to {MOST_BUYERS} buyers, not {buyers}")
    if not 1 <= tickets <= MOST_TICKETS:
        raise ValueError(f"an exploration has 1 to {MOST_TICKETS} tickets, not {tickets}")


def check_gates(names: list[str]) -> tuple[str, ...]:
    """The named gates in the order of a purchase. Raises ``ValueError`` for a gate that does not exist."""
    for name in names:
        if name not in GATE_LETTERS:
            raise ValueError(f"there is no gate {name!r}; the gates are: {', '.join(GATE_LETTERS)}")
    return tuple(gate for gate in GATE_LETTERS if gate in names)


def check_programs(programs: Sequence[Program], gates: Sequence[str]) -> None:
    """Raises ``ValueError`` if two requests under one key could not be told apart, since both are sent at once."""
    foreign = any(operation.verb == "retry" and operation.argument for program in programs for operation in program)
    if foreign and "invoke" not in gates:
        raise ValueError("a retry of another buyer's request needs the gate invoke: name it in --gates")
