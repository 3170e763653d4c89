"""Two buyers and one seat."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.threads import explore


class Sale:
    """One seat, and who has been told that it is theirs."""

    def __init__(self, module: ModuleType) -> None:
        self.shop = module.Shop(1)
        self.sold: dict[str, bool] = {}


def buy(buyer: str, sale: Sale) -> None:
    sale.sold[buyer] = sale.shop.buy(buyer)


def wrong(sale: Sale) -> Finding | None:
    have = [buyer for buyer, sold in sale.sold.items() if sold]
    if len(have) == 1:
        return None
    return Finding("sold_twice", {"buyers": " + ".join(sorted(have))}) if have else Finding("unsold")


EXERCISE = Exercise(
    DrivingPlan(Sale, {"Ann": partial(buy, "Ann"), "Bob": partial(buy, "Bob")}, wrong, "Shop.look_round"),
    explore,
    needs=("Shop", "Shop.buy", "Shop.look_round"),
)
