"""Any commands at any time, over the rules and over every store: what an honest clerk would have answered.

Time goes on by leaps to just before, at and just after the end of a hold, and now and then back. Commands come one by
one and several at once, and again under their keys. A durable store is opened anew in between.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from clerk import Clerk, audit_line, told
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from servers import address_of

from service.rules import inventory
from service.rules.halls import HELD, Hall, Plan, Row, Section
from service.rules.inventory import (
    Amend,
    Cancel,
    Command,
    Confirm,
    Event,
    Hold,
    Outcome,
    Record,
    Release,
    Sell,
    Sweep,
    Wish,
    decide_all,
    due_at,
    replay,
)
from service.rules.records import AMENDABLE
from service.settings import Settings
from service.stores import STORES, Store, open_store
from service.stores.journal.ledger import Ledger

START = datetime(2026, 11, 23, 8, tzinfo=UTC)
QUANTITIES = st.integers(1, 4)
BUYERS = st.sampled_from([None, "ann", "bob"])
SECONDS = st.sampled_from([0.001, 1.0, 2.0, 2.0, 3.5, 60.0])
EVENTS = st.builds(
    Event,
    event=st.just("show"),
    name=st.just("Show"),
    capacity=st.integers(1, 12),
    opens_at=st.sampled_from([None, START, START + timedelta(seconds=2)]),
    max_per_order=st.sampled_from([3, 10]),
    max_per_buyer=st.sampled_from([None, None, 4, 6]),
    max_held=st.sampled_from([None, None, 1, 4]),
    max_hold_s=st.sampled_from([None, None, 2.0]),
    lab=st.just(True),
)


HALL = Hall(Plan((Section("stalls", (Row("A", 5), Row("B", 4))), Section("box", (Row("Z", 3),)))))
ROWS = [
    (section.name, [f"{section.name}-{row.name}-{number}" for number in range(1, row.seats + 1)])
    for section in HALL.plan.sections
    for row in section.rows
]
HOUSES = EVENTS.map(lambda event: msgspec.structs.replace(event, capacity=HALL.size, hall=HALL.name, born="b1"))
NAMED = st.lists(
    st.sampled_from([*(seat for _, row in ROWS for seat in row), "box-Z-9"]), min_size=1, max_size=3, unique=True
)
WISHES = st.one_of(
    st.builds(Wish, st.just(()), st.sampled_from(["", "", "stalls", "box", "moon"]), st.booleans()),
    NAMED.map(lambda seats: Wish(tuple(seats))),
)


class Office(RuleBasedStateMachine):
    """The rules alone, on one view that is never thrown away."""

    holds = Bundle("holds")
    orders = Bundle("orders")
    asked = Bundle("asked")

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.count = 0

    # -- what a subclass does otherwise

    def open(self, event: Event) -> None:
        self.view = replay(event, [], HALL if event.hall else None)
        self.written: list[Record] = []

    def carry_out(self, commands: Sequence[Command]) -> list[Outcome]:
        self.view.due = due_at(self.view.holds.values(), self.now)
        outcomes = decide_all(self.view, commands, self.now)
        self.written += self.view.fresh
        self.view.fresh = []
        return outcomes

    def audit(self) -> list[Record]:
        return self.written

    def counters(self) -> tuple[int, int, int]:
        return self.view.version, self.view.held, self.view.remaining

    # -- what happens

    @initialize(event=EVENTS | HOUSES)
    def begin(self, event: Event) -> None:
        self.clerk = Clerk(event, ROWS if event.hall else [])
        self.open(event)

    @rule(target=orders, quantity=QUANTITIES, buyer=BUYERS, wish=WISHES)
    def buy(self, quantity: int, buyer: str | None, wish: Wish) -> Any:
        return self.ask(self.wanting(Sell(self.key(), "r", self.name("o"), quantity, buyer), wish))

    @rule(target=holds, quantity=QUANTITIES, buyer=BUYERS, seconds=SECONDS, wish=WISHES)
    def hold(self, quantity: int, buyer: str | None, seconds: float, wish: Wish) -> Any:
        return self.ask(self.wanting(Hold(self.key(), "r", self.name("h"), quantity, seconds, buyer), wish))

    def wanting(self, command: Sell | Hold, wish: Wish) -> Sell | Hold:
        """With a hall, the seats of the wish."""
        if not self.clerk.rows:
            return command
        return msgspec.structs.replace(command, wish=wish, quantity=len(wish.seats) or command.quantity)

    @rule(wish=WISHES)
    def ask_for_seats_of_whatever_event(self, wish: Wish) -> None:
        self.together(Sell(self.key(), "r", self.name("o"), len(wish.seats) or 1, wish=wish))

    @rule(target=orders, hold=holds)
    def confirm(self, hold: str) -> Any:
        return self.ask(Confirm(self.key(), "r", hold, self.name("o")))

    @rule(hold=holds)
    def release(self, hold: str) -> None:
        self.ask(Release(self.key(), "r", hold))

    @rule(order=orders)
    def cancel(self, order: str) -> None:
        self.ask(Cancel(self.key(), "r", order))

    @rule(hold=holds, quantity=QUANTITIES, buyer=BUYERS)
    def several_at_once(self, hold: str, quantity: int, buyer: str | None) -> None:
        """A hold that is confirmed twice and released, and somebody who wants its places, in one transaction."""
        self.together(
            Confirm(self.key(), "r", hold, self.name("o")),
            Sell(self.key(), "r", self.name("o"), quantity, buyer),
            Release(self.key(), "r", hold),
            Confirm(self.key(), "r", hold, self.name("o")),
        )

    @rule(
        capacity=st.integers(1, 14), after_s=st.sampled_from([None, -1.0, 0.0, 1.0]), field=st.sampled_from(AMENDABLE)
    )
    def amend(self, capacity: int, after_s: float | None, field: str) -> None:
        moment = None if after_s is None else self.now + timedelta(seconds=after_s)
        value: Any = capacity if field == "capacity" else moment
        self.together(msgspec.structs.replace(Amend(self.key(), "r", (field,)), **{field: value}))

    @rule(hold=holds)
    def somebody_wants_the_seats_of_a_hold_that_is_then_paid(self, hold: str) -> None:
        slip = self.clerk.holds[hold]
        seats = tuple(slip.seats)
        if seats and slip.until:
            self.now = max(self.now, slip.until)
            wanting = Sell(self.key(), "r", self.name("o"), len(seats), wish=Wish(seats))
            self.together(wanting, Confirm(self.key(), "r", hold, self.name("o")))

    @rule()
    def sweep(self) -> None:
        self.ask(Sweep())

    @rule(name=st.sampled_from(["none", ""]))
    def ask_for_nothing_that_there_is(self, name: str) -> None:
        """Not by the empty name either, which the records of holds have for their order."""
        self.together(
            Confirm(self.key(), "r", name, self.name("o")), Release(self.key(), "r", name),
            Cancel(self.key(), "r", name),
        )  # fmt: skip

    @rule(command=asked)
    def ask_again(self, command: Command) -> None:
        self.together(command)

    @rule(command=asked)
    def use_the_key_for_something_else(self, command: Command) -> None:
        self.together(Sell(command.key, "other", self.name("o"), 1))

    @rule(target=asked, quantity=QUANTITIES, seconds=SECONDS)
    def hold_and_remember_the_key(self, quantity: int, seconds: float) -> Command:
        command = Hold(self.key(), "r", self.name("h"), quantity, seconds)
        self.together(command)
        return command

    @rule(seconds=st.sampled_from([0.001, 0.5, 1.0, 2.0, 60.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(which=st.integers(0, 20), off=st.sampled_from([-1, 0, 1]))
    def a_hold_is_about_to_end(self, which: int, off: int) -> None:
        ends = [slip.until for slip in self.clerk.holds.values() if slip.until is not None]
        if ends:
            self.now = ends[which % len(ends)] + timedelta(microseconds=off)

    @rule(seconds=st.sampled_from([0.5, 2.0, 60.0]))
    def the_clock_goes_back(self, seconds: float) -> None:
        self.now -= timedelta(seconds=seconds)

    # -- what must hold

    @invariant()
    def all_is_as_the_clerk_has_it(self) -> None:
        if not hasattr(self, "clerk"):
            return
        assert self.counters() == (len(self.clerk.audit), self.clerk.held, self.clerk.left)
        assert self.clerk.left >= 0

    def teardown(self) -> None:
        if hasattr(self, "clerk"):
            assert [audit_line(record) for record in self.audit()] == self.clerk.audit

    # -- within

    def ask(self, command: Command) -> Any:
        """The name of what was made, for others to use; nothing where it was refused."""
        [outcome] = self.together(command)
        if not isinstance(outcome, Record):
            return multiple()
        return outcome.order or outcome.hold

    def together(self, *commands: Command) -> list[Outcome]:
        expected = [self.clerk.ask(command, self.now) for command in commands]
        outcomes = self.carry_out(commands)
        assert [told(outcome) for outcome in outcomes] == expected
        return outcomes

    def key(self) -> str:
        return self.name("k")

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"


class OverAStore(Office):
    """The same through a store: a view and an append for every transaction."""

    store_name = ""

    def open(self, event: Event) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="clerk-"))
        self.store = self.opened()
        if event.hall:
            self.store.halls.keep(HALL)
        self.store.create(event)

    def opened(self) -> Store:
        # An engine has one office for all examples: the event is removed from it at the end of each.
        address = address_of(self.store_name, Path("clerk"))
        return open_store(Settings(data=self.folder, store=self.store_name, store_url=address))

    def carry_out(self, commands: Sequence[Command]) -> list[Outcome]:
        view = self.store.view("show", commands, self.now)
        outcomes = decide_all(view, commands, self.now)
        if view.fresh:
            [position] = self.store.append([view])
            self.store.make_durable("show", position)
        return outcomes

    def audit(self) -> list[Record]:
        return list(self.store.audit("show")[1])

    def counters(self) -> tuple[int, int, int]:
        view = self.store.view("show")
        return view.version, view.held, view.remaining

    @invariant()
    def the_next_hold_to_end_is_known(self) -> None:
        if hasattr(self, "clerk"):
            ends = [slip.until for slip in self.clerk.holds.values() if slip.is_open and slip.until]
            assert self.store.next_expiry("show") == min(ends, default=None)

    @invariant()
    def the_map_shows_what_is_taken(self) -> None:
        if hasattr(self, "clerk") and self.clerk.rows:
            view = self.store.seats("show")
            assert {HALL.seat(index) for index, state in enumerate(view.seats) if state} == self.clerk.taken
            assert view.seats.count(HELD) == self.clerk.held == view.held

    @precondition(lambda self: hasattr(self, "store") and self.store.durable)
    @rule()
    def the_office_is_opened_anew(self) -> None:
        self.close()
        self.store = self.opened()

    @rule(order=Office.orders, hold=Office.holds)
    def one_looks(self, order: str, hold: str) -> None:
        """A view that nothing is decided on, of what may be long ago."""
        view = self.store.view("show", [Release("k", "r", hold)], order=order)
        assert not view.due
        assert (view.orders[order].status == "sold") == self.clerk.orders[order].is_open
        assert (view.holds[hold].status == "held") == self.clerk.holds[hold].is_open

    def close(self) -> None:
        closing = getattr(self.store, "close", None)
        if closing is not None:
            closing()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if hasattr(self, "folder"):
                self.store.delete("show")
                self.close()
                shutil.rmtree(self.folder, ignore_errors=True)


FEW = settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
ALARM = settings(
    FEW, max_examples=500, database=None, phases=[Phase.generate], report_multiple_bugs=False, derandomize=True
)
MANY = settings(FEW, max_examples=3_000, stateful_step_count=60)


def play(machine: type[Office], how_often: settings) -> None:
    run_state_machine_as_test(machine, settings=how_often)  # type: ignore[no-untyped-call]


def over(name: str) -> type[OverAStore]:
    return type(f"Over{name.title()}", (OverAStore,), {"store_name": name})


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a journal has several, a document pages, and holds outlive the one that they were made in."""
    monkeypatch.setattr("service.stores.journal.ledger.SEGMENT_RECORDS", 3)
    monkeypatch.setattr("service.stores.json.document.RECENT", 3)


BUGS: dict[str, tuple[str, Callable[..., Any]]] = {
    "nothing expires": ("expire", lambda view: setattr(view, "due", ())),
    "a late payment gets the old tickets": (
        "_sell_late",
        lambda view, command, held: Record(
            view.version + 1, "sold", command.key, command.order, held.quantity, held.tickets,
            view.remaining - held.quantity, command.request, held.buyer, held.hold,
        ),
    ),
    "a buyer's limit is forgotten": (
        "_passes_buyer_limit", lambda view, buyer, quantity: False,
    ),
    "a seat is sold twice": ("_seats", lambda view, hall, command, right=inventory._seats:
        command.wish.seats or right(view, hall, command)),
    "a late payment does not look at its seats": (
        "_sell_late",
        lambda view, command, held: inventory._record(
            view, "sold", command, held, seats=held.seats, order=command.order, hold=held.hold
        ) if held.quantity <= view.remaining else view.refusal("hold_expired"),
    ),
    "a change is forgotten": ("_amend", lambda view, command, right=inventory._amend:
        msgspec.structs.replace(made, about=None) if isinstance(made := right(view, command), Record) else made),
    "everything is held": ("_not_now", lambda view, command, right=inventory._not_now:
        None if (why := right(view, command)) == "too_many_held" else why),
    "a hold is as long as it likes": ("_never", lambda event, command, right=inventory._never:
        None if (why := right(event, command)) == "hold_too_long" else why),
    "the last hold to end expires first": (
        "expire",
        lambda view, right=inventory.expire: (setattr(view, "due", list(reversed(view.due))), right(view)),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_noticed(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wrong = BUGS[bug]
    monkeypatch.setattr(inventory, name, wrong)
    with pytest.raises((AssertionError, ValueError)):
        play(Office, ALARM)


def test_the_rules_answer_as_an_honest_clerk() -> None:
    play(Office, settings(FEW, max_examples=100))


@pytest.mark.parametrize("store", list(STORES))
def test_every_store_answers_as_an_honest_clerk(store: str) -> None:
    play(over(store), FEW)


@pytest.mark.soak
@pytest.mark.parametrize("store", list(STORES))
def test_every_store_answers_as_an_honest_clerk_for_long(store: str) -> None:
    play(over(store), MANY)


def test_the_journal_is_cut_into_segments_here(tmp_path: Path) -> None:
    """The negative control of the fixture: else a hold would never outlive its segment."""
    store = open_store(Settings(data=tmp_path, store="journal"))
    store.create(Event("show", "Show", 99, lab=True))
    for number in range(8):
        view = store.view("show", now=START)
        decide_all(view, [Hold(f"k{number}", "r", f"h{number}", 1, 60)], START)
        store.append([view])
    assert len(list((tmp_path / "journal" / "show").glob("*.jsonl"))) == 3
    ledger = Ledger(tmp_path / "journal" / "show")
    assert ledger.next_expiry() == START + timedelta(seconds=60)
