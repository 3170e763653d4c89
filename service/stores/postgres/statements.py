"""The statements of the store ``postgres``."""

from __future__ import annotations

from service.stores.postgres.records import HELD, RECORD, SEATS
from service.stores.postgres.scripts import Prepared

_FROM_BOTH = "FROM lastseat.control c LEFT JOIN lastseat.events e ON e.name = $1"
_COLUMNS = "c.guard, c.epoch, c.generation, e.id, e.made_as, e.version, e.sold, e.held, e.next_ticket, e.appended"

# One that a buyer has is in the records of sale and hold; a confirmation turns the one into the other.
BOUGHT = """coalesce(sum(
            CASE WHEN kind IN ('sold', 'held') THEN quantity WHEN kind = 'confirmed' THEN 0 ELSE -quantity END), 0)"""


def _view(record: str, held: str, more: str = "") -> str:
    """A view of an event that is shown so of its records and its open holds."""
    as_array = f"SELECT json_agg(json_build_array({record}) ORDER BY id)::text FROM lastseat.records WHERE event = e.id"
    # The buyers are those who want to buy, and those whose holds are named: a late confirmation is a sale to them.
    return f"""
SELECT {_COLUMNS},
    ({as_array} AND key = ANY($2::text[]) AND key <> ''),
    ({as_array} AND order_id = ANY($3::text[])),
    ({as_array} AND hold_id = ANY($4::text[])),
    (SELECT json_agg(json_build_array({held}) ORDER BY expires_at, version)::text
        FROM lastseat.open_holds WHERE event + 0 = e.id AND expires_at <= $6::timestamptz),
    (SELECT json_object_agg(buyer, bought)::text FROM (
        SELECT buyer, {BOUGHT} AS bought
        FROM lastseat.records
        WHERE event = e.id AND e.max_per_buyer IS NOT NULL AND buyer = ANY($5::text[] || ARRAY(
            SELECT buyer FROM lastseat.records
            WHERE event = e.id AND hold_id = ANY($4::text[]) AND buyer IS NOT NULL))
        GROUP BY buyer) AS each){more}
{_FROM_BOTH}
"""


VIEW = Prepared("lastseat_view", _view(RECORD, HELD))
"""Asked by an event's name, the named keys, orders, holds and buyers, and the instant by which holds are due."""
COUNTERS = Prepared("lastseat_counters", f"SELECT {_COLUMNS}, NULL, NULL, NULL, NULL, NULL {_FROM_BOTH}")

# OFFSET 0: each stretch is looked up by itself, whatever a plan that is made while there are few seats would rather do.
_SEATS = """
        CROSS JOIN LATERAL (SELECT seat, state FROM lastseat.seats
            WHERE event = e.id AND seat >= wanted.first AND seat < wanted.past OFFSET 0) AS found"""
VIEW_WITH_SEATS = Prepared(
    "lastseat_view_with_seats",
    _view(
        RECORD + SEATS,
        HELD + SEATS,
        f""",
    (SELECT json_build_array(json_agg(seat) FILTER (WHERE state = 1), json_agg(seat) FILTER (WHERE state = 2))::text
    FROM (
        SELECT seat, state FROM unnest($7::integer[], $8::integer[]) AS wanted (first, past){_SEATS}
        UNION ALL
        SELECT seat, state FROM (
            SELECT unnest(seats) AS first, unnest(seats) + 1 AS past FROM lastseat.records
            WHERE event = e.id AND hold_id = ANY($4::text[]) AND kind = 'held') AS wanted{_SEATS}
    ) AS taken)""",
    ),
)
"""The same of an event with a hall, and the stretches of the hall that are wanted. Behind the rest: which seats are
held and which are sold, in these stretches and of the named holds."""

# The row first: whoever has it has the numbers of its records, so they stand in the order of the commits.
_MOVED = """
WITH moved AS (
    UPDATE lastseat.events e
    SET version = $1, sold = $2, held = $3, next_ticket = $4, appended = e.appended + $5
    FROM lastseat.control c
    WHERE e.id = $6 AND e.appended >= $7 AND c.epoch = coalesce($8, c.epoch)
        AND c.generation = coalesce($9, c.generation) AND e.version = coalesce($10, e.version)
    RETURNING e.id
)"""
_RECORD_TYPES = "bigint text text text integer bigint integer text text text timestamptz text text"
_HELD_TYPES = "text bigint integer bigint timestamptz text"


def _given(types: str, first: int) -> str:
    """Columns as parameters, from the number ``first`` on."""
    return ", ".join(f"${number}::{each}[]" for number, each in enumerate(types.split(), first))


def _inserted(seats: bool) -> str:
    # Where the event is not as it has to be there is nothing to insert. Who sends COMMIT together with this asks for
    # the error that a division by zero is: after an error the engine commits nothing.
    names, types = (RECORD + SEATS, f"{_RECORD_TYPES} text") if seats else (RECORD, _RECORD_TYPES)
    values = f"{names}::integer[]" if seats else names
    return f""", inserted AS (
    INSERT INTO lastseat.records (event, {names})
    SELECT moved.id, {values} FROM moved CROSS JOIN unnest({_given(types, 12)})
        WITH ORDINALITY AS given ({names}, place) ORDER BY place
    RETURNING 1
)
SELECT CASE WHEN $11 THEN 1 / count(*) ELSE count(*) END FROM inserted
"""


def _holds(first: int, seats: bool) -> str:
    # All parts see what was there before: a hold that is made and ended by the same records is in neither.
    names, types = (HELD + SEATS, f"{_HELD_TYPES} text") if seats else (HELD, _HELD_TYPES)
    values = f"{names}::integer[]" if seats else names
    return f""", opened AS (
    INSERT INTO lastseat.open_holds (event, {names})
    SELECT moved.id, {values} FROM moved CROSS JOIN unnest({_given(types, first)}) AS given ({names})
), closed AS (
    DELETE FROM lastseat.open_holds o USING moved
    WHERE o.hold_id = ANY(${first + len(types.split())}::text[]) AND o.event = moved.id
)"""


WRITE = Prepared("lastseat_write", _MOVED + _inserted(seats=False))
WRITE_WITH_HOLDS = Prepared("lastseat_write_with_holds", _MOVED + _holds(25, seats=False) + _inserted(seats=False))

# Nobody has the row of a seat without that of its event, and takes them in the order of the seats.
WRITE_WITH_SEATS = Prepared(
    "lastseat_write_with_seats",
    f"""{_MOVED}{_holds(26, seats=True)}, taken AS (
    INSERT INTO lastseat.seats (event, seat, state)
    SELECT moved.id, seat, state FROM moved CROSS JOIN unnest($34::integer[], $35::smallint[]) AS given (seat, state)
    ORDER BY seat
), confirmed AS (
    UPDATE lastseat.seats SET state = 2
    WHERE event = $6 AND seat = ANY($36::integer[]) AND EXISTS (SELECT FROM moved)
), freed AS (
    DELETE FROM lastseat.seats WHERE event = $6 AND seat = ANY($37::integer[]) AND EXISTS (SELECT FROM moved)
){_inserted(seats=True)}""",
)
"""Of an event with a hall, with holds or without."""

PAGE = f"""
SELECT id, json_build_array({RECORD}{SEATS})::text FROM lastseat.records WHERE event + 0 = %s AND id > %s AND id <= %s
ORDER BY id
"""
AUDITED = """
SELECT id, made_as, (SELECT count(*) FROM lastseat.records WHERE event + 0 = e.id),
    (SELECT coalesce(max(id), 0) FROM lastseat.records WHERE event + 0 = e.id)
FROM lastseat.events e WHERE name = %s
"""
NEXT_EXPIRY = """
SELECT (SELECT to_json(expires_at) #>> '{}' FROM lastseat.open_holds
        WHERE event + 0 = e.id ORDER BY event + 0, expires_at, version LIMIT 1)
FROM lastseat.events e WHERE name = %s
"""
NEW = """
INSERT INTO lastseat.events
    (name, made_as, capacity, opens_at, max_per_order, max_per_buyer, max_held, max_hold_s, hall, closes_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING
"""
AMEND = Prepared(
    "lastseat_amend",
    "UPDATE lastseat.events SET made_as = $2, capacity = $3, opens_at = $4, closes_at = $5 WHERE id = $1 RETURNING 1",
)
HALL = Prepared("lastseat_hall", "SELECT plan FROM lastseat.halls WHERE name = $1")
NEW_HALL = """
INSERT INTO lastseat.halls (name, plan, firsts, sizes) VALUES (%s, %s, %s, %s) ON CONFLICT (name) DO NOTHING
"""
EPOCH = "UPDATE lastseat.control SET guard = %s, epoch = epoch + 1 RETURNING guard, epoch, generation"
SWITCHING = "LOCK TABLE lastseat.control IN EXCLUSIVE MODE"
