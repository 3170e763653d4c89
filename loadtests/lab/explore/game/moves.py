"""What a player sees of an execution: before each decision where everybody stands, and what the documents hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec.structs import asdict

from loadtests.lab.checks.anomalies import anomalies_of
from loadtests.lab.explore.execution import ExecutedSchedule, ScheduleRunner
from loadtests.lab.explore.reason import Reason, reason_of
from loadtests.lab.explore.schedules import Chooser, Standing, Token, buyer_names
from loadtests.lab.explore.trace import TraceStep

Shown = dict[str, Any]
"""A part of the page's data."""


_NONE: Mapping[Token, Standing] = MappingProxyType({})


class SceneState(msgspec.Struct, frozen=True):
    """The state before a decision."""

    made: int
    """How many steps were made until now."""
    could: list[Token]
    stands: dict[Token, list[str]]
    """What each of these moves is about: the gate, the operation, and the event's letter where there are several."""
    waits: list[str]
    """The buyers who wait for somebody."""
    documents: list[Shown]


class ScheduleEnd(msgspec.Struct, frozen=True):
    """How an order ended."""

    broken: bool
    anomalies: list[str]
    pair: list[int]
    """The places of the two steps that conflicted, where there are two."""
    reason: list[str]
    """A sentence about each of them."""
    stuck: str
    """Who waits, if nobody could go on."""
    told: dict[str, list[str]]
    """By buyer: the outcome of the last operation, and the tickets or seats of it."""
    documents: list[Shown]


class WatchingChooser(Chooser):
    """Lets another chooser decide, and keeps what there is to see before each decision.

    ``known`` has views by the schedule before them: what is known is not read from the service again.
    """

    def __init__(self, chooser: Chooser, runner: ScheduleRunner, known: dict[str, SceneState] | None = None) -> None:
        super().__init__()
        self._chooser = chooser
        self._runner = runner
        self._known = {} if known is None else known
        self.choices = chooser.choices
        self.steps: list[TraceStep] = []
        self.views: list[SceneState] = []
        runner.on_decision = self._note_steps

    def choose(
        self, enabled: Sequence[Token], standings: Mapping[Token, Standing] = _NONE, blocked: Sequence[Standing] = ()
    ) -> Token:
        schedule = self.choices.schedule
        if schedule not in self._known:
            several = len(self._runner.events) > 1
            stands = {
                token: [each.gate, each.operation, each.event if several else ""] for token, each in standings.items()
            }
            waits = [standing.buyer for standing in blocked]
            documents = read_documents(self._runner)
            self._known[schedule] = SceneState(len(self.steps), list(enabled), stands, waits, documents)
        self.views.append(self._known[schedule])
        return self._chooser.choose(enabled, standings, blocked)

    def _note_steps(self, steps: list[TraceStep]) -> None:
        self.steps = steps


def shown(steps: Sequence[TraceStep]) -> list[Shown]:
    """Steps as the page takes them."""
    return [msgspec.to_builtins(step) for step in steps]


def read_documents(runner: ScheduleRunner) -> list[Shown]:
    """What each event of the running execution holds now, as the service says: places left, and its records."""
    return [_document(runner, name) for name in runner.names.values()]


def _document(runner: ScheduleRunner, event: str) -> Shown:
    office = runner.office.office
    records = [msgspec.json.decode(line) for line in office.audit(event).splitlines()[1:]]
    return {
        "left": office.event(event)["remaining"],
        "records": [[record["version"], record["kind"], _buyer(record), _places(record)] for record in records],
    }


def _buyer(record: Shown) -> str:
    return str(record.get("key") or "")[:1]


def _places(record: Shown) -> str:
    """Seats without their section: a scenario's hall has one. Without seats the tickets' numbers."""
    seats = [seat.partition("-")[2] for seat in record.get("seats") or ()]
    return ", ".join(seats or [f"#{ticket}" for ticket in record.get("tickets") or ()])


def result_of(executed: ExecutedSchedule, runner: ScheduleRunner, breaks: str) -> ScheduleEnd:
    """How an execution ended. ``breaks``: the code of an answer that breaks it too; empty: none does."""
    refused = bool(breaks) and any(f" is told: {breaks}." in step.text for step in executed.steps)
    reason = reason_of(executed.steps, executed.verdict) if executed.failing else Reason()
    names = buyer_names(runner.buyers)
    return ScheduleEnd(
        broken=executed.failing or refused,
        anomalies=["deadlock"] * refused + list(anomalies_of(executed.verdict) if executed.verdict else ()),
        pair=list(reason.steps),
        reason=list(reason.sentences) if reason.steps else [],
        stuck=executed.stuck,
        # The last digit of a process is the buyer's number.
        told={names[line.process % 10]: [line.outcome, _places(asdict(line))] for line in executed.operations},
        documents=read_documents(runner),
    )
