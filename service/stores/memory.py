"""Store ``memory``: a dictionary, for tests and for lessons. One process; gone with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from service.errors import Problem
from service.rules.inventory import Command, Event, Record, View, due_at, replay
from service.settings import Settings
from service.stores.base import Store
from service.stores.halls import Halls
from service.stores.reading import source_of, with_hall


class Memory(Store):
    """Each event is an immutable pair (event, records); ``append`` puts a new pair in the place of the old.

    So it loses updates without a guard just as a document does. Guarantees nothing after the process has ended.
    """

    name = "memory"

    def __init__(self, settings: Settings) -> None:
        self._events: dict[str, tuple[Event, tuple[Record, ...]]] = {}
        halls: dict[str, bytes] = {}
        self.halls = Halls(halls.get, halls.__setitem__)

    def create(self, event: Event) -> None:
        mine = (event, ())
        if self._events.setdefault(event.event, mine) is not mine:
            raise Problem("event_exists", f"Nothing was changed in {event.event!r}.")

    def delete(self, event: str) -> None:
        if self._events.pop(event, None) is None:
            raise Problem("unknown_event")

    def names(self) -> list[str]:
        return sorted(self._events)

    def view(
        self, event: str, commands: Sequence[Command] = (), now: datetime | None = None, *, order: str | None = None
    ) -> View:
        about, records = self._read(event)
        view = replay(about, records, self.halls.of(about))
        view.due = due_at(view.holds.values(), now)
        view.source = records
        return view

    def seats(self, event: str) -> View:
        return with_hall(self.view(event))

    def append(self, views: Sequence[View]) -> Sequence[object]:
        [view] = views
        self._events[view.event.event] = (view.event, (*source_of(view, tuple), *view.fresh))
        return (None,)

    def make_durable(self, event: str, position: object) -> None:
        """Nothing to do: this store promises no durability."""

    def audit(self, event: str) -> tuple[Event, tuple[Record, ...], object]:
        about, records = self._read(event)
        return about, records, None

    def _read(self, event: str) -> tuple[Event, tuple[Record, ...]]:
        try:
            return self._events[event]
        except KeyError:
            raise Problem("unknown_event") from None
