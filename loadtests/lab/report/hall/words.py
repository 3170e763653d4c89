"""A hall in words: for the caption and for screen readers, and for each seat that was sold twice."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.lab.report.hall.holders import HallAfterSale, SeatOrder
from loadtests.lab.report.text import counted

_MOST_BUYERS = 4


@dataclass(frozen=True)
class SeatCounts:
    """The seats of a hall by their state. ``most`` is the largest number of buyers of one seat.

    ``lost_orders`` are confirmed orders that the audit lacks; 0 without an audit.
    """

    seats: int
    free: int
    held: int
    one: int
    several: int
    beyond: int
    most: int
    lost_orders: int

    @classmethod
    def of(cls, hall: HallAfterSale) -> SeatCounts:
        seats = hall.plan.places
        inside, held = hall.buyers[:seats], hall.held[:seats]
        return cls(
            seats=seats,
            free=int(((inside == 0) & ~held).sum()),
            held=int(((inside == 0) & held).sum()),
            one=int((inside == 1).sum()),
            several=int((inside > 1).sum()),
            beyond=hall.beyond,
            most=int(inside.max(initial=0)),
            lost_orders=hall.lost_orders or 0,
        )

    @property
    def is_wrong(self) -> bool:
        return self.several > 0 or self.beyond > 0


def verdict(counts: SeatCounts) -> str:
    """The line above a hall: the worst that there is to say about it."""
    seats = counted(counts.seats, "seat")
    if counts.several:
        return f"{counts.several:,} of {seats} sold to several buyers"
    if counts.beyond:
        return not_there(counts)
    return _lost(counts) if counts.lost_orders else f"{counts.one:,} of {seats} sold, each to one buyer"


def sentence(counts: SeatCounts) -> str:
    """The whole picture in a few sentences."""
    parts = [f"{counts.one:,} sold to one buyer", f"{counts.several:,} sold to several"]
    if counts.several:
        parts[-1] += f" (one seat to {counts.most:,})"
    if counts.held:
        parts.append(f"{counts.held:,} set aside for buyers who have not paid")
    said = [f"{counted(counts.seats, 'seat')}: {', '.join(parts)}, {counts.free:,} free"]
    if counts.beyond:
        said.append(not_there(counts))
    if counts.lost_orders:
        said.append(_lost(counts))
    return ". ".join(said) + "."


def seat(hall: HallAfterSale, place: int, label: str) -> str:
    """Who holds a seat, and since when."""
    buyers = hall.who(place)
    parts = [_buyer(each) for each in buyers[:_MOST_BUYERS]]
    if len(buyers) > _MOST_BUYERS:
        parts.append(f"and {len(buyers) - _MOST_BUYERS:,} more")
    where = f"{label}, which does not exist," if place >= hall.plan.places else label
    to = f"{len(buyers):,} buyers: " if len(buyers) > 1 else ""
    return f"{where} was sold to {to}{'; '.join(parts)}"


def _buyer(buyer: SeatOrder) -> str:
    return f"{buyer.who} after {buyer.seconds:.2f} s{' (lost)' if buyer.lost else ''}"


def not_there(counts: SeatCounts) -> str:
    """How many places were sold that do not exist."""
    return f"{counted(counts.beyond, 'place')} sold that {'does' if counts.beyond == 1 else 'do'} not exist"


def _lost(counts: SeatCounts) -> str:
    are = "is" if counts.lost_orders == 1 else "are"
    return f"{counted(counts.lost_orders, 'confirmed order')} {are} missing in the office's list"
