"""Three buyers at a desk for two; one of them comes again after her card was refused."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.threads import explore


class Sale:
    """The desk, and how many tickets each buyer got."""

    def __init__(self, module: ModuleType) -> None:
        self.desk = module.Desk()
        self.tickets: dict[str, int] = {}


def buy(buyer: str, *cards: str) -> Callable[[Sale], None]:
    def act(sale: Sale) -> None:
        sale.tickets[buyer] = sum(sale.desk.buy(buyer, card) is not None for card in cards)

    return act


def wrong(sale: Sale) -> Finding | None:
    for buyer, tickets in sale.tickets.items():
        if tickets != 1:
            return Finding("tickets", {"buyer": buyer, "tickets": tickets})
    return None


EXERCISE = Exercise(
    DrivingPlan(
        Sale,
        {"Ann": buy("Ann", "stolen", "good"), "Bob": buy("Bob", "good"), "Carl": buy("Carl", "good")},
        wrong,
        "Desk.serve",
        most_inside=2,
    ),
    explore,
    needs=("Desk", "Desk.buy", "Desk.serve"),
)
