"""Two buyers, and seats enough for both."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.threads import explore


class Sale:
    """The shop, and the seats that it gave out."""

    def __init__(self, module: ModuleType) -> None:
        self.shop = module.Shop()
        self.seats: dict[str, int] = {}


def buy(buyer: str) -> Callable[[Sale], None]:
    def act(sale: Sale) -> None:
        sale.seats[buyer] = sale.shop.buy(buyer)

    return act


def wrong(sale: Sale) -> Finding | None:
    seats = sorted(sale.seats.values())
    if seats == [1, 2]:
        return None
    return Finding("same", {"seat": seats[0]}) if len(set(seats)) == 1 else Finding("others", {"seats": str(seats)})


EXERCISE = Exercise(
    DrivingPlan(Sale, {"Ann": buy("Ann"), "Bob": buy("Bob")}, wrong, "Shop.pay"),
    explore,
    needs=("Shop", "Shop.buy", "Shop.pay"),
)
