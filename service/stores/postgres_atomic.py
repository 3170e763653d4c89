"""The rules of ``inventory.decide`` in PostgreSQL's language: one function decides and writes a whole list of commands.

It locks the event's row, looks at each command in turn on what the ones before it left, and writes all records and the
counters; so between its reading and its writing there is neither a program nor a network. That it agrees with the
rules is tested differentially.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from service.inventory import Cancel, Command, Outcome, Record, Refusal, Replay, Sell

TRANSLATED: frozenset[type[Command]] = frozenset({Sell, Cancel})

FUNCTION = """
CREATE FUNCTION lastseat.decide_all(row_id bigint, instant timestamptz, commands jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    show lastseat.events;
    command jsonb;
    known lastseat.records;
    placed lastseat.records;
    answers jsonb[] := '{}';
    refused text;
    asked integer;
    bought bigint;
BEGIN
    SELECT * INTO show FROM lastseat.events WHERE id = row_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    FOR command IN SELECT value FROM jsonb_array_elements(commands) LOOP
        refused := NULL;
        SELECT * INTO known FROM lastseat.records
            WHERE event = row_id AND key = command->>'key' ORDER BY id DESC LIMIT 1;
        IF FOUND THEN
            IF known.request = command->>'request' THEN
                answers := answers || jsonb_build_array('replay', known.version, known.kind, known.key, known.order_id,
                    known.quantity, known.first_ticket, known.remaining, known.request, known.buyer);
                CONTINUE;
            END IF;
            refused := 'key_reused';
        ELSIF command->>'type' = 'Sell' THEN
            asked := (command->>'quantity')::integer;
            IF asked > show.max_per_order THEN
                refused := 'over_limit';
            ELSIF instant < show.opens_at THEN
                refused := 'doors_closed';
            ELSE
                IF show.max_per_buyer IS NOT NULL AND command->>'buyer' IS NOT NULL THEN
                    SELECT coalesce(sum(CASE kind WHEN 'sold' THEN quantity ELSE -quantity END), 0) INTO bought
                        FROM lastseat.records WHERE event = row_id AND buyer = command->>'buyer';
                    IF bought + asked > show.max_per_buyer THEN
                        refused := 'buyer_limit';
                    END IF;
                END IF;
                IF refused IS NULL AND show.sold + asked > show.capacity THEN
                    refused := 'sold_out';
                END IF;
            END IF;
        ELSE
            SELECT * INTO placed FROM lastseat.records
                WHERE event = row_id AND order_id = command->>'order' ORDER BY id DESC LIMIT 1;
            IF NOT FOUND THEN
                refused := 'unknown_order';
            ELSIF placed.kind <> 'sold' THEN
                refused := 'not_open';
            END IF;
        END IF;
        IF refused IS NOT NULL THEN
            answers := answers || jsonb_build_array(refused, show.version, show.capacity - show.sold);
            CONTINUE;
        END IF;
        show.version := show.version + 1;
        show.records := show.records + 1;
        IF command->>'type' = 'Sell' THEN
            show.sold := show.sold + asked;
            INSERT INTO lastseat.records
                (event, version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer)
            VALUES (row_id, show.version, 'sold', command->>'key', command->>'order', asked, show.next_ticket,
                show.capacity - show.sold, command->>'request', command->>'buyer')
            RETURNING * INTO known;
            show.next_ticket := show.next_ticket + asked;
        ELSE
            show.sold := show.sold - placed.quantity;
            INSERT INTO lastseat.records
                (event, version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer)
            VALUES (row_id, show.version, 'cancelled', command->>'key', placed.order_id, placed.quantity,
                placed.first_ticket, show.capacity - show.sold, command->>'request', placed.buyer)
            RETURNING * INTO known;
        END IF;
        answers := answers || jsonb_build_array('record', known.version, known.kind, known.key, known.order_id,
            known.quantity, known.first_ticket, known.remaining, known.request, known.buyer);
    END LOOP;
    UPDATE lastseat.events
        SET version = show.version, sold = show.sold, next_ticket = show.next_ticket, records = show.records
        WHERE id = row_id AND version <> show.version;
    RETURN to_jsonb(answers);
END $$;
"""
CALL = "SELECT lastseat.decide_all(%s, %s, %s::jsonb)::text"

_encoder = msgspec.json.Encoder()
_answers = msgspec.json.Decoder(list[list[Any]])


def encoded(commands: Sequence[Command]) -> str:
    """The commands as the function takes them."""
    return _encoder.encode([{"type": type(each).__name__, **msgspec.to_builtins(each)} for each in commands]).decode()


def outcomes_of(answers: str, commands: Sequence[Command], now: datetime, opens_at: datetime | None) -> list[Outcome]:
    """What the function answered, as ``inventory.decide_all`` has it."""
    from service.stores.postgres_schema import record_of

    outcomes: list[Outcome] = []
    for [what, *values], _ in zip(_answers.decode(answers), commands, strict=True):
        if what in {"record", "replay"}:
            record: Record = record_of(values)
            outcomes.append(record if what == "record" else Replay(record))
        else:
            version, remaining = values
            closed = what == "doors_closed" and opens_at is not None
            wait_s = int((opens_at - now).total_seconds()) + 1 if closed and opens_at is not None else None
            outcomes.append(Refusal(what, version, remaining, retry_after_s=wait_s))
    return outcomes
