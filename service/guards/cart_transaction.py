"""One run of read → decide → write over several events: what a guard runs for a cart.

A guard that excludes takes the locks of all events first (``locked``), one after the other. Two carts that take the
same locks in different orders can each hold what the other one waits for: the deadlock. So there is one order for all,
by the event's id; each waits only for events that come after all it holds, and there is no circle.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from service.errors import Problem
from service.experiments.gates import Gates
from service.experiments.wait_graph import Waits
from service.rules.carts import Granted, Refused, decide_cart
from service.rules.inventory import Record, View
from service.rules.records import Sell
from service.stores import CommitsCarts, Store

Exclusive = Callable[[str, float, Callable[[], None]], contextlib.AbstractContextManager[None]]
AppendCart = Callable[[str, Sequence[View]], Sequence[object]]
AppendOne = Callable[[View, Sequence[Record]], object]


@dataclass(slots=True)
class CartTransaction:
    """A cart on its way through a guard. ``sales`` are by event, in the order asked."""

    store: Store
    cart: str
    key: str
    sales: Mapping[str, Sell]
    lock_order: Sequence[str]
    deadline: float
    """Monotonic seconds after which no guard may be waited for any longer."""
    waits: Waits
    think: Callable[[], None]
    """Lets time pass as the settings say; the place between reading and writing."""
    clock: Callable[[], datetime]
    entering: Callable[[], None]
    """Called once, when nothing more has to be waited for."""
    gates: Gates | None = None
    decided: Granted | Refused | None = None
    records: Sequence[Record] = ()
    """What was written."""
    positions: Mapping[str, object] = field(default_factory=dict)
    """By event, what has to be durable before the outcome may be told."""
    arrived: float = field(default_factory=time.perf_counter)
    entered: float = 0.0
    held_ms: float = 0.0
    store_ms: float = 0.0

    @contextlib.contextmanager
    def locked(self, exclusive: Exclusive) -> Iterator[None]:
        """Hold the locks of all events inside this block.

        Errors, definite: ``lock_timeout`` with the event that was not free; where others wait for what is held here,
        and hold what is waited for here, with ``deadlock``, the events of that circle.
        """
        with contextlib.ExitStack() as held:
            for place, event in enumerate(self.lock_order):
                self.reach("acquire", event)
                holds = self.lock_order[:place]
                with contextlib.ExitStack() as waiting:
                    lock = exclusive(event, self.deadline, partial(self._blocked, waiting, holds, event))
                    try:
                        held.enter_context(lock)
                    except Problem as problem:
                        raise (self._in_vain(event, holds) if problem.code == "lock_timeout" else problem) from None
            yield

    def _blocked(self, waiting: contextlib.ExitStack, holds: Sequence[str], wants: str) -> None:
        if holds:
            waiting.enter_context(self.waits.written_down(self.cart, holds, wants))
        if self.gates is not None:
            self.gates.note("blocked", wants, [self.key])

    def _in_vain(self, event: str, holds: Sequence[str]) -> Problem:
        circle = self.waits.circle(holds, event) if holds else []
        if not circle:
            return Problem("lock_timeout", retry_after_s=1, event=event)
        detail = f"A deadlock: it had {', '.join(holds)} and wanted {event}, and others the other way round."
        return Problem("lock_timeout", detail, retry_after_s=1, event=event, deadlock=circle)

    def read_decide_write(self, append_cart: AppendCart | None = None, append: AppendOne | None = None) -> None:
        """The critical section. ``append_cart`` and ``append`` take the place of the store's own, for a guard that
        writes on a condition."""
        if not self.entered:
            self.entered = time.perf_counter()
            self.entering()
        # Once for all events, and before reading, as of any decision.
        now = self.clock()
        began = time.perf_counter()
        views = {}
        for event, sale in self.sales.items():
            self.reach("view", event)
            views[event] = self.store.view(event, [sale], now)
        read = time.perf_counter()
        self.think()
        self.decided = decide_cart(views, self.sales, now)
        written = time.perf_counter()
        self._write(self.decided, views, append_cart, append)
        ended = time.perf_counter()
        self.store_ms += (read - began + ended - written) * 1e3
        self.reach("release")
        self.held_ms = (ended - self.entered) * 1e3

    def _write(
        self,
        decided: Granted | Refused,
        views: Mapping[str, View],
        append_cart: AppendCart | None,
        append: AppendOne | None,
    ) -> None:
        self.records = ()  # of a try before this one, which may have been rolled back after it had written
        if isinstance(decided, Refused):
            # Nobody is told anything about the other events, so nothing is decided of them: no hold expires there.
            view = views[decided.event]
            self.positions = {decided.event: view.source}
            if view.fresh:
                self.positions = {decided.event: (append or self.store.append)(view, view.fresh)}
                self.records = view.fresh
        elif decided.replayed:
            self.positions = {event: view.source for event, view in views.items()}
        else:
            self.reach("append")
            if append_cart is None:
                if not isinstance(self.store, CommitsCarts):
                    raise TypeError("a cart takes a store that commits carts")
                append_cart = self.store.append_cart
            positions = append_cart(self.cart, list(views.values()))
            self.positions = dict(zip(views, positions, strict=True))
            self.records = [record for view in views.values() for record in view.fresh]

    @property
    def wait_ms(self) -> float:
        """How long it waited until nothing more had to be waited for."""
        return (self.entered - self.arrived) * 1e3

    def reach(self, gate: str, event: str = "") -> None:
        """Wait at a gate, where an experiment keeps one; those of the whole cart are of the event first asked."""
        if self.gates is not None:
            self.gates.reach(gate, event or next(iter(self.sales)), [self.key])
