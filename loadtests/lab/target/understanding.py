"""What an answer means for an operation: its outcome, and the facts that the history keeps of it.

The rule of ``protocol.answers`` holds here too: ``fail`` is claimed only for what the file calls definite; any other
error is ``unknown``, for it may have been a sale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import msgspec

from loadtests.lab.history.columns import MOST_TICKETS
from loadtests.lab.history.recorder import Completion, Operation
from loadtests.lab.protocol.answers import LONGEST_ID
from loadtests.lab.target.reading import AnswerView, meets, take, whole
from loadtests.lab.target.tables import From, Outcomes, RequestStep, each_of

_FINE = range(200, 300)
_MOST_NOTES, _MOST_COUNTED = 10, 1000


class Understanding:
    """Reads answers as a target file says, and counts what was not as it says."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._answers: Counter[str] = Counter()
        self._lacking: Counter[tuple[str, str, str]] = Counter()
        self._trouble: Counter[str] = Counter()

    def understand(self, step: Outcomes, operation: Operation, reading: AnswerView) -> str:
        """By the file's conditions: sold out and refused first, then definite, then ok, else unknown.

        What is no JSON is no sale where a field of it would say that it was none. Returns a word for the error.
        """
        operation.outcome = _outcome(step, reading)
        if operation.outcome != "ok":
            # What an earlier step showed is no part of a refusal: it may have been seen before anything was decided.
            operation.remaining = operation.version = None
        if operation.outcome == "ok" and not reading.is_json and _fields_decide(step):
            operation.outcome = "unknown"
        if operation.outcome in {"ok", "sold_out", "refused"}:
            self._keep_facts(step, operation, reading)
        return "definite" if operation.outcome == "fail" else "not described in the target file"

    def note(self, trouble: str) -> None:
        """Count something that did not go as the file says; of a service that says something new each time, no more."""
        if trouble in self._trouble or len(self._trouble) < _MOST_COUNTED:
            self._trouble[trouble] += 1

    def notes(self) -> list[str]:
        """Sentences: how often a value was not where the file says, and what else did not go as the file says."""
        lacking = [
            f"{count:,} of {self._answers[op]:,} answers to {op} have no {wanted} at `{path}`: is the file right?"
            for (op, path, wanted), count in self._lacking.items()
        ]
        trouble = self._trouble.most_common(_MOST_NOTES)
        return [*lacking, *(f"{'once' if count == 1 else f'{count:,} times'}: {text}" for text, count in trouble)]

    def _keep_facts(self, step: Outcomes, operation: Operation, reading: AnswerView) -> None:
        ok = operation.outcome == "ok"
        self._answers[operation.op] += ok
        for fact in _FACTS:
            is_due = fact.of_refusals_too or (ok and operation.op != "read")
            if is_due and (fact.name != "quantity" or operation.op == "buy"):
                self._find(operation, fact, getattr(step.answer, fact.name), reading)

    def _find(self, operation: Operation, fact: _Fact, source: From | None, reading: AnswerView) -> None:
        if source is None:
            return
        found = fact.read(take(source, reading, self.capacity))
        if found is not None:
            setattr(operation, fact.name, found)
        elif operation.outcome == "ok":
            self._lacking[operation.op, described(source), fact.wanted] += 1


def is_ok(step: RequestStep, reading: AnswerView) -> bool:
    """Whether a step that has to succeed did."""
    return reading.status in _FINE if step.ok is None else meets(step.ok, reading)


def _outcome(step: Outcomes, reading: AnswerView) -> Completion:
    outcomes: dict[str, Completion] = {"sold_out": "sold_out", "refused": "refused", "definite": "fail"}
    for name, outcome in outcomes.items():
        if meets(getattr(step, name, None), reading):
            return outcome
    return "ok" if is_ok(step, reading) else "unknown"


def _fields_decide(step: Outcomes) -> bool:
    words = (getattr(step, name, None) for name in ("sold_out", "refused", "definite", "ok"))
    return any(condition.field is not None for word in words for condition in each_of(word))


def described(source: From) -> str:
    """A source in the words of the file, for messages."""
    if isinstance(source, str):
        return source
    given = {name: value for name, value in msgspec.structs.asdict(source).items() if value is not None}
    return ", ".join(f"{name} = {value}" for name, value in given.items())


def identity(value: Any) -> str | None:
    """An id as services write it that a history may hold."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    name = str(value)
    return name if 0 < len(name) <= LONGEST_ID and name.isprintable() else None


def _numbers(value: Any) -> list[int] | None:
    """Ticket numbers: one, or a list of them."""
    numbers = [whole(each) for each in (value if isinstance(value, list) else [value])]
    known = [number for number in numbers if number is not None]
    return known if known and len(known) == len(numbers) else None


class _Fact(NamedTuple):
    """Something that a history may hold, what it is called when it is missing, and how it is read."""

    name: str
    wanted: str
    read: Callable[[Any], Any]
    of_refusals_too: bool = False


_FACTS = (
    _Fact("remaining", "number", whole, of_refusals_too=True),
    _Fact("version", "number", partial(whole, least=0), of_refusals_too=True),
    _Fact("order", "id", identity),
    _Fact("tickets", "ticket numbers", _numbers),
    _Fact("quantity", "number of tickets", partial(whole, least=1, most=MOST_TICKETS)),
)
