"""Three buyers and one seat; one of the three has a stolen card."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.threads import explore

CARDS = {"Ann": "stolen", "Bob": "good", "Carl": "good"}


class Sale:
    """One seat, and who has been told that it is theirs."""

    def __init__(self, module: ModuleType) -> None:
        self.shop = module.Shop(1)
        self.refused = module.CardRefused
        self.sold: dict[str, bool] = {}


def buy(buyer: str, card: str, sale: Sale) -> None:
    try:
        sale.sold[buyer] = sale.shop.buy(buyer, card)
    except sale.refused:
        sale.sold[buyer] = False


def wrong(sale: Sale) -> Finding | None:
    have = [buyer for buyer, sold in sale.sold.items() if sold]
    if len(have) != 1:
        return Finding("sold", {"count": len(have)})
    if sale.shop.paid != have:
        return Finding("paid", {"have": have[0], "paid": " + ".join(sale.shop.paid) or "-"})
    return None


EXERCISE = Exercise(
    DrivingPlan(
        Sale,
        {buyer: partial(buy, buyer, card) for buyer, card in CARDS.items()},
        wrong,
        "Shop.look_round",
    ),
    explore,
    needs=("CardRefused", "Shop", "Shop.buy", "Shop.charge", "Shop.look_round"),
)
