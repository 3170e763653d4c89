"""The pure rules of a cart: purchases in several events, all of them or none.

Each purchase is decided by ``inventory`` on the view of its own event, like any other. Two rules are added: all are
granted or none is; and the key belongs to all of them: the cart was sold before if each of its events has the key, and
if only some have it, that is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from service.rules.inventory import View, decide_all
from service.rules.records import Record, Refusal, Replay, Sell


@dataclass(frozen=True, slots=True)
class Granted:
    """A record in each event, in the order asked. ``replayed``: they were committed before, under the same key."""

    records: Sequence[Record]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class CartRefused:
    """The first event, in the order asked, that refused, and why. Nothing is sold in any event."""

    event: str
    refusal: Refusal


def decide_cart(views: Mapping[str, View], sales: Mapping[str, Sell], now: datetime) -> Granted | CartRefused:
    """Decide a purchase in each event, all on the same ``now``; the views are moved on.

    What is to be appended is in the views' ``fresh``: of all if it is granted, of the one that refuses if it is
    refused (the holds that expired before), and nowhere if it is replayed.
    """
    known = [event for event in sales if sales[event].key in views[event].keys]
    if known and len(known) < len(sales):
        return _refused_by_key(views, sales, known)
    records: list[Record] = []
    replayed = False
    for event, sale in sales.items():
        [outcome] = decide_all(views[event], [sale], now)
        match outcome:
            case Refusal():
                return CartRefused(event, outcome)
            case Record():
                records.append(outcome)
            case Replay(record):
                records.append(record)
                replayed = True
    return Granted(records, replayed)


def _refused_by_key(views: Mapping[str, View], sales: Mapping[str, Sell], known: Sequence[str]) -> CartRefused:
    """The refusal where only some events know the key: they have it of another request, or of a half of this cart."""
    for event in known:
        view = views[event]
        if view.keys[sales[event].key].request != sales[event].request:
            return CartRefused(event, view.refusal("key_reused"))
    torn = next(event for event in sales if event not in known)
    return CartRefused(torn, views[torn].refusal("half_cart"))
