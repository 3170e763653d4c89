"""The trace of an execution: the steps of a schedule with the gate, the buyer, what was read or written, a sentence.

The service reports what it read or wrote when it arrives at the next gate, so the arrival that follows a step completes
the sentence of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from loadtests.lab.explore.buyers import ScheduledBuyer
from loadtests.lab.history.recorder import Operation
from loadtests.lab.servers.gate_server import Answered, Arrival

_BEGINNINGS = {
    "view": "reads.",
    "append": "writes.",
    "release": "gives the guard back.",
    "durable": "waits for the disk.",
    "answer": "is answered.",
}
_ASKS = {
    "confirm": "asks to have the hold confirmed.",
    "release": "gives the hold back.",
    "cancel": "cancels the order.",
    "read": "looks at the event.",
    "sweep": "looks for holds that have ended.",
}
_WRITES = {
    "hold": "{tickets} less, set aside for {buyer}",
    "confirm": "the hold is {buyer}'s order",
    "release": "the tickets of {buyer}'s hold are free",
    "cancel": "the tickets of {buyer}'s order are free",
    "sweep": "the holds that have ended are gone",
}
_SOLD = "{tickets} less, sold to {buyer}"


_REFUSED = 400


class TraceStep(msgspec.Struct, omit_defaults=True):
    """The effect of one decision."""

    buyer: str
    """Empty where it is nobody's: time moves, a lease ends, the combiner dies."""
    gate: str
    text: str = ""
    version: int | None = None
    left: int | None = None
    wrote: dict[str, int] = {}
    """The versions that were written, by the event's letter (empty where there is one event)."""
    wrong: bool = False
    """From this step on the answers to the buyers cannot all be true."""
    operation: str = ""
    """The buyer's operation, as it is written in their program."""
    token: str = ""
    """What was chosen; empty where nobody chose it."""
    event: str = ""
    """The event's letter, where there are several."""


class Trace:
    """The steps of one execution, in order."""

    def __init__(
        self,
        is_recorded: Callable[[str, str, int], bool] = lambda *_: False,
        events: int = 1,
        *,
        is_fenced: bool = False,
    ) -> None:
        """``is_recorded``: does the office's list of this event contain what was committed under a key so often?
        ``is_fenced``: the store refuses a write for nothing but the number of its lease."""
        self._is_recorded = is_recorded
        self._events = events
        self._is_fenced = is_fenced
        self.steps: list[TraceStep] = []
        self._written: dict[tuple[str, int], tuple[str, str]] = {}

    def passes(self, buyer: ScheduledBuyer, gate: str, event: str) -> None:
        """Add a step: a buyer was let through the gate at which they stood."""
        what = _asks(buyer) if gate in {"invoke", "acquire"} else _BEGINNINGS.get(gate, f"passes {gate}.")
        before = [step.gate for step in self._of(buyer)[-1:]]
        if gate == "acquire" and self._events > 1:
            again = before in (["invoke"], ["acquire"])
            what = f"asks for the lock of {event}." if again else f"{what[:-1]}, and for the lock of {event}."
        elif gate == "acquire" and before == ["invoke"]:
            what = "comes to the guard."
        self.add(buyer.name, gate, f"{buyer.name} {what}", buyer.operation.text, event)

    def add(self, buyer: str, gate: str, text: str, operation: str = "", event: str = "") -> None:
        """Add a step: something else that the scheduler did."""
        self.steps.append(TraceStep(buyer, gate, text, operation=operation, event=event if self._events > 1 else ""))

    def learn(self, buyer: ScheduledBuyer, event: str, arrival: Arrival) -> None:
        """Complete the sentence of the step that led to an arrival."""
        steps = self._of(buyer)
        if not steps or arrival.gate == "invoke":
            return
        last, name = steps[-1], buyer.name
        if last.gate == "view" and arrival.gate != "release" and arrival.saw is not None:
            last.version, last.left = arrival.saw, arrival.left
            last.text = f"{name} reads{_of(last)}: {arrival.left} left, version {arrival.saw}."
        elif arrival.gate == "release" and last.gate == "view":
            last.version = arrival.versions[-1] if arrival.versions else arrival.version
            last.left = arrival.left
            left = f"{arrival.left or 'nothing'} left"
            last.text = f"{name} reads{_of(last)}: {left}, version {last.version}. Nothing to write."
        elif last.gate == "append" and arrival.gate == "release" and arrival.version is not None:
            if arrival.refused:
                last.version = arrival.version
                last.text = f"{name}'s statement finds version {arrival.version} and changes nothing."
            else:
                self._wrote(buyer, last, dict(zip(buyer.events, arrival.versions or [arrival.version], strict=False)))
        elif last.gate == "append" and arrival.gate == "view":
            why = f"{name} finds that somebody wrote since"
            if self._is_fenced:
                why = f"The store has seen a higher lease number than {name}'s, and refuses the write"
            last.text = f"{why}: nothing is written, {name} begins again."

    def answered(self, buyer: ScheduledBuyer, answered: Answered) -> None:
        """Complete the step that led to a buyer's answer, or add one: the buyer waited, and somebody else went on."""
        steps = self._of(buyer)
        if not steps or not answered.status:
            return
        if buyer.operation.verb == "read" and answered.lines:
            steps[-1].version, steps[-1].left = answered.lines[0].version, answered.lines[0].remaining
        told = f"{buyer.name} is told: {_told(answered)}."
        if answered.lost:
            told = f"The answer to {buyer.name} is lost: {buyer.name} does not know what became of the request."
        if steps[-1] is not self.steps[-1]:
            self.add(buyer.name, "answer", told, buyer.operation.text)
        else:
            steps[-1].text = told if steps[-1].gate == "answer" else f"{steps[-1].text} {told}"

    def _wrote(self, buyer: ScheduledBuyer, step: TraceStep, versions: Mapping[str, int]) -> None:
        """``versions``: what was written, by the event's letter."""
        operation = buyer.operation
        tickets = "one ticket" if operation.quantity == 1 else f"{operation.quantity} tickets"
        what = _WRITES.get(_verb(buyer), _SOLD).format(tickets=tickets, buyer=buyer.name)
        step.version = next(iter(versions.values()))
        step.wrote = {event if self._events > 1 else "": version for event, version in versions.items()}
        named = [
            f"version {version}{f' of {event}' if self._events > 1 else ''}" for event, version in versions.items()
        ]
        step.text = f"{buyer.name} writes {' and '.join(named)}: {what}."
        for (event, version), name in zip(versions.items(), named, strict=True):
            if (before := self._written.get((event, version))) is not None:
                step.wrong = True
                stands = self._is_recorded(before[1], event, 2 if before[1] == buyer.key else 1)
                became = "both sales stand under it" if stands else "that sale is gone"
                step.text += f" {before[0]} had written {name} already: {became}."
            self._written[event, version] = (buyer.name, buyer.key)

    def _of(self, buyer: ScheduledBuyer) -> list[TraceStep]:
        return [step for step in self.steps if step.buyer == buyer.name]


def _of(step: TraceStep) -> str:
    return f" {step.event}" if step.event else ""


def _verb(buyer: ScheduledBuyer) -> str:
    """What the buyer does; where the request is a repetition, what the first one asked for."""
    verb = buyer.operation.verb
    return buyer.lines[-1].op if verb == "retry" else verb


def _asks(buyer: ScheduledBuyer) -> str:
    """What a buyer asks for, in words."""
    operation = buyer.operation
    tickets = "one ticket" if operation.quantity == 1 else f"{operation.quantity} tickets"
    what = ", ".join(operation.seats) or tickets
    match operation.verb:
        case "buy":
            return f"asks for {what}."
        case "hold":
            return f"asks to have {what} set aside."
        case "cart":
            return f"asks for one ticket of each of the events {', '.join(operation.events)}."
        case "retry":
            return f"sends {operation.argument or buyer.name}'s request again, under the same key."
        case "switch":
            return f"asks for the guard {operation.argument}."
    return _ASKS[operation.verb]


def _told(answered: Answered) -> str:
    if answered.status >= _REFUSED:
        return answered.code
    if not answered.lines:
        return "done"
    if len(answered.lines) > 1 and all(line.tickets for line in answered.lines):
        # An event's letter stands at the end of its name.
        return "sold, " + " and ".join(f"{_numbered(line)} of {line.event[-1]}" for line in answered.lines)
    return " and ".join(map(_told_of, answered.lines))


def _told_of(line: Operation) -> str:
    """An answer that is no refusal, in words."""
    numbered = _numbered(line)
    again = ", as before" if line.replayed else ""
    match line.op:
        case "buy" | "confirm":
            return f"sold, {numbered}{again}"
        case "hold":
            return f"set aside, {numbered}{again}"
        case "read":
            return f"{line.remaining} left, version {line.version}"
    return f"done{again}"


def _numbered(line: Operation) -> str:
    tickets = ", ".join(map(str, line.tickets or ()))
    return f"ticket {tickets}" if not line.seats else f"ticket {tickets}, seat {', '.join(line.seats)}"
