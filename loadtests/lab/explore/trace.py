"""The trace of an execution: the steps of a schedule with the gate, the buyer, what was read or written, a sentence.

The service reports what it read or wrote when it arrives at the next gate, so the arrival that follows a step completes
the sentence of the step.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from loadtests.lab.servers.gate_server import Answered, Arrival

_BEGINNINGS = {
    "acquire": "asks for one ticket.",
    "view": "reads.",
    "append": "writes.",
    "release": "gives the guard back.",
    "durable": "waits for the disk.",
    "answer": "is answered.",
}


class Step(msgspec.Struct, omit_defaults=True):
    """The effect of one decision."""

    buyer: str
    gate: str
    text: str = ""
    version: int | None = None
    left: int | None = None
    wrong: bool = False
    """From this step on the answers to the buyers cannot all be true."""


class Trace:
    """The steps of one execution, in order. ``is_recorded``: does the office's list contain a buyer's sale?"""

    def __init__(self, is_recorded: Callable[[str], bool] = lambda _buyer: False) -> None:
        self._is_recorded = is_recorded
        self.steps: list[Step] = []
        self._written: dict[int, str] = {}

    def passes(self, buyer: str, arrival: Arrival) -> None:
        """Add a step: a buyer was let through the gate at which they stood."""
        self.add(buyer, arrival.gate, _BEGINNINGS.get(arrival.gate, f"passes {arrival.gate}."))

    def add(self, buyer: str, gate: str, what: str) -> None:
        """Add a step: something else that the scheduler did to a buyer at a gate."""
        self.steps.append(Step(buyer, gate, f"{buyer} {what}"))

    def learn(self, buyer: str, arrival: Arrival) -> None:
        """Complete the sentence of the step that led to an arrival."""
        last = self._last(buyer)
        if last is None:
            return
        if arrival.gate == "append" and arrival.saw is not None:
            last.version, last.left = arrival.saw, arrival.left
            last.text = f"{buyer} reads: {arrival.left} left, version {arrival.saw}."
        elif arrival.gate == "release" and last.gate == "view":
            last.version, last.left = arrival.version, 0
            last.text = f"{buyer} reads: nothing left, version {arrival.version}. Nothing to write."
        elif last.gate == "append" and arrival.gate == "release" and arrival.version is not None:
            if arrival.refused:
                last.version = arrival.version
                last.text = f"{buyer}'s statement finds version {arrival.version} and changes nothing."
            else:
                self._wrote(buyer, last, arrival.version)
        elif last.gate == "append" and arrival.gate == "view":
            last.text = f"{buyer} finds that somebody wrote since: nothing is written, {buyer} begins again."

    def finish(self, answers: list[Answered]) -> None:
        """Complete the steps in which the answers were given, once all answers are there."""
        for answered in answers:
            last = self._last(answered.buyer, "answer")
            if last is None:
                continue
            tickets = answered.content.get("tickets")
            if answered.status == 201 and isinstance(tickets, list):
                last.text = f"{answered.buyer} is told: sold, ticket {', '.join(map(str, tickets))}."
            else:
                last.text = f"{answered.buyer} is told: {answered.content.get('code', 'nothing')}."

    def _wrote(self, buyer: str, step: Step, version: int) -> None:
        step.version = version
        step.text = f"{buyer} writes version {version}: one ticket less, sold to {buyer}."
        overwritten = self._written.get(version)
        if overwritten is not None:
            step.wrong = True
            became = "both sales stand under it" if self._is_recorded(overwritten) else "that sale is gone"
            step.text += f" {overwritten} had written version {version} already: {became}."
        self._written[version] = buyer

    def _last(self, buyer: str, gate: str | None = None) -> Step | None:
        mine = (step for step in reversed(self.steps) if step.buyer == buyer and gate in (None, step.gate))
        return next(mine, None)
