"""Seats on the store ``redis``: what a view shows and asks, the rules in Lua, and older offices."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from differential_seats import ALL_TELLING, House, best, by_an_engine, by_the_rules, by_views, houses, sell
from flask.testing import FlaskClient
from hypothesis import given
from redis.exceptions import ResponseError
from seat_sales import NOW, buy_in_a_cart, follow_the_map, sell_one_seat_twice, sell_out
from servers import settings_of

from service.errors import Problem
from service.rules.halls import Hall, Plan, Row, Section
from service.rules.inventory import Command, Event, Outcome, Record, Refusal, decide_all
from service.stores.redis import scripts
from service.stores.redis.store import Redis

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    opened = Redis(settings_of("redis", tmp_path_factory.mktemp("seats")))
    yield opened
    opened.close()


@given(house=houses())
def test_the_script_decides_about_seats_as_the_rules_do(store: Redis, house: House) -> None:
    assert by_an_engine(store, house) == by_the_rules(house)


@given(house=houses())
def test_a_view_shows_all_seats_that_its_commands_need(store: Redis, house: House) -> None:
    assert by_views(store, house) == by_the_rules(house)


WRONG = {
    "a seat is sold twice": ("if #places > 0 then", "if false then"),
    "what is taken is not named": ("places[#places + 1] = place", "places[#places + 1] = 1"),
    "what this batch took is forgotten": ("(by_seat[seat] or states_of(seat, seat))", "states_of(seat, seat)"),
    "the house of this batch is forgotten": ("if house then house = ", "if false then house = "),
    "what came before the house is forgotten": ("do mark(seat, state) end", "do end"),
    "seats stay free": ("seat_states[kind] or '\\0'", "'\\0'"),
    "a late payment gets what is sold": ("or #taken(made.seats) > 0", ""),
    "a late payment gets no seats": ("buyer = made.buyer, seats = made.seats", "buyer = made.buyer"),
    "a hold of this batch forgets its seats": ("seats = seats, stands = kind", "stands = kind"),
    "there is no unknown seat": ("if command.unknown then", "if false then"),
    "unknown comes after the limit": ("if command.unknown then return", "if command.unknown and command.quantity <= "
                                      "per_order then return"),
    "no row is too short": ("if command.too_wide then", "if false then"),
    "the doors come after the seats": ("or closes and now_us >= closes then", "and not "
                                       "(asked[8] and select(2, choose(command))) then"),
    "the buyer's limit comes after the seats": ("if has_enough(command.buyer, command.quantity) then",
                                                "if has_enough(command.buyer, command.quantity) and not (asked[8] and "
                                                "select(2, choose(command))) then"),
    "too many held comes before the seats": ("  local seats, refusal\n", "  local seats, refusal\n  if kind == 'held' "
                                             "and max_held and held + command.quantity > max_held then return "
                                             "refuse('too_many_held') end\n"),
    "the best is at the end": ("local low = math.floor(last / 2)", "local low = -1"),
    "the best is beside the middle": ("math.floor(last / 2)", "math.ceil(last / 2)"),
    "of two as near the higher number": ("last - 2 * low <= 2 * high - last", "last - 2 * low < 2 * high - last"),
    "neighbours are nobody's": ("if string.sub(row, at + 1, at + width) == free then",
                                "if string.sub(row, at + 1, at + 1) == '\\0' then"),
    "the best are side by side": ("together and quantity or 1", "quantity"),
    "neighbours are apart": ("together and quantity or 1", "1"),
    "the best stand as they were found": ("table.sort(found)", ""),
    "all rows begin at the first seat": ("    first = first + rows[place]\n", ""),
    "every section is the whole house": ("local states, found, first = whole_house(), {}, rows[1]",
                                         "local states, found, first = whole_house(), {}, 0"),
    "not together comes before sold out": ("free_in(rows) >= command.quantity", "command.together"),
    "not together is sold out": ("free_in(rows) >= command.quantity", "false"),
    "a section is the house": ("command.section == ''", "true"),
}  # fmt: skip


@pytest.mark.parametrize(("right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_translation_is_noticed(store: Redis, monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    """The canary: conditions of the script left out or shifted by one, and the comparison has to see it."""
    expected = [by_the_rules(house) for house in ALL_TELLING]
    assert [by_an_engine(store, house) for house in ALL_TELLING] == expected
    assert scripts.RULES.count(right) == 1
    monkeypatch.setattr(scripts, "DECIDE", scripts.decide_script(scripts.RULES.replace(right, wrong)))
    with suppress(ResponseError):  # what is not there cannot be looked at: noticed at run time
        assert [by_an_engine(store, house) for house in ALL_TELLING] != expected


# -- sales ------------------------------------------------------------------------------------------------------------


Make = Callable[..., FlaskClient]


@pytest.mark.parametrize("guard", ["thread", "optimistic", "atomic", "lease", "fenced"])
def test_a_hall_is_sold_to_the_last_seat_and_none_twice(make_client: Make, admin: dict[str, str], guard: str) -> None:
    sell_out(make_client(store="redis", guard=guard, lock_timeout_s=60), admin)


def test_without_a_guard_a_seat_is_sold_twice(make_client: Make, admin: dict[str, str], tmp_path: Path) -> None:
    gates = tmp_path / "gates"
    sell_one_seat_twice(make_client(store="redis", guard="none", gates=str(gates), gates_patience_s=30), admin, gates)


@pytest.mark.parametrize("guard", ["optimistic", "atomic", "fenced"])
def test_the_map_follows_and_what_is_given_back_is_free(make_client: Make, admin: dict[str, str], guard: str) -> None:
    follow_the_map(make_client(store="redis", guard=guard), admin)


@pytest.mark.parametrize("guard", ["optimistic", "atomic", "fenced"])
def test_a_cart_has_its_seats_in_all_of_its_events_or_in_none(
    make_client: Make, admin: dict[str, str], guard: str
) -> None:
    buy_in_a_cart(make_client(store="redis", guard=guard), admin)


# -- another process --------------------------------------------------------------------------------------------------


def studio(name: str, *rows: int) -> tuple[Hall, Event]:
    hall = Hall(Plan((Section("s", tuple(Row(f"R{at}", seats) for at, seats in enumerate(rows))),)))
    return hall, Event(name, name, hall.size, hall=hall.name, born=f"{name}-{hall.size}")


def make(store: Redis, hall: Hall, event: Event) -> None:
    store.halls.keep(hall)
    store.create(event)


def buy(store: Redis, name: str, command: Command, *, atomic: bool) -> Outcome:
    if atomic:
        return store.commit_atomically(name, [command], NOW, time.monotonic() + 60)[0][0]
    view = store.view(name, [command], NOW)
    [outcome] = decide_all(view, [command], NOW)
    store.append([view])
    return outcome


@pytest.mark.parametrize("atomic", [False, True])
def test_who_knows_another_hall_of_the_event_sells_in_the_one_that_it_has_now(tmp_path: Path, atomic: bool) -> None:
    """The event was removed and made anew by another process: with another hall, without one, with one again."""
    settings = settings_of("redis", tmp_path)
    with closing(Redis(settings)) as mine, closing(Redis(settings)) as theirs:
        for at, rows in enumerate([(4, 4), (2, 3), (), (6,)]):
            if at:
                theirs.delete("studio")
            if rows:
                make(theirs, *studio("studio", *rows))
                theirs.view("studio")
                sold = buy(mine, "studio", best(f"k{at}", 1), atomic=atomic)
                assert isinstance(sold, Record)
                assert sold.seats == (f"s-R0-{(rows[0] + 1) // 2}",)
                taken = buy(theirs, "studio", sell("l", *sold.seats), atomic=atomic)
                assert taken == Refusal("seat_taken", 1, sum(rows) - 1, seats=sold.seats)
                assert sum(mine.seats("studio").seats) == 2
            else:
                theirs.create(Event("studio", "Studio", 4))
                assert buy(mine, "studio", best("k", 1, "s"), atomic=atomic) == Refusal("no_hall", 0, 4)
                with pytest.raises(Problem, match="no_hall"):
                    mine.seats("studio")


def test_a_deleted_event_leaves_no_seats(tmp_path: Path) -> None:
    settings = settings_of("redis", tmp_path)
    with closing(Redis(settings)) as mine, closing(Redis(settings)) as theirs:
        make(mine, *studio("studio", 4))
        buy(mine, "studio", best("k", 1), atomic=True)
        theirs.delete("studio")
        assert mine._engine.ask("EXISTS", mine._key("event", "studio", "seats")) == 0
        make(mine, *studio("studio", 4))
        assert sum(theirs.seats("studio").seats) == 0


# -- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("atomic", [False, True])
def test_seats_that_are_lost_are_said_and_not_taken_for_free(tmp_path: Path, atomic: bool) -> None:
    with closing(Redis(settings_of("redis", tmp_path))) as store:
        make(store, *studio("studio", 4))
        assert isinstance(buy(store, "studio", sell("k", "s-R0-4"), atomic=atomic), Record)
        store._engine.ask("DEL", store._key("event", "studio", "seats"), writes=True)
        for command in (sell("l", "s-R0-4"), best("m", 1)):
            with pytest.raises(Problem, match="corrupt_document"):
                buy(store, "studio", command, atomic=atomic)
        with pytest.raises(Problem, match="corrupt_document"):
            store.seats("studio")
        assert store.view("studio").version == 1


def test_a_hall_that_is_lost_or_changed_is_said(tmp_path: Path) -> None:
    with closing(Redis(settings_of("redis", tmp_path))) as store:
        hall, event = studio("studio", 4)
        make(store, hall, event)
        for change in (("SET", hall.encoded.replace(b"R0", b"R1")), ("DEL",)):
            store._engine.ask(change[0], store._key("hall", hall.name), *change[1:], writes=True)
            with pytest.raises(Problem, match="corrupt_document"):
                store.view("studio")
