"""Two processes, which sell from one file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import ModuleType

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.scheduler import explore_processes

SEATS = 5


class Sale:
    """The shop of one process, the file, and a receipt for each seat that was sold."""

    def __init__(self, module: ModuleType) -> None:
        self.free = Path("free.txt")
        self.free.write_text(str(SEATS), encoding="utf-8")
        self.shop = module.Shop(Path.cwd())


def buy(buyer: str, sale: Sale) -> None:
    if sale.shop.buy(buyer):
        Path(f"{buyer}.receipt").touch()


def wrong(sale: Sale) -> Finding | None:
    sold = len(list(Path.cwd().glob("*.receipt")))
    free = sale.free.read_text(encoding="utf-8") if sale.free.exists() else "?"
    if sold != 2:
        return Finding("unsold", {"sold": sold})
    return None if free.strip() == str(SEATS - sold) else Finding("lost", {"seats": SEATS, "free": free})


EXERCISE = Exercise(
    DrivingPlan(Sale, {"Ann": partial(buy, "Ann"), "Bob": partial(buy, "Bob")}, wrong, "Shop.print_ticket"),
    explore_processes,
    needs=("Shop", "Shop.buy", "Shop.print_ticket"),
)
