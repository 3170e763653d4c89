"""What the store ``postgres`` asks and tells the engine, each in one statement."""

from __future__ import annotations

from service.stores.postgres.records import HELD, RECORD

_AS_ARRAY = f"SELECT json_agg(json_build_array({RECORD}) ORDER BY id)::text FROM lastseat.records WHERE event = e.id"
_FROM_BOTH = "FROM lastseat.control c LEFT JOIN lastseat.events e ON e.name = %(event)s"
_COLUMNS = "c.guard, c.epoch, c.generation, e.id, e.about, e.version, e.sold, e.held, e.next_ticket, e.appended"

# One that a buyer has is in the records of sale and hold; a confirmation turns the one into the other.
BOUGHT = """coalesce(sum(
            CASE WHEN kind IN ('sold', 'held') THEN quantity WHEN kind = 'confirmed' THEN 0 ELSE -quantity END), 0)"""

# The buyers are those who want to buy, and those whose holds are named: a late confirmation is a sale to them.
VIEW = f"""
SELECT {_COLUMNS},
    ({_AS_ARRAY} AND key = ANY(%(keys)s::text[]) AND key <> ''),
    ({_AS_ARRAY} AND order_id = ANY(%(orders)s::text[])),
    ({_AS_ARRAY} AND hold_id = ANY(%(holds)s::text[])),
    (SELECT json_agg(json_build_array({HELD}) ORDER BY expires_at, version)::text
        FROM lastseat.open_holds WHERE event + 0 = e.id AND expires_at <= %(now)s::timestamptz),
    (SELECT json_object_agg(buyer, bought)::text FROM (
        SELECT buyer, {BOUGHT} AS bought
        FROM lastseat.records
        WHERE event = e.id AND e.max_per_buyer IS NOT NULL AND buyer = ANY(%(buyers)s::text[] || ARRAY(
            SELECT buyer FROM lastseat.records
            WHERE event = e.id AND hold_id = ANY(%(holds)s::text[]) AND buyer IS NOT NULL))
        GROUP BY buyer) AS each)
{_FROM_BOTH}
"""
COUNTERS = f"SELECT {_COLUMNS}, NULL, NULL, NULL, NULL, NULL {_FROM_BOTH}"

# The row first: whoever has it has the numbers of its records, so they stand in the order of the commits.
_MOVED = """
WITH moved AS (
    UPDATE lastseat.events e
    SET version = %s, sold = %s, held = %s, next_ticket = %s, appended = e.appended + %s
    FROM lastseat.control c
    WHERE e.id = %s AND e.appended >= %s AND c.epoch = coalesce(%s, c.epoch)
        AND c.generation = coalesce(%s, c.generation) AND e.version = coalesce(%s, e.version)
    RETURNING e.id
)"""
_INSERTED = f"""
INSERT INTO lastseat.records (event, {RECORD})
SELECT moved.id, {RECORD} FROM moved CROSS JOIN unnest(
    %s::bigint[], %s::text[], %s::text[], %s::text[], %s::integer[], %s::bigint[], %s::integer[], %s::text[],
    %s::text[], %s::text[], %s::timestamptz[], %s::text[]
) WITH ORDINALITY AS given ({RECORD}, place) ORDER BY place
"""
WRITE = _MOVED + _INSERTED

# All parts see what was there before: a hold that is made and ended by the same records is in neither.
WRITE_WITH_HOLDS = f"""{_MOVED}, opened AS (
    INSERT INTO lastseat.open_holds (event, {HELD})
    SELECT moved.id, {HELD} FROM moved CROSS JOIN unnest(
        %s::text[], %s::bigint[], %s::integer[], %s::bigint[], %s::timestamptz[], %s::text[]
    ) AS given ({HELD})
), closed AS (
    DELETE FROM lastseat.open_holds o USING moved WHERE o.hold_id = ANY(%s::text[]) AND o.event = moved.id
){_INSERTED}"""

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
