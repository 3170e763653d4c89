"""What the guard ``atomic`` decides about seats on the store ``postgres``: its functions against the rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from differential import Batch
from differential_seats import (
    ALL_TELLING,
    House,
    best,
    by_an_engine,
    by_the_rules,
    hall_of,
    hold,
    houses,
    sell,
)
from hypothesis import given, settings
from servers import settings_of

from service.errors import Problem
from service.rules.inventory import Confirm, Event
from service.stores.postgres.atomic import FUNCTION
from service.stores.postgres.store import Postgres

pytestmark = pytest.mark.servers
SMALL = hall_of(s={"A": 4, "B": 3}, t={"A": 2})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with closing(Postgres(settings_of("postgres", tmp_path_factory.mktemp("seats")))) as opened:
        yield opened


@settings(max_examples=60)
@given(house=houses())
def test_the_engine_decides_about_seats_as_the_rules_do(store: Postgres, house: House) -> None:
    assert by_an_engine(store, house) == by_the_rules(house)


MORE = House(
    SMALL,
    Event("show", "Show", SMALL.size, hall=SMALL.name, born="b"),
    [
        # Two are free in the row, beside the first of the next row, but not beside each other.
        Batch(0, [sell("a", "s-A-2", "s-A-3", "s-B-2"), best("b", 2, "s", together=True), best("c", 4, "s")]),
        # A section is full, and the next one is not. At the end one seat is held, and one is sold that was held.
        Batch(0, [best("d", 1, "s"), hold("e", "t-A-1"), hold("f", "t-A-2"), Confirm("g", "r", "hf", "og")]),
    ],
)
"""What tells more wrong translations from the right one."""
TELLING = (*ALL_TELLING, MORE)

LOWEST = "ORDER BY abs(2 * at + width - line.size), at"
NAMED_TAKEN = "WHEN taken <> '{}' THEN 'seat_taken'"
LATE_TAKEN = "WHEN is_late AND taken <> '{}' THEN 'hold_expired'"
LONGEST = "(command->>'longest_row')"
BEGIN = "generate_series(0, line.size"
GIVEN_BACK = "DELETE FROM lastseat.seats WHERE event = row_id AND seat = ANY(fresh.seats)"
WRONG = {
    "a seat is sold twice": (NAMED_TAKEN, ""),
    "a taken seat is told after the places": (NAMED_TAKEN, "WHEN is_full THEN 'sold_out' " + NAMED_TAKEN),
    "a taken seat is told before the buyer's limit": ("WHEN bought +", NAMED_TAKEN + " WHEN bought +"),
    "taken seats are told in the hall's order": ("ORDER BY place)", "ORDER BY named.seat)"),
    "all wanted seats are told": (".seat = named.seat) > 0", ".seat = named.seat) >= 0"),
    "a late payment gets what is taken": (LATE_TAKEN, ""),
    "a late payment is told which seats are taken": (LATE_TAKEN, "WHEN is_late AND taken <> '{}' THEN 'seat_taken'"),
    "a section is told as the hall is": ("ELSE command->>'too_few' END", "ELSE 'sold_out' END"),
    "too few are told as not together": (">= fresh.quantity THEN 'not_together'", ">= 0 THEN 'not_together'"),
    "just enough are told as too few": (">= fresh.quantity THEN", "> fresh.quantity THEN"),
    "a row that is too short is not noticed": ("(command->>'longest_row')::integer THEN", "99 THEN"),
    "the longest row is too short": (f"> {LONGEST}", f">= {LONGEST}"),
    "unknown seats are not refused": ("coalesce(command->>'no_such', 'swept')", "'swept'"),
    "the lowest numbers are the best": (LOWEST, "ORDER BY at"),
    "of two as near the higher": (LOWEST, LOWEST + " DESC"),
    "the best is beside the middle": (LOWEST, LOWEST.replace("width", "width + 1")),
    "the best is taken": (") = 0\n                " + LOWEST, ") >= 0\n                " + LOWEST),
    "neighbours end on a taken seat": ("seat < line.first + at + width", "seat < line.first + at + width - 1"),
    "neighbours are one too few": (f"{BEGIN} - width)", f"{BEGIN} - width - 1)"),
    "neighbours are of two rows": (f"{BEGIN} - width)", f"{BEGIN} - 1)"),
    "a row that is just enough is passed over": (") >= width", ") > width"),
    "the last row is the first": ("ORDER BY each.first", "ORDER BY each.first DESC"),
    "the best are of any section before": ("each.first >= stretch_first", "true"),
    "the best are of any section behind": ("each.first < stretch_past", "true"),
    "too many of the next row": ("LIMIT (quantity - cardinality(best)) / width", "LIMIT quantity / width"),
    "the best are not in the hall's order": ("ARRAY(SELECT unnest(best) ORDER BY 1)", "best"),
    "wanted together and got anywhere": ("CASE WHEN together THEN quantity ELSE 1 END", "1"),
    "an expired hold keeps its seats": ("AND seat = ANY(due.seats)", "AND false"),
    "an expiry names no seats": ("due.hold_id, due.seats)", "due.hold_id, NULL)"),
    "what is given back names no seats": ("fresh.seats := before.seats", "fresh.seats := NULL"),
    "what is given back stays taken": (GIVEN_BACK, f"{GIVEN_BACK} AND false"),
    "what is confirmed stays held": ("SET state = 2", "SET state = state"),
    "what is held is sold": ("CASE fresh.kind WHEN 'held' THEN 1 ELSE 2 END", "2"),
    "what is sold is held": ("CASE fresh.kind WHEN 'held' THEN 1 ELSE 2 END", "1"),
}  # fmt: skip


@pytest.mark.parametrize(("right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_translation_is_noticed(store: Postgres, right: str, wrong: str) -> None:
    """The canary: conditions of the functions left out or shifted by one, and the comparison has to see it."""
    expected = [by_the_rules(house) for house in TELLING]
    assert FUNCTION.count(right) == 1
    teach(store, FUNCTION.replace(right, wrong))
    try:
        got: object = [by_an_engine(store, house) for house in TELLING]
    except (Problem, IndexError) as error:
        got = error  # noticed at run time: a seat that there is not, for one
    finally:
        teach(store, FUNCTION)
    assert got != expected
    assert [by_an_engine(store, house) for house in TELLING] == expected


def teach(store: Postgres, functions: str) -> None:
    with closing(store._connections.connect()) as connection:
        connection.execute(functions)
