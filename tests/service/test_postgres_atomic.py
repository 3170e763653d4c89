"""The rules in PostgreSQL's language against the rules themselves: the same commands, the same outcomes and audit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import get_args

import pytest
from differential import (
    TELLING,
    TELLING_EVENT,
    TELLING_HOLDS,
    TELLING_HOLDS_EVENT,
    TELLING_LIMITS,
    TELLING_LIMITS_EVENT,
    Batch,
    Told,
    batches,
    by_the_engine,
    by_the_rules,
    counters,
    events,
    fresh_names,
)
from hypothesis import given, settings
from servers import settings_of

from service.rules.inventory import Amend, Cancel, Command, Confirm, Event, Hold, Outcome, Record, Sell, Sweep, View
from service.stores.postgres.atomic import FUNCTION
from service.stores.postgres.store import Postgres

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    opened = Postgres(settings_of("postgres", tmp_path_factory.mktemp("differential")))
    yield opened
    opened.close()


def teach(store: Postgres, function: str) -> None:
    with closing(store._connections.connect()) as connection:
        connection.execute(function)


def all_of(decided: tuple[list[Outcome], list[Record], View]) -> tuple[object, ...]:
    outcomes, written, view = decided
    return outcomes, written, counters(view)


@settings(max_examples=60)
@given(event=events, told=batches.map(fresh_names))
def test_the_engine_decides_as_the_rules_do(store: Postgres, event: Event, told: Told) -> None:
    assert all_of(by_the_engine(store, event, told)) == all_of(by_the_rules(event, told))


def test_there_is_a_rule_for_every_command() -> None:
    assert Postgres.translates == set(get_args(Command)) - {Amend}


PLACES = "show.sold + show.held + fresh.quantity > show.capacity"

WRONG = {
    "no capacity": (PLACES, "false"),
    "one too many": (PLACES, f"{PLACES} + 1"),
    "one too few": (PLACES, PLACES.replace(">", ">=")),
    "no limit an order": ("fresh.quantity > show.max_per_order", "false"),
    "doors open a moment late": ("instant < show.opens_at", "instant <= show.opens_at"),
    "sold tickets forgotten at the limit": ("bought + fresh.quantity >", "fresh.quantity >"),
    "a key sells twice": ("event = row_id AND key = command->>'key'", "false"),
    "a key is not looked at": ("known.request = command->>'request'", "true"),
    "a cancelled order is cancelled again": ("before.kind NOT IN ('sold', 'confirmed')", "false"),
    "nothing is given back": ("WHEN 'cancelled' THEN -1", "WHEN 'cancelled' THEN 0"),
    "numbers are given out again": ("show.next_ticket := show.next_ticket + fresh.quantity", "show.next_ticket := 1"),
}

# Also: a buyer has no more after a confirmation than before, and long after nothing is left that could expire.
TOLD_OF_HOLDS = [
    Batch(0, [Hold("0", "r", "h10", 2, 9, "cid"), Confirm("1", "r", "h10", "o20"), Sell("2", "r", "o21", 2, "cid")]),
    Batch(0, [Cancel("3", "r", "o20"), Cancel("4", "r", "o21")]),
    *TELLING_HOLDS,
    Batch(60, [Sweep()]),
]

WRONG_WITH_HOLDS = {
    "held tickets are given out": (PLACES, "show.sold + fresh.quantity > show.capacity"),
    "a hold is a sale": ("CASE wanted WHEN 'Sell' THEN 'sold' ELSE 'held' END", "'sold'"),
    "a hold over the limit of an order": ("fresh.quantity > show.max_per_order", "false"),
    "held tickets forgotten at the limit": ("WHEN kind IN ('sold', 'held')", "WHEN kind IN ('sold')"),
    "a confirmation counts twice at the limit": ("WHEN kind = 'confirmed' THEN 0", "WHEN kind = 'confirmed' THEN 1"),
    "a key acts twice": ("event = row_id AND key = command->>'key'", "false"),
    "a key is not looked at": ("known.request = command->>'request'", "true"),
    "a hold is confirmed twice": ("ELSIF before.kind = 'held' THEN", "ELSIF before.kind IN ('held', 'confirmed') THEN"),
    "a confirmation sells nothing": ("WHEN 'sold' THEN 1 WHEN 'confirmed' THEN 1", "WHEN 'sold' THEN 1"),
    "what is confirmed stays held": ("WHEN 'confirmed' THEN -1", "WHEN 'confirmed' THEN 0"),
    "what is confirmed can expire": ("fresh.kind IN ('confirmed', 'released')", "fresh.kind = 'released'"),
    "what is released can expire": ("fresh.kind IN ('confirmed', 'released')", "fresh.kind = 'confirmed'"),
    "late payments are refused": ("before.kind = 'expired' AND wanted = 'Confirm'", "false"),
    "an expired hold can be released": ("before.kind = 'expired' AND wanted = 'Confirm'", "before.kind = 'expired'"),
    "late payments are taken whatever is left": ("is_late AND is_full THEN 'hold_expired'", "is_late THEN NULL"),
    "a late payment passes the buyer's limit": ("WHEN bought +", "WHEN NOT is_late AND bought +"),
    "a late payment is taken twice": ("before.kind = 'expired'", "before.kind IN ('expired', 'sold')"),
    "a late payment gets the old tickets": (
        "first_ticket := show.next_ticket", "first_ticket := coalesce(fresh.first_ticket, show.next_ticket)",
    ),
    "a released hold keeps its places": ("WHEN 'released' THEN -1", "WHEN 'released' THEN 0"),
    "confirmed orders are never cancelled": ("NOT IN ('sold', 'confirmed')", "NOT IN ('sold')"),
    "a replay expires holds": ("IF FOUND AND known.request", "IF NOT is_swept AND FOUND AND known.request"),
    "holds end a moment late": (
        "expires_at <= instant ORDER BY expires_at", "expires_at < instant ORDER BY expires_at",
    ),
    "expired holds expire again": ("DELETE FROM lastseat.open_holds WHERE event + 0", "-- "),
    "expired holds keep their places": ("show.held := show.held - due.quantity", "show.held := show.held"),
    "the last to end expires first": ("ORDER BY expires_at, version", "ORDER BY expires_at DESC, version"),
    "two that end at once expire in any order": ("ORDER BY expires_at, version", "ORDER BY expires_at, version DESC"),
    "nothing expires before a refusal": ("IF NOT is_swept THEN", "IF NOT is_swept AND wanted <> 'Cancel' THEN"),
}  # fmt: skip


@pytest.mark.parametrize(("right", "wrong"), WRONG.values(), ids=WRONG)
def test_a_wrong_translation_is_noticed(store: Postgres, right: str, wrong: str) -> None:
    """The canary: every condition of the function left out or shifted by one, and the comparison has to see it."""
    _is_noticed(store, (right, wrong), TELLING_EVENT, TELLING)


@pytest.mark.parametrize(("right", "wrong"), WRONG_WITH_HOLDS.values(), ids=WRONG_WITH_HOLDS)
def test_a_wrong_translation_of_a_hold_is_noticed(store: Postgres, right: str, wrong: str) -> None:
    _is_noticed(store, (right, wrong), TELLING_HOLDS_EVENT, TOLD_OF_HOLDS)


HELD = "show.held + fresh.quantity > show.max_held"
SECONDS = "(command->>'seconds')::double precision > show.max_hold_s"
WRONG_LIMITS = {
    "somebody without a name buys": ("fresh.buyer IS NULL AND show.max_per_buyer IS NOT NULL", "false"),
    "a hold is as long as it likes": (SECONDS, "false"),
    "the longest hold is too long": (SECONDS, SECONDS.replace(" > ", " >= ")),
    "everything is held": (HELD, "false"),
    "one too many is held": (HELD, f"{HELD} + 1"),
    "one too few is held": (HELD, HELD.replace(">", ">=")),
    "what is held is forgotten": (HELD, "fresh.quantity > show.max_held"),
    "a sale is limited as a hold is": ("fresh.kind = 'held' AND show.held", "show.held"),
}


@pytest.mark.parametrize(("right", "wrong"), WRONG_LIMITS.values(), ids=WRONG_LIMITS)
def test_a_wrong_translation_of_a_limit_is_noticed(store: Postgres, right: str, wrong: str) -> None:
    _is_noticed(store, (right, wrong), TELLING_LIMITS_EVENT, TELLING_LIMITS)


def _is_noticed(store: Postgres, change: tuple[str, str], event: Event, told: Told) -> None:
    expected = all_of(by_the_rules(event, told))
    assert all_of(by_the_engine(store, event, told)) == expected
    assert FUNCTION.count(change[0]) == 1
    teach(store, FUNCTION.replace(*change))
    try:
        got = all_of(by_the_engine(store, event, told))
    finally:
        teach(store, FUNCTION)
    assert got != expected
