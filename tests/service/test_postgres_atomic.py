"""The rules in PostgreSQL's language against the rules themselves: the same commands, the same outcomes and audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from differential import TELLING, TELLING_EVENT, batches, by_the_engine, by_the_rules, events, fresh_orders
from hypothesis import given, settings
from servers import settings_of

from service.inventory import Command, Event, records_of
from service.stores.postgres import Postgres
from service.stores.postgres_atomic import FUNCTION

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    opened = Postgres(settings_of("postgres", tmp_path_factory.mktemp("differential")))
    yield opened
    opened.close()


def teach(store: Postgres, function: str) -> None:
    with closing(store._connections.connect()) as connection:
        connection.execute(function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))


@settings(max_examples=60)
@given(event=events, told=batches.map(fresh_orders))
def test_the_engine_decides_as_the_rules_do(store: Postgres, event: Event, told: list[list[Command]]) -> None:
    expected, view = by_the_rules(event, told)
    got, stored, name = by_the_engine(store, event, told)
    assert got == expected
    assert list(store.audit(name)[1]) == records_of(expected)
    assert (stored.version, stored.sold, stored.next_ticket) == (view.version, view.sold, view.next_ticket)


WRONG = {
    "no capacity": ("show.sold + asked > show.capacity", "false"),
    "one too many": ("show.sold + asked > show.capacity", "show.sold + asked > show.capacity + 1"),
    "one too few": ("show.sold + asked > show.capacity", "show.sold + asked >= show.capacity"),
    "no limit an order": ("asked > show.max_per_order", "false"),
    "doors open a moment late": ("instant < show.opens_at", "instant <= show.opens_at"),
    "sold tickets forgotten at the limit": ("bought + asked >", "asked >"),
    "a key sells twice": ("event = row_id AND key = command->>'key'", "false"),
    "a key is not looked at": ("known.request = command->>'request'", "true"),
    "a cancelled order is cancelled again": ("placed.kind <> 'sold'", "false"),
    "nothing is given back": ("show.sold := show.sold - placed.quantity", "show.sold := show.sold"),
    "numbers are given out again": ("show.next_ticket := show.next_ticket + asked", "show.next_ticket := 1"),
}


@pytest.mark.parametrize(("right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_translation_is_noticed(store: Postgres, right: str, wrong: str) -> None:
    """The canary: every condition of the function left out or shifted by one, and the comparison has to see it."""
    assert FUNCTION.count(right) == 1
    teach(store, FUNCTION.replace(right, wrong))
    try:
        got = by_the_engine(store, TELLING_EVENT, TELLING)[0]
    finally:
        teach(store, FUNCTION)
    assert got != by_the_rules(TELLING_EVENT, TELLING)[0]
