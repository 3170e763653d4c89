"""What the store ``postgres`` asks and tells the engine, each in one statement."""

from __future__ import annotations

from service.stores.postgres.records import HELD, RECORD
from service.stores.postgres.scripts import Prepared

_AS_ARRAY = f"SELECT json_agg(json_build_array({RECORD}) ORDER BY id)::text FROM lastseat.records WHERE event = e.id"
_FROM_BOTH = "FROM lastseat.control c LEFT JOIN lastseat.events e ON e.name = $1"
_COLUMNS = "c.guard, c.epoch, c.generation, e.id, e.about, e.version, e.sold, e.held, e.next_ticket, e.appended"

# One that a buyer has is in the records of sale and hold; a confirmation turns the one into the other.
BOUGHT = """coalesce(sum(
            CASE WHEN kind IN ('sold', 'held') THEN quantity WHEN kind = 'confirmed' THEN 0 ELSE -quantity END), 0)"""

# The buyers are those who want to buy, and those whose holds are named: a late confirmation is a sale to them.
VIEW = Prepared(
    "lastseat_view",
    f"""
SELECT {_COLUMNS},
    ({_AS_ARRAY} AND key = ANY($2::text[]) AND key <> ''),
    ({_AS_ARRAY} AND order_id = ANY($3::text[])),
    ({_AS_ARRAY} AND hold_id = ANY($4::text[])),
    (SELECT json_agg(json_build_array({HELD}) ORDER BY expires_at, version)::text
        FROM lastseat.open_holds WHERE event + 0 = e.id AND expires_at <= $6::timestamptz),
    (SELECT json_object_agg(buyer, bought)::text FROM (
        SELECT buyer, {BOUGHT} AS bought
        FROM lastseat.records
        WHERE event = e.id AND e.max_per_buyer IS NOT NULL AND buyer = ANY($5::text[] || ARRAY(
            SELECT buyer FROM lastseat.records
            WHERE event = e.id AND hold_id = ANY($4::text[]) AND buyer IS NOT NULL))
        GROUP BY buyer) AS each)
{_FROM_BOTH}
""",
)
"""Asked by an event's name, the named keys, orders, holds and buyers, and the instant by which holds are due."""
COUNTERS = Prepared("lastseat_counters", f"SELECT {_COLUMNS}, NULL, NULL, NULL, NULL, NULL {_FROM_BOTH}")

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
# Where the event is not as it has to be there is nothing to insert. Who sends COMMIT together with this asks for the
# error that a division by zero is: after an error the engine commits nothing.
_INSERTED = f""", inserted AS (
    INSERT INTO lastseat.records (event, {RECORD})
    SELECT moved.id, {RECORD} FROM moved CROSS JOIN unnest(
        $12::bigint[], $13::text[], $14::text[], $15::text[], $16::integer[], $17::bigint[], $18::integer[],
        $19::text[], $20::text[], $21::text[], $22::timestamptz[], $23::text[]
    ) WITH ORDINALITY AS given ({RECORD}, place) ORDER BY place
    RETURNING 1
)
SELECT CASE WHEN $11 THEN 1 / count(*) ELSE count(*) END FROM inserted
"""
WRITE = Prepared("lastseat_write", _MOVED + _INSERTED)

# All parts see what was there before: a hold that is made and ended by the same records is in neither.
WRITE_WITH_HOLDS = Prepared(
    "lastseat_write_with_holds",
    f"""{_MOVED}, opened AS (
    INSERT INTO lastseat.open_holds (event, {HELD})
    SELECT moved.id, {HELD} FROM moved CROSS JOIN unnest(
        $24::text[], $25::bigint[], $26::integer[], $27::bigint[], $28::timestamptz[], $29::text[]
    ) AS given ({HELD})
), closed AS (
    DELETE FROM lastseat.open_holds o USING moved WHERE o.hold_id = ANY($30::text[]) AND o.event = moved.id
){_INSERTED}""",
)

PAGE = f"""
SELECT id, json_build_array({RECORD})::text FROM lastseat.records WHERE event + 0 = %s AND id > %s AND id <= %s
ORDER BY id
"""
AUDITED = """
SELECT id, about, (SELECT count(*) FROM lastseat.records WHERE event + 0 = e.id),
    (SELECT coalesce(max(id), 0) FROM lastseat.records WHERE event + 0 = e.id)
FROM lastseat.events e WHERE name = %s
"""
NEXT_EXPIRY = """
SELECT (SELECT to_json(expires_at) #>> '{}' FROM lastseat.open_holds
        WHERE event + 0 = e.id ORDER BY event + 0, expires_at, version LIMIT 1)
FROM lastseat.events e WHERE name = %s
"""
NEW = """
INSERT INTO lastseat.events (name, about, capacity, opens_at, max_per_order, max_per_buyer, max_held, max_hold_s)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING
"""
EPOCH = "UPDATE lastseat.control SET guard = %s, epoch = epoch + 1 RETURNING guard, epoch, generation"
SWITCHING = "LOCK TABLE lastseat.control IN EXCLUSIVE MODE"
