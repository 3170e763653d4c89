"""What an admin changes of a sale while it runs: its capacity, when it is open, an order cancelled with a reason.

Each is decided under the guard that the event obeys, alone, and leaves a record like everything that is decided.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from service.experiments.wait_graph import WaitGraph
from service.guards import Transaction
from service.guards.transaction import LockOrder
from service.rules.inventory import Amend, Cancel, Command, Outcome, decide_all
from service.runtime.epoch import Mode
from service.sales.box_office import AnswerTimes, BoxOffice, Done, done_of
from service.settings import Settings


class Managing:
    """One per process; any number of threads or greenlets use it at once."""

    def __init__(self, settings: Settings, office: BoxOffice) -> None:
        self._settings = settings
        self._office = office
        self._waits = WaitGraph(settings.data / "waits")

    def decide(self, event: str, command: Amend | Cancel) -> Done:
        """Change an event, or cancel an order with a reason.

        Errors: as of ``BoxOffice.cancel``, and ``too_many_sold``, ``hall_fixed`` (definite).
        """
        self._office.control.refuse_if_closed()
        deadline = time.monotonic() + self._settings.lock_timeout_s
        outcome, times = self._office.transactions.in_current_epoch(
            deadline, lambda mode: self._transact(event, command, deadline, mode)
        )
        return done_of(outcome, times)

    def _transact(self, event: str, command: Command, deadline: float, mode: Mode) -> tuple[Outcome, AnswerTimes]:
        office = self._office
        guard = office.transactions.guard_for(event, mode)

        def take() -> Sequence[Sequence[Command]]:
            office.metrics.took(transaction)
            return ((command,),)

        transaction: Transaction[Sequence[Outcome]] = Transaction(
            office.store, (event,), take, lambda views, _, now: (decide_all(views[0], (command,), now), views),
            deadline, epoch=mode.epoch, key=command.key, clock=office.clock, gates=office.transactions.gates,
            lock_order=LockOrder(command.key, (event,), self._waits),
        )  # fmt: skip
        office.carry_out(transaction, guard, lambda: [0.0])
        [outcome] = transaction.outcomes or ()
        return outcome, AnswerTimes(0.0, transaction.held_ms, transaction.store_ms, mode.epoch)
