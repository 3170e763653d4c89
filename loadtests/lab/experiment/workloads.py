"""What buyers can do in an experiment: each a locust file, and the settings of ``lastseat run`` that are its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from loadtests.lab.paths import LOCUSTFILES


@dataclass(frozen=True)
class Kind:
    """One workload: the locust file of its buyers, and which fields of ``Workload`` it is told beside the rest."""

    file: str
    says: str
    fields: tuple[str, ...] = ()
    holds: bool = False
    """Whether it needs a service that can set tickets aside."""
    pays_inside: bool = False
    """Whether the service itself pays, under its guard."""

    @property
    def pays(self) -> bool:
        """Whether every sale is paid for."""
        return self.pays_inside or self.file == "pay.py"

    @property
    def path(self) -> Path:
        return LOCUSTFILES / self.file


_HOLDING = ("hold_s", "payment", "payment_refused", "payment_lost")

WORKLOADS: dict[str, Kind] = {
    "buy": Kind("buy.py", "buyers look, buy, give back"),
    "rush": Kind("rush.py", "everybody waits for the door to open", ("opens_in_s", "too_early")),
    "mixed": Kind(
        "mixed.py",
        "purchases, holds that are paid for, carts over two events, cancellations",
        ("hold_share", "cart_share", *_HOLDING),
        holds=True,
    ),
    "pay-inside": Kind("buy.py", "the office waits for each payment under its guard", pays_inside=True),
    "pay-after-hold": Kind("pay.py", "tickets are held, paid for outside the guard, confirmed", _HOLDING, holds=True),
}
