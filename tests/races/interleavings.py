"""One seat, two buyers, every interleaving of their threads: ``frontrun python interleavings.py GUARD BATCH``.

frontrun has to be loaded before anything takes a lock, so it starts this program itself. Prints what it found as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import frontrun

from service.guards import Transaction, guard_class
from service.rules.inventory import Command, Event, Outcome, Record, Refusal, Sell, View, decide_all
from service.sales.batch import Line, Purchases, Take
from service.settings import Settings
from service.stores.memory import Memory

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


def decide(
    views: Sequence[View], commands: Sequence[Sequence[Command]], now: datetime
) -> tuple[Sequence[Outcome], Sequence[View]]:
    """As the box office does."""
    return decide_all(views[0], commands[0], now), views


@dataclass
class Sale:
    """One seat, two buyers, and what they were told."""

    guard_name: str
    batch: int
    told: dict[str, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = Settings(data=Path("unused"), store="memory")
        self.store = Memory(settings)
        self.store.create(Event("show", "Show", 1, lab=True))
        self.guard = guard_class(self.guard_name)(settings, self.store)
        self.line = Line(self.batch)

    def buy(self, key: str) -> None:
        def lead(take: Take) -> Purchases:
            far = time.monotonic() + 60
            transaction: Purchases = Transaction(self.store, ["show"], lambda: [take()], decide, far, clock=lambda: NOW)
            self.guard.run(transaction)
            return transaction

        far = time.monotonic() + 60
        outcome = self.line.run(Sell(key, "", f"o-{key}", 1), far, far, lead).outcome
        if outcome is not None:
            self.told[key] = outcome

    def sold_once(self) -> bool:
        sold = [key for key, outcome in self.told.items() if isinstance(outcome, Record)]
        refused = [outcome for outcome in self.told.values() if isinstance(outcome, Refusal)]
        recorded = [record.key for record in self.store.audit("show")[1]]
        return len(sold) == 1 and len(refused) == 1 and refused[0].version == 1 and recorded == sold


def main(guard: str, batch: int) -> None:
    result = frontrun.explore(
        setup=lambda: Sale(guard, batch),
        workers=[lambda sale: sale.buy("a"), lambda sale: sale.buy("b")],
        invariant=Sale.sold_once,
        max_executions=200,
        reproduce_on_failure=3,
        total_timeout=120,
        detect_io=False,
        clock="virtual",
    )
    print(
        "\n" + json.dumps({"holds": result.property_holds, "explored": result.num_explored, "why": result.explanation})
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
