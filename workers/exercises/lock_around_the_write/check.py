"""Two buyers, and seats enough for both."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.threads import explore


class Sale:
    """The shop, and the seats that it gave out."""

    def __init__(self, module: ModuleType) -> None:
        self.shop = module.Shop()
        self.seats: dict[str, int] = {}


def buy(buyer: str, sale: Sale) -> None:
    sale.seats[buyer] = sale.shop.buy(buyer)


def wrong(sale: Sale) -> Finding | None:
    seats = sorted(sale.seats.values())
    if seats == [1, 2]:
        return None
    return Finding("same", {"seat": seats[0]}) if len(set(seats)) == 1 else Finding("others", {"seats": str(seats)})


EXERCISE = Exercise(
    DrivingPlan(Sale, {"Ann": partial(buy, "Ann"), "Bob": partial(buy, "Bob")}, wrong, "Shop.pay"),
    explore,
    needs=("Shop", "Shop.buy", "Shop.pay"),
)
