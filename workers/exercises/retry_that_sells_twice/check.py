"""A buyer, a shop, and a network that loses a message and may deliver it later."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from workers.exercises.common.exercise import DrivingPlan, Exercise, Finding
from workers.exercises.common.scheduler import explore_threads
from workers.exercises.common.turns import acting_as, point

SEATS = 9


class Network:
    """Calls ``sell`` of the shop, and returns what it answers, unless the question or the answer is lost."""

    def __init__(self, shop: Any) -> None:
        self._shop = shop
        self._loses = False
        self._late: tuple[int, tuple[Any, ...]] | None = None
        self._asked = 0

    def ask(self, *question: Any) -> Any:
        """The shop's answer. Raises ``TimeoutError`` if none arrives."""
        self._asked += 1
        number = self._asked
        if self._is_lost():
            self._late = number, question
            point("question_lost")
            raise TimeoutError("no answer")
        answer = self._serve(number, question)
        if self._is_lost():
            point("answer_lost")
            raise TimeoutError("no answer")
        return answer

    def lose_next(self) -> None:
        """Loses the next message."""
        self._loses = True

    def deliver_late(self) -> None:
        """Delivers a question that was believed to be lost; nobody waits for the answer any more."""
        if self._late is not None:
            point("arrives_late")
            self._serve(*self._late)

    def _serve(self, number: int, question: tuple[Any, ...]) -> Any:
        with acting_as(f"shop, question {number}"):
            return self._shop.sell(*question)

    def _is_lost(self) -> bool:
        loses, self._loses = self._loses, False
        return loses


class Evening:
    """The shop, the network, and the seat of each purchase."""

    def __init__(self, module: ModuleType) -> None:
        self.shop = module.Shop(SEATS)
        self.network = Network(self.shop)
        self.client = module.Client(self.network, "Ann")
        self.bought: list[int] = []


def buy(evening: Evening) -> None:
    evening.bought = [evening.client.buy(), evening.client.buy()]


def lose_and_deliver(evening: Evening) -> None:
    point("loses_a_message")
    evening.network.lose_next()
    point("")
    evening.network.deliver_late()


def wrong(evening: Evening) -> Finding | None:
    gone = SEATS - len(evening.shop.free)
    if len(set(evening.bought)) < 2 or None in evening.bought:
        return Finding("same_seat", {"seats": ", ".join(map(str, evening.bought))})
    return None if gone == 2 else Finding("sold_again", {"gone": gone})


EXERCISE = Exercise(
    DrivingPlan(Evening, {"Ann": buy, "network": lose_and_deliver}, wrong, "Shop.print_ticket"),
    explore_threads,
    needs=("Shop", "Shop.sell", "Shop.print_ticket", "Client", "Client.buy"),
)
