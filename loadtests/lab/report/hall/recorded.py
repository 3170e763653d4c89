"""The halls of a results folder, read from its history and its audits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from loadtests.lab.checks.files import audit_files, history_file
from loadtests.lab.checks.verdict import Verdict
from loadtests.lab.history.arrays import Ints
from loadtests.lab.history.audit import Audit, read_audit, read_header
from loadtests.lab.history.columns import HistoryError
from loadtests.lab.history.operations import Operations, read_operations
from loadtests.lab.protocol.halls import Hall, HallError
from loadtests.lab.report.hall.drawing import HallDrawing, draw
from loadtests.lab.report.hall.holders import after_the_sale
from loadtests.lab.report.hall.plan import MOST_PLACES, SeatingPlan, plan_of_capacity, plan_of_hall, plan_of_seats


class RecordedSale:
    """A history with its verdict and its audits. Raises HistoryError or FileNotFoundError where it cannot be read."""

    def __init__(self, folder: Path, verdict: Verdict, run: Operations | None = None) -> None:
        self._run = read_operations(history_file(folder)) if run is None else run
        self._verdict = verdict
        self._events = self._run.events()
        self._audits: dict[str, tuple[Path, SeatingPlan | None]] = {}
        for path in audit_files(folder):
            try:
                header = read_header(path)
                hall = None if header.hall is None else plan_of_hall(Hall.of(header.hall))
            except (HistoryError, HallError):
                continue
            self._audits[header.event] = path, hall

    @property
    def events(self) -> list[str]:
        """The events in the order of their first operations."""
        return [event for event, _ in self._events]

    @property
    def first_wrong(self) -> int:
        """The place of the first event, from 0, that went wrong; 0 if none did."""
        found = (self._verdict.events.get(event) for event in self.events)
        return next((at for at, each in enumerate(found) if each is not None and each.is_wrong), 0)

    def drawing(self, at: int, title: str) -> HallDrawing | None:
        """The hall of an event.

        None where the answers name neither tickets nor seats that can be read, or where there are too many places.
        """
        if at >= len(self._events):
            return None
        event, rows = self._events[at]
        path, hall = self._audits.get(event, (None, None))
        chosen = {} if hall else self._seats_chosen(rows)
        plan = hall or (plan_of_seats(set(chosen.values())) if chosen else self._plan_of_tickets(event, rows))
        if plan is None or not plan.can_be_drawn:
            return None
        seats = self._run.seats.row if hall else lambda row: [chosen[row]] if row in chosen else []
        return draw(after_the_sale(self._run, rows, plan, seats, _audit(path)), title)

    def _seats_chosen(self, rows: Ints) -> dict[int, str]:
        """The seats that buyers asked for one by one, by row."""
        named = rows[self._run.seat[rows] >= 0]
        names = {number: self._run.names["seat"].string(number) for number in np.unique(self._run.seat[named]).tolist()}
        pairs = zip(named.tolist(), self._run.seat[named].tolist(), strict=True)
        return {row: names[number] or "" for row, number in pairs}

    def _plan_of_tickets(self, event: str, rows: Ints) -> SeatingPlan | None:
        """As many places as the event has; as there are ticket numbers, where that is not known."""
        numbers = self._run.tickets.take(rows).flat
        if not len(numbers):
            return None
        counts = self._verdict.events.get(event)
        capacity = len(np.unique(numbers)) if counts is None or counts.capacity is None else counts.capacity
        return plan_of_capacity(capacity) if capacity <= MOST_PLACES else None


def _audit(path: Path | None) -> Audit | None:
    """The audit of an event; None where there is none that can be read."""
    try:
        return None if path is None else read_audit(path)
    except HistoryError:
        return None
