"""The named scenarios: small programs that stand for what goes wrong in real sales. A new one is one entry."""

from __future__ import annotations

import msgspec

from loadtests.lab.explore.programs import Program, parse_programs
from service.catalogue import STORES

PURCHASE = ("acquire", "view", "append", "answer")
"""The gates of the plain purchase: both requests are sent at once."""
REQUESTS = ("invoke", "view", "append")
"""The gates of everything else: when each request is sent is a step too, and it is answered with its last step."""


class ScenarioScript(msgspec.Struct, frozen=True, kw_only=True):
    """What a scenario is made of."""

    about: str
    """What happens, in a sentence."""
    programs: tuple[str, ...]
    tickets: int = 1
    gates: tuple[str, ...] = REQUESTS
    moves: int = 0
    """How often time moves on, past the end of every hold."""
    lock_order: str | None = None
    """``as-asked``: carts take their locks in the buyer's order."""
    stores: tuple[str, ...] = ()
    """Where it can be played; empty: on every store."""
    cannot: str = ""
    """Why it can be played on these alone."""

    @property
    def parsed(self) -> tuple[Program, ...]:
        return parse_programs(self.programs)


_SPAN_EVENTS = tuple(name for name, store in STORES.items() if store.spans_events)
_WITHOUT_ENGINE = tuple(name for name, store in STORES.items() if not store.schemes)
_ONE_EVENT = f"{' and '.join(name for name in STORES if name not in _SPAN_EVENTS)} writes to one event at a time"

SCENARIOS: dict[str, ScenarioScript] = {
    "buy": ScenarioScript(about="Buyers want the last ticket.", programs=("buy", "buy"), gates=PURCHASE),
    "expiry": ScenarioScript(
        about="A hold ends while its buyer confirms it and another buyer wants the place.",
        programs=("hold; confirm", "buy"),
        moves=1,
    ),
    "late-payment": ScenarioScript(
        about="A payment comes after the end of its hold, while another buyer holds the place and pays for it.",
        programs=("hold; confirm", "hold, confirm"),
        moves=1,
    ),
    "retry": ScenarioScript(
        about="A buyer hears nothing and sends the request again under its key; the first one is still under way.",
        programs=("buy", "retry A"),
        tickets=2,
    ),
    "cart": ScenarioScript(
        about="A cart over two events stands against a purchase in the second of them.",
        programs=("cart a,b", "buy b"),
        stores=_SPAN_EVENTS,
        cannot=_ONE_EVENT,
    ),
    "cart-deadlock": ScenarioScript(
        about="Two carts take the locks of the same two events, each in its own order (LASTSEAT_LOCK_ORDER=as-asked).",
        programs=("cart a,b", "cart b,a"),
        tickets=2,
        gates=("invoke", "acquire", "view", "append"),
        lock_order="as-asked",
        stores=_SPAN_EVENTS,
        cannot=_ONE_EVENT,
    ),
    "seats": ScenarioScript(
        about="Two buyers want the same seat, and one of them its neighbour too.",
        programs=("seats stalls-A-1", "seats stalls-A-1 stalls-A-2"),
        tickets=2,
    ),
    "sweep": ScenarioScript(
        about="The sweeper ends a hold while its buyer confirms it.",
        programs=("hold; confirm", "sweep"),
        moves=1,
    ),
    "switch": ScenarioScript(
        about="The guard is switched while two buyers want the last ticket.",
        programs=("buy", "buy", "switch on"),
        stores=_WITHOUT_ENGINE,
        cannot="the switch of an engine is remembered for a time, and time is no step there",
    ),
}
