"""Three buyers at a desk for two; one of them comes again after her card was refused."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.threads import explore

CARDS = {"Ann": ("stolen", "good"), "Bob": ("good",), "Carl": ("good",)}


class Sale:
    """The desk, and how many tickets each buyer got."""

    def __init__(self, module: ModuleType) -> None:
        self.desk = module.Desk()
        self.tickets: dict[str, int] = {}


def buy(buyer: str, cards: tuple[str, ...], sale: Sale) -> None:
    sale.tickets[buyer] = sum(sale.desk.buy(buyer, card) is not None for card in cards)


def wrong(sale: Sale) -> Finding | None:
    for buyer, tickets in sale.tickets.items():
        if tickets != 1:
            return Finding("tickets", {"buyer": buyer, "tickets": tickets})
    return None


EXERCISE = Exercise(
    DrivingPlan(
        Sale,
        {buyer: partial(buy, buyer, cards) for buyer, cards in CARDS.items()},
        wrong,
        "Desk.serve",
        most_inside=2,
    ),
    explore,
    needs=("Desk", "Desk.buy", "Desk.serve"),
)
