"""A replay id: one word that names an explored case and one of its schedules.

``1.json.none.2x1.avpw.AABBBBAA``: format 1, the store, the guard, 2 buyers for 1 ticket, the gates at which they were
held, the schedule. The worker model is not part of it: the same schedule has the same result under each.
"""

from __future__ import annotations

import msgspec

from loadtests.lab.explore.schedules import Token, tokens

FORMAT = "1"
MOST_BUYERS = 8
MOST_TICKETS = 100
GATE_LETTERS = {"acquire": "a", "view": "v", "append": "p", "release": "r", "durable": "d", "answer": "w"}


class ReplayId(msgspec.Struct, frozen=True):
    """The content of a replay id."""

    store: str
    guard: str
    buyers: int
    tickets: int
    gates: tuple[str, ...]
    schedule: str

    @property
    def id(self) -> str:
        gates = "".join(GATE_LETTERS[gate] for gate in self.gates)
        return f"{FORMAT}.{self.store}.{self.guard}.{self.buyers}x{self.tickets}.{gates}.{self.schedule}"

    @property
    def prefix(self) -> list[Token]:
        return tokens(self.schedule)


def parse(text: str) -> ReplayId:
    """The content of a replay id. Raises ``ValueError`` if it has another format or is broken."""
    parts = text.strip().split(".")
    if parts[0] != FORMAT:
        raise ValueError(
            f"{text!r} was written by another version (format {parts[0]!r}; this one reads format {FORMAT}). "
            "Explore again to get an id that fits."
        )
    try:
        _, store, guard, case, letters, schedule = parts
        buyers, tickets = (int(number) for number in case.split("x"))
        gates = tuple(gate for gate, letter in GATE_LETTERS.items() if letter in letters)
        if len(gates) != len(letters):
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} is no replay id; one looks like 1.json.none.2x1.avpw.AABBBBAA") from None
    check_case(buyers, tickets)
    for token in tokens(schedule):
        if ord(token[-1].upper()) - ord("A") >= buyers:
            raise ValueError(f"{text!r} lets {token[-1].upper()} go on, and there are {buyers} buyers")
    return ReplayId(store, guard, buyers, tickets, gates, schedule)


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
