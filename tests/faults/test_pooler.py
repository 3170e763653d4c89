"""PgBouncer between the office and PostgreSQL: what is sold through it is sold exactly, in every way to pool."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask.testing import FlaskClient
from pgbouncer import PgBouncer
from typed import Typed, wait_for

from loadtests.lab.servers.engines import NoEngine, set_up
from loadtests.lab.servers.postgres import PostgresServer
from service.app import create_app
from service.errors import Problem, RefusedToStart
from service.settings import Settings

pytestmark = pytest.mark.servers

CAPACITY, BUYERS = 60, 16
# Two workers of eight connections each: a server pool that is far smaller, and one with room for all.
SMALL, AMPLE = "default_pool_size = 3", "default_pool_size = 40"
POOLS = {
    "transaction": ["pool_mode = transaction", SMALL],
    "transaction, options ignored": ["pool_mode = transaction", SMALL, "ignore_startup_parameters = options"],
    "session": ["pool_mode = session", AMPLE],
    "session, options ignored": ["pool_mode = session", AMPLE, "ignore_startup_parameters = options"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as running:
        yield running


def sold_to_a_crowd(office: Typed) -> tuple[Counter[int], list[int]]:
    """What buyers were answered, who buy until nothing is left, hold, confirm and cancel; and the tickets they have."""
    told: Counter[int] = Counter()
    tickets: list[int] = []
    mutex = threading.Lock()

    def note(answer: Any) -> Any:
        with mutex:
            told[answer.status] += 1
        return answer

    def shop(number: int) -> None:
        for _ in range(CAPACITY):
            held = number % 4 == 0
            kind = "holds" if held else "orders"
            answer = note(office.call("POST", f"/events/show/{kind}", {"quantity": 1, "buyer": f"b{number}"}))
            if held and answer.status == 201:
                answer = note(office.call("POST", f"/events/show/holds/{answer.json['hold']}/confirm"))
            if answer.status != 201:
                return
            if number % 8 == 1 and len(tickets) < CAPACITY // 2:
                assert note(office.call("DELETE", f"/events/show/orders/{answer.json['order']}")).status == 200
            else:
                with mutex:
                    tickets.extend(answer.json["tickets"])

    shoppers = [threading.Thread(target=shop, args=(number,)) for number in range(BUYERS)]
    for each in shoppers:
        each.start()
    for each in shoppers:
        each.join(60)
    return told, tickets


@pytest.mark.parametrize(
    ("how", "guard"),
    [("transaction", guard) for guard in ("row", "atomic", "optimistic", "serializable", "advisory")]
    + [(how, "row") for how in POOLS if how != "transaction"],
)
def test_through_a_pooler_every_seat_is_sold_once(server: PostgresServer, tmp_path: Path, how: str, guard: str) -> None:
    with PgBouncer(tmp_path / "pgbouncer", server, POOLS[how]) as pooler:
        address = pooler.through(server.fresh_database())
        set_up(address)
        variables = {"LASTSEAT_STORE": address, "LASTSEAT_GUARD": guard, "LASTSEAT_EVENT": f"show:{CAPACITY}"}
        with Typed("-k gthread --threads 8 --workers 2 service:app", tmp_path / "office", **variables) as office:
            told, tickets = sold_to_a_crowd(office)
            while (answer := office.buy()).status == 201:  # what was given back when the others had left
                tickets += answer.json["tickets"]
            shown = office.call("GET", "/events/show").json
            for number in range(2 * BUYERS):  # often enough to be prepared by name, if anything was
                new = {"event": f"other-{number}", "capacity": 1}
                assert office.call("POST", "/events", new).status == 201
                assert office.call("DELETE", f"/events/other-{number}").status == 204
            switched = office.call("PUT", "/guard", {"guard": "row"})
            records = office.records()
            assert office.call("DELETE", "/events/show").status == 204
    assert set(told) <= {200, 201, 409}, told
    assert len(tickets) == len(set(tickets)) == CAPACITY == shown["sold"]
    assert switched.status == 200
    assert [each["version"] for each in records] == list(range(1, len(records) + 1))


def start(address: str, data: Path, **more: Any) -> FlaskClient:
    return create_app(Settings(data=data, store="postgres", store_url=address, **more)).test_client()


def test_a_pooler_that_cannot_keep_a_transaction_is_refused_with_the_remedy(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.fresh_database()
    with PgBouncer(tmp_path / "pgbouncer", server, ["pool_mode = statement"]) as pooler:
        with pytest.raises(NoEngine, match="pool_mode to transaction or session"):
            set_up(pooler.through(database))
        set_up(database)
        with pytest.raises(RefusedToStart, match="pool_mode to transaction or session"):
            start(pooler.through(database), tmp_path / "data")


def test_options_that_a_pooler_would_drop_are_refused_and_not_left_out(server: PostgresServer, tmp_path: Path) -> None:
    database = server.fresh_database()
    set_up(database)
    with PgBouncer(tmp_path / "pgbouncer", server, POOLS["transaction"]) as pooler:
        address = pooler.through(database) + "&options=-c%20synchronous_commit%3Don"
        with pytest.raises(RefusedToStart, match=r"options.*leave them out"):
            start(address, tmp_path / "data")


def test_a_full_pooler_says_so_definitely(server: PostgresServer, tmp_path: Path) -> None:
    database = server.fresh_database()
    set_up(database)
    with (
        PgBouncer(tmp_path / "pgbouncer", server, ["pool_mode = transaction", "max_client_conn = 1"]) as pooler,
        psycopg.connect(pooler.through(database)),
        pytest.raises(RefusedToStart, match="has no connection left"),
    ):
        start(pooler.through(database), tmp_path / "data")


def test_a_holder_that_pauses_is_ended_through_a_pooler_too(server: PostgresServer, tmp_path: Path) -> None:
    """What the session is asked to do for that is asked in each transaction: the next one may be in another session."""
    database = server.fresh_database()
    set_up(database)
    with PgBouncer(tmp_path / "pgbouncer", server, POOLS["transaction"]) as pooler:
        office = start(pooler.through(database), tmp_path / "data", lock_timeout_s=1.0).application.extensions["office"]
        with pytest.raises(Problem) as problem, office.store._transactions.transaction() as connection:
            wait_for(lambda: ended(database), "PostgreSQL to end the transaction")
            connection.execute("SELECT 1")
        assert problem.value.kind.definite
        assert office.buy("show", key="k", request="", quantity=1, buyer=None).record.tickets == (1,)
        office.store.close()


def ended(database: str) -> bool:
    with psycopg.connect(database, autocommit=True) as connection:
        idle = "datname = current_database() AND state LIKE 'idle in transaction%'"
        return connection.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {idle}").fetchall() == [(0,)]
