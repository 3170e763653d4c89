"""``/events/<event>/hall`` and ``/seats``: where the seats are and which are free; and how seats are asked for."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated, Protocol

import msgspec
from flask import Blueprint, Response, current_app, g

from service.errors import Problem
from service.http import schemas
from service.http.answers import converted, encode, event_id, office, query, tagged_answer
from service.http.described import described
from service.rules.halls import FREE, HELD, MOST_SEATS, SOLD, Hall, Plan, Row, Section, packed, row_names
from service.rules.records import ANY, Wish
from service.sales.seat_map import SeatMaps

blueprint = Blueprint("seats", __name__)

Places = Annotated[int, msgspec.Meta(ge=1, le=MOST_SEATS)]


class NewRow(msgspec.Struct, forbid_unknown_fields=True):
    """A row; its seats have the numbers from 1 on."""

    name: schemas.PlaceName
    seats: Places


class NewSection(msgspec.Struct, forbid_unknown_fields=True):
    """A section: a number of rows, named A to Z, AA and so on, with as many ``seats`` each; or the rows one by one."""

    name: schemas.PlaceName
    rows: Places | Annotated[list[NewRow], msgspec.Meta(min_length=1, max_length=MOST_SEATS)]
    seats: Places | msgspec.UnsetType = msgspec.UNSET


class NewHall(msgspec.Struct, forbid_unknown_fields=True):
    """The hall of an event. It cannot be changed later."""

    sections: Annotated[list[NewSection], msgspec.Meta(min_length=1, max_length=1000)]


class Since(msgspec.Struct):
    """What the client has of the map already."""

    since: schemas.Version | msgspec.UnsetType = msgspec.UNSET
    """Its version: then only changes are answered, where the office can tell them."""
    born: schemas.Name | msgspec.UnsetType = msgspec.UNSET
    """The ``born`` that it came with: of another event of this name, the whole map is answered."""


class AskedTickets(Protocol):
    """How many tickets are wanted, or which."""

    quantity: int | msgspec.UnsetType
    seats: list[str] | msgspec.UnsetType
    section: str | msgspec.UnsetType
    together: bool | msgspec.UnsetType


@blueprint.get("/events/<event>/hall")
@described(
    "Look at the hall of an event",
    tag="seats",
    answers={200: schemas.HallShown, 304: None},
    problems=("unknown_event", "no_hall"),
    stored=True,
    tagged=True,
    details="Seats have ids like `stalls-C-12`: section, row and number. They stand in one order, sections and rows as "
    "shown here and numbers ascending; the map counts them in this order, from 0.",
)
def hall(event: str) -> Response:
    return tagged_answer(office().hall(event_id(event)).encoded + b"\n")


@blueprint.get("/events/<event>/seats")
@described(
    "Look at the map of the seats",
    tag="seats",
    query=Since,
    answers={200: schemas.MapShown, 304: None},
    problems=("unknown_event", "no_hall"),
    stored=True,
    tagged=True,
    details="`states` has two bits a seat in the order of the hall, the first seat in the highest bits of the first "
    "byte: 0 free, 1 held, 2 sold. With `since`, where the office can tell, `changes` has the index and the state of "
    "every seat that may have changed after that version instead.",
)
def states(event: str) -> Response:
    asked = query(Since)
    view, g.times = office().seats(event_id(event))
    maps: SeatMaps = current_app.extensions["seat_maps"]
    since = None if asked.since is msgspec.UNSET else asked.since
    changes = maps.shown(view, since, None if asked.born is msgspec.UNSET else asked.born)
    content = schemas.MapShown(
        event=event,
        born=view.event.born,
        version=view.version,
        capacity=view.event.capacity,
        free=view.seats.count(FREE),
        held=view.seats.count(HELD),
        sold=view.seats.count(SOLD),
        hall=view.event.hall,
        states=b64encode(packed(view.seats)).decode() if changes is None else msgspec.UNSET,
        changes=msgspec.UNSET if changes is None else changes,
    )
    return tagged_answer(encode(content))


def hall_of(new: NewHall) -> Hall:
    """The hall that was described. Errors: ``invalid_value``."""
    total = 0
    for section in new.sections:
        if isinstance(section.rows, list):
            if section.seats is not msgspec.UNSET:
                raise Problem("invalid_value", f"Section {section.name} names its rows: each has its own seats.")
            total += sum(row.seats for row in section.rows)
        elif section.seats is msgspec.UNSET:
            raise Problem("invalid_value", f"Section {section.name} needs seats, how many are in each row.")
        else:
            total += section.rows * section.seats
    if total > MOST_SEATS:  # before they are made
        raise Problem("invalid_value", f"The hall has {total} seats, and a hall may have {MOST_SEATS}.")
    try:
        return Hall(Plan(tuple(Section(each.name, tuple(_rows(each))) for each in new.sections)))
    except ValueError as error:
        raise Problem("invalid_value", f"The hall cannot be: {error}.") from None


def _rows(section: NewSection) -> list[Row]:
    if isinstance(section.rows, list):
        return [Row(row.name, row.seats) for row in section.rows]
    seats = converted(section.seats, int)
    return [Row(name, seats) for name in row_names(section.rows)]


def tickets_of(asked: AskedTickets) -> tuple[int, Wish]:
    """How many tickets are wanted, and which seats. Errors: ``invalid_value``."""
    if asked.seats is msgspec.UNSET:
        if asked.quantity is msgspec.UNSET:
            raise Problem("invalid_value", "Object missing required field `quantity`, or `seats`.")
        if asked.section is msgspec.UNSET and asked.together is msgspec.UNSET:
            return asked.quantity, ANY
        section = "" if asked.section is msgspec.UNSET else asked.section
        return asked.quantity, Wish(section=section, together=asked.together is True)
    if not (asked.quantity is asked.section is asked.together is msgspec.UNSET):
        raise Problem("invalid_value", "`seats` names the seats: quantity, section and together do not go with it.")
    seats = tuple(asked.seats)
    if len(set(seats)) < len(seats):
        twice = next(each for each in seats if seats.count(each) > 1)
        raise Problem("invalid_value", f"The seat {twice} is named twice.")
    return len(seats), Wish(seats)
