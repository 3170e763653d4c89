"""The steps of one order in the learner's own lines, and what each does to what the actors share."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from workers.exercises.common.exercise import Step
from workers.exercises.common.program import Program

MOST_ENTRIES = 300
"""More than an order has that ends; of one that does not end the last ones are kept."""


class OrderLog:
    """What each actor did, in the order in which it was done."""

    def __init__(self, program: Program, actors: Sequence[str]) -> None:
        self._program, self._actors = program, actors
        self._entries: deque[tuple[int, int, str, str]] = deque(maxlen=MOST_ENTRIES)
        """Actor, line, ``read``, ``write`` or nothing, and the name of what was read or written."""
        self._last: dict[str, int] = {}

    def clear(self) -> None:
        """Forget everything: another order begins."""
        self._entries.clear()
        self._last = {}

    def reached(self, actor: int, line: int, access: str, name: str) -> None:
        """The actor goes on in this line, and reads or writes what has this name, if it has one."""
        if name or not self._entries or self._entries[-1][:2] != (actor, line):
            self._entries.append((actor, line, access, name))
            self._last[self._actors[actor]] = line

    def last_lines(self) -> dict[str, int]:
        """The line in which each actor was last."""
        return dict(self._last)

    def steps(self) -> list[Step]:
        """The order, one step for all that an actor did in a line without an interruption."""
        written = {name for _, _, access, name in self._entries if access == "write"}
        steps: list[tuple[int, int, list[str]]] = []
        for actor, line, access, name in self._entries:
            if not steps or steps[-1][:2] != (actor, line):
                steps.append((actor, line, []))
            note = f"{access}s {name}"
            if name in written and note not in steps[-1][2]:
                steps[-1][2].append(note)
        return [
            Step(self._actors[actor], line, self._program.line(line), ", ".join(notes)) for actor, line, notes in steps
        ]
