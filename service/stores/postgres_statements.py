"""The statements of the store ``postgres``. Each is one round trip and one snapshot, and finds by index."""

from __future__ import annotations

from service.stores.postgres_schema import RECORD

_AS_ARRAY = f"SELECT json_agg(json_build_array({RECORD}) ORDER BY id)::text FROM lastseat.records WHERE event = e.id"
VIEW = f"""
SELECT c.guard, c.epoch, c.generation, e.id, e.about, e.version, e.sold, e.next_ticket, e.records,
    ({_AS_ARRAY} AND key = ANY(%s::text[])),
    ({_AS_ARRAY} AND order_id = ANY(%s::text[])),
    (SELECT json_object_agg(buyer, bought)::text FROM (
        SELECT buyer, sum(CASE kind WHEN 'sold' THEN quantity ELSE -quantity END) AS bought
        FROM lastseat.records
        WHERE event = e.id AND buyer = ANY(%s::text[]) AND e.max_per_buyer IS NOT NULL GROUP BY buyer) AS each)
FROM lastseat.control c LEFT JOIN lastseat.events e ON e.name = %s
"""
COUNTERS = """
SELECT c.guard, c.epoch, c.generation, e.id, e.about, e.version, e.sold, e.next_ticket, e.records, NULL, NULL, NULL
FROM lastseat.control c LEFT JOIN lastseat.events e ON e.name = %s
"""
# The row first: whoever has it has the numbers of its records, so they stand in the order of the commits.
WRITE = f"""
WITH moved AS (
    UPDATE lastseat.events e
    SET version = %s, sold = %s, next_ticket = %s, records = e.records + %s
    FROM lastseat.control c
    WHERE e.id = %s AND e.records >= %s AND c.epoch = coalesce(%s, c.epoch)
        AND c.generation = coalesce(%s, c.generation) AND e.version = coalesce(%s, e.version)
    RETURNING e.id
)
INSERT INTO lastseat.records (event, {RECORD})
SELECT moved.id, {RECORD} FROM moved CROSS JOIN unnest(
    %s::bigint[], %s::text[], %s::text[], %s::text[], %s::integer[], %s::bigint[], %s::integer[], %s::text[], %s::text[]
) WITH ORDINALITY AS given ({RECORD}, place) ORDER BY place
"""
PAGE_OF_RECORDS = f"SELECT id, {RECORD} FROM lastseat.records WHERE event + 0 = %s AND id > %s AND id <= %s ORDER BY id"
NEW = """
INSERT INTO lastseat.events (name, about, capacity, opens_at, max_per_order, max_per_buyer)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING
"""
SWITCHING = "LOCK TABLE lastseat.control IN EXCLUSIVE MODE"
