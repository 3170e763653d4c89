"""Bugs for the service, each the replacement of one or two functions; the explorer must find every one.

A service that is started inside ``planted(bug)`` has the bug in each of its processes, and nothing else is changed:
Python itself runs a ``sitecustomize`` that calls the function of this name before it runs the service.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.errors import Problem
from service.guards.base import Mutex
from service.guards.transaction import Transaction
from service.rules import carts, inventory
from service.rules.inventory import Cancel, Command, Confirm, Held, Outcome, Record, Refusal, Release, Sweep, View
from service.runtime.epoch import Mode
from service.sales.box_office import BoxOffice, problem_of
from service.sales.carts import Carts
from service.sales.command_handler import AnswerTimes
from service.sales.host_line.client import Connection, Ended
from service.stores.journal.store import Journal
from service.stores.json.document import JsonDocuments, _File, _file


@contextlib.contextmanager
def planted(bug: Callable[[], None], folder: Path) -> Iterator[None]:
    """What is started in this block has the bug. ``folder``: an empty one."""
    (folder / "sitecustomize.py").write_text(f"import planted_bugs\nplanted_bugs.{bug.__name__}()\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(__file__).parent)]))
        yield


def _put(place: object, name: str, function: object) -> None:
    setattr(place, name, function)


# -- holds and their end -----------------------------------------------------------------------------------------------


def a_confirmation_that_does_not_look_at_the_hold() -> None:
    _with_every_hold(lambda _held: True)


def an_expiry_decided_by_two_clocks() -> None:
    """A purchase looks at the clock under the guard, a confirmation when its request comes."""
    came: dict[str, datetime] = {}
    confirm = BoxOffice.confirm

    def noting(office: BoxOffice, event: str, hold: str, **given: Any) -> Any:
        came[hold] = office.clock()
        return confirm(office, event, hold, **given)

    _put(BoxOffice, "confirm", noting)
    _with_every_hold(lambda held: held.hold in came and came[held.hold] < held.expires_at)


def _with_every_hold(is_open: Callable[[Held], bool]) -> None:
    """A confirmation takes a hold for open by this rule instead of by its status."""
    confirm = inventory._confirm

    def confirming(view: View, command: Confirm) -> Record | Refusal:
        held = view.holds.get(command.hold)
        if held is not None and is_open(held):
            view.holds[command.hold] = msgspec.structs.replace(held, status="held")
        return confirm(view, command)

    _put(inventory, "_confirm", confirming)


def a_hold_whose_tickets_are_freed_twice() -> None:
    """By its end, and by its buyer who gives it back afterwards."""
    release = inventory._release

    def releasing(view: View, command: Release) -> Record | Refusal:
        if (held := view.holds.get(command.hold)) is not None:
            view.holds[command.hold] = msgspec.structs.replace(held, status="held")
        return release(view, command)

    _put(inventory, "_release", releasing)


def a_hold_that_keeps_nothing_from_others() -> None:
    def not_now(view: View, command: Any) -> str | None:
        return "sold_out" if command.quantity > view.event.capacity - view.sold else None

    _put(inventory, "_not_now", not_now)


def a_sweep_outside_of_the_guard() -> None:
    def sweep(office: BoxOffice, event: str) -> bool:
        ends = office.store.next_expiry(event)
        if ends is None or ends > office.clock():
            return False
        sweeping: Transaction[list[Outcome]] = Transaction(
            office.store, (event,), lambda: ([Sweep()],), office._decide, 0, clock=office.clock,
            gates=office.transactions.gates,
        )  # fmt: skip
        sweeping.take_and_decide()
        return True

    _put(BoxOffice, "sweep", sweep)


# -- keys and orders ---------------------------------------------------------------------------------------------------


def a_retry_without_its_key() -> None:
    _put(inventory, "_answered", lambda _view, _command: None)


def a_key_looked_up_before_the_guard() -> None:
    answered, decided = inventory._answered, BoxOffice._decided

    def looking_first(office: BoxOffice, event: str, command: Command) -> tuple[Outcome, AnswerTimes]:
        known = answered(office.store.view(event, [command]), command)
        return decided(office, event, command) if known is None else (known, AnswerTimes())

    _put(BoxOffice, "_decided", looking_first)
    _put(inventory, "_answered", lambda _view, _command: None)


def a_cancellation_that_gives_back_twice() -> None:
    cancel = inventory._cancel

    def cancelling(view: View, command: Cancel) -> Record | Refusal:
        if (order := view.orders.get(command.order)) is not None:
            view.orders[command.order] = msgspec.structs.replace(order, status="sold")
        return cancel(view, command)

    _put(inventory, "_cancel", cancelling)


# -- carts and seats ---------------------------------------------------------------------------------------------------


def a_cart_written_event_by_event() -> None:
    """Each of its events is decided and written alone; what was written first stays when the next one refuses."""

    def transact(
        sold: Carts, _cart: str, _key: str, sales: Mapping[str, Command], _deadline: float, _mode: Mode
    ) -> tuple[Any, AnswerTimes]:
        times = AnswerTimes()
        transaction: Any = Transaction(sold._office.store, list(sales), lambda: (), lambda *_: (None, ()), 0)
        records: list[Record] = []
        for event, sale in sales.items():
            outcome, times = sold._office._decided(event, sale)
            if isinstance(outcome, Refusal):
                transaction.outcomes = carts.CartRefused(event, outcome)
                return transaction, times
            if isinstance(outcome, Record):
                records.append(outcome)
        transaction.outcomes = carts.Granted(records)
        return transaction, times

    _put(Carts, "_transact", transact)


def a_seat_looked_up_before_the_lock() -> None:
    seats, buy = inventory._seats, BoxOffice.buy

    def looking_first(office: BoxOffice, event: str, **given: Any) -> Any:
        view = office.store.seats(event)
        if taken := tuple(each for each in given["wish"].seats if not view.is_free(each)):
            raise problem_of(view.refusal("seat_taken", seats=taken), AnswerTimes())
        return buy(office, event, **given)

    _put(BoxOffice, "buy", looking_first)
    _put(inventory, "_seats", lambda view, hall, command: command.wish.seats or seats(view, hall, command))


# -- guards and caches -------------------------------------------------------------------------------------------------


class _ReadBefore:
    """A store whose next view was read already."""

    def __init__(self, store: Any, view: View) -> None:
        self._store = store
        self.view = lambda *_: view

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def a_view_read_before_the_guard_is_taken() -> None:
    run = Mutex.run

    def reading_first(guard: Mutex, transaction: Transaction[Any]) -> None:
        store, [event] = transaction.store, transaction.events
        view = store.view(event, transaction.take()[0], transaction.clock())
        transaction.store = _ReadBefore(store, view)  # type: ignore[assignment]
        run(guard, transaction)

    _put(Mutex, "run", reading_first)


def a_guard_given_back_before_the_write() -> None:
    reach = Transaction.reach
    held: dict[int, contextlib.ExitStack] = {}

    def run(guard: Mutex, transaction: Transaction[Any]) -> None:
        with contextlib.ExitStack() as lock:
            lock.enter_context(transaction.locked(guard.exclusive))
            held[id(transaction)] = lock
            guard.decide(transaction)

    def giving_back(transaction: Transaction[Any], gate: str, *place: int, **seen: Any) -> None:
        if gate == "append":
            held.pop(id(transaction)).close()
        reach(transaction, gate, *place, **seen)

    _put(Mutex, "run", run)
    _put(Transaction, "reach", giving_back)


def a_cache_that_outlives_the_write_of_another_process() -> None:
    read = JsonDocuments._read

    def remembering(store: JsonDocuments, event: str) -> tuple[Any, _File]:
        known = store._heads.get(event)
        return read(store, event) if known is None else (known[1], _file(store._path(event).stat()))

    _put(JsonDocuments, "_read", remembering)


def a_look_at_what_was_read_before() -> None:
    look = BoxOffice.look
    seen: dict[str, Any] = {}

    def looking(office: BoxOffice, event: str) -> Any:
        return seen.setdefault(event, look(office, event))

    _put(BoxOffice, "look", looking)


def a_version_that_nobody_compares() -> None:
    _put(Journal, "append_if_unchanged", Journal.append)


# -- what is told before it is true ------------------------------------------------------------------------------------


def an_answer_before_the_write() -> None:
    """What is to be written stays in the process, and is written when the event is read there the next time."""
    append, read = JsonDocuments.append, JsonDocuments._read
    late: dict[str, Sequence[View]] = {}

    def keeping(_store: JsonDocuments, views: Sequence[View]) -> Sequence[object]:
        late[views[0].event.event] = views
        return [view.source for view in views]

    def writing_first(store: JsonDocuments, event: str) -> Any:
        if views := late.pop(event, None):
            append(store, views)
        return read(store, event)

    _put(JsonDocuments, "append", keeping)
    _put(JsonDocuments, "_read", writing_first)


def a_combiner_that_answers_before_the_write() -> None:
    if "service.sales.host_line.combiner" in sys.orig_argv:
        an_answer_before_the_write()


def a_withdrawal_after_sending() -> None:
    """The combiner died and may have decided; its worker says that nothing was written."""
    ask = Connection.ask

    def asking(connection: Connection, *question: Any) -> Any:
        try:
            return ask(connection, *question)
        except Ended:
            raise Problem("lock_timeout", retry_after_s=1) from None

    _put(Connection, "ask", asking)
