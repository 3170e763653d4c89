"""The rules of ``inventory.decide`` in PostgreSQL's language: one function decides and writes a whole list of commands.

It locks the event's row, looks at each command in turn on what the ones before it left, and writes all records and the
counters; so between its reading and its writing there is neither a program nor a network. Holds that are due expire
before the first command that is no replay, once: none that is made by these commands can have ended by their instant.
That it agrees with the rules is tested differentially.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from service.rules.inventory import (
    Cancel,
    Command,
    Confirm,
    Hold,
    Outcome,
    Record,
    Refusal,
    Release,
    Replay,
    Sell,
    Sweep,
    Swept,
)
from service.stores.postgres.records import HELD, RECORD, record_of
from service.stores.postgres.scripts import Prepared
from service.stores.postgres.statements import BOUGHT

TRANSLATED: frozenset[type[Command]] = frozenset({Sell, Cancel, Hold, Confirm, Release, Sweep})

_KNOWN = ", ".join(f"known.{column}" for column in RECORD.split(", "))

FUNCTION = f"""
CREATE OR REPLACE FUNCTION lastseat.decide_all(row_id bigint, instant timestamptz, commands jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    show lastseat.events;
    command jsonb;
    wanted text;
    known lastseat.records;
    before lastseat.records;  -- the last record of the order or the hold that a command names
    fresh lastseat.records;
    due lastseat.open_holds;
    answers jsonb[] := '{{}}';
    refused text;
    bought bigint;
    is_swept boolean := false;
    is_late boolean;
    is_full boolean;
BEGIN
    SELECT * INTO show FROM lastseat.events WHERE id = row_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    FOR command IN SELECT value FROM jsonb_array_elements(commands) LOOP
        SELECT * INTO known FROM lastseat.records
            WHERE event = row_id AND key = command->>'key' AND command->>'key' <> '' ORDER BY id DESC LIMIT 1;
        IF FOUND AND known.request = command->>'request' THEN
            answers := answers || jsonb_build_array('replay', {_KNOWN});
            CONTINUE;
        ELSIF FOUND THEN
            answers := answers
                || jsonb_build_array('key_reused', show.version, show.capacity - show.sold - show.held);
            CONTINUE;
        END IF;

        IF NOT is_swept THEN
            is_swept := true;
            FOR due IN SELECT * FROM lastseat.open_holds
                WHERE event + 0 = row_id AND expires_at <= instant ORDER BY expires_at, version
            LOOP
                show.version := show.version + 1;
                show.appended := show.appended + 1;
                show.held := show.held - due.quantity;
                INSERT INTO lastseat.records
                    (event, version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer, hold_id)
                VALUES (row_id, show.version, 'expired', '', '', due.quantity, due.first_ticket,
                    show.capacity - show.sold - show.held, '', due.buyer, due.hold_id);
            END LOOP;
            DELETE FROM lastseat.open_holds WHERE event + 0 = row_id AND expires_at <= instant;
        END IF;

        refused := NULL;
        fresh := NULL;
        is_late := false;
        wanted := command->>'type';
        CASE wanted
        WHEN 'Sell', 'Hold' THEN
            fresh.kind := CASE wanted WHEN 'Sell' THEN 'sold' ELSE 'held' END;
            fresh.quantity := (command->>'quantity')::integer;
            fresh.buyer := command->>'buyer';
            fresh.hold_id := command->>'hold';
            fresh.expires_at := (command->>'expires_at')::timestamptz;
            fresh.cart := nullif(command->>'cart', '');
            IF fresh.quantity > show.max_per_order THEN
                refused := 'over_limit';
            ELSIF fresh.buyer IS NULL AND show.max_per_buyer IS NOT NULL THEN
                refused := 'buyer_needed';
            ELSIF wanted = 'Hold' AND (command->>'seconds')::double precision > show.max_hold_s THEN
                refused := 'hold_too_long';
            ELSIF instant < show.opens_at THEN
                refused := 'doors_closed';
            END IF;
        WHEN 'Cancel' THEN
            SELECT * INTO before FROM lastseat.records
                WHERE event = row_id AND order_id = command->>'order' ORDER BY id DESC LIMIT 1;
            IF NOT FOUND THEN
                refused := 'unknown_order';
            ELSIF before.kind NOT IN ('sold', 'confirmed') THEN
                refused := 'not_open';
            END IF;
            fresh.kind := 'cancelled';
        WHEN 'Confirm', 'Release' THEN
            SELECT * INTO before FROM lastseat.records
                WHERE event = row_id AND hold_id = command->>'hold' ORDER BY id DESC LIMIT 1;
            IF NOT FOUND THEN
                refused := 'unknown_hold';
            ELSIF before.kind = 'held' THEN
                fresh.kind := CASE wanted WHEN 'Confirm' THEN 'confirmed' ELSE 'released' END;
            ELSIF before.kind = 'expired' AND wanted = 'Confirm' THEN
                fresh.kind := 'sold';
                is_late := true;
            ELSE
                refused := 'not_open';
            END IF;
            fresh.hold_id := before.hold_id;
        ELSE  -- a sweep: nothing more is wanted
            refused := 'swept';
        END CASE;

        IF wanted IN ('Cancel', 'Confirm', 'Release') THEN
            fresh.quantity := before.quantity;
            fresh.first_ticket := before.first_ticket;
            fresh.buyer := before.buyer;
        END IF;
        IF refused IS NULL AND fresh.kind IN ('sold', 'held') THEN
            bought := NULL;
            IF show.max_per_buyer IS NOT NULL AND fresh.buyer IS NOT NULL THEN
                SELECT {BOUGHT} INTO bought
                    FROM lastseat.records WHERE event = row_id AND buyer = fresh.buyer;
            END IF;
            is_full := show.sold + show.held + fresh.quantity > show.capacity;
            refused := CASE
                WHEN is_late AND is_full THEN 'hold_expired'
                WHEN bought + fresh.quantity > show.max_per_buyer THEN 'buyer_limit'
                WHEN is_full THEN 'sold_out'
                WHEN fresh.kind = 'held' AND show.held + fresh.quantity > show.max_held THEN 'too_many_held'
            END;
        END IF;
        IF refused IS NOT NULL THEN
            answers := answers || jsonb_build_array(refused, show.version, show.capacity - show.sold - show.held);
            CONTINUE;
        END IF;

        IF fresh.kind IN ('sold', 'held') THEN
            fresh.first_ticket := show.next_ticket;
            show.next_ticket := show.next_ticket + fresh.quantity;
        END IF;
        show.version := show.version + 1;
        show.appended := show.appended + 1;
        show.sold := show.sold + fresh.quantity
            * CASE fresh.kind WHEN 'sold' THEN 1 WHEN 'confirmed' THEN 1 WHEN 'cancelled' THEN -1 ELSE 0 END;
        show.held := show.held + fresh.quantity
            * CASE fresh.kind WHEN 'held' THEN 1 WHEN 'confirmed' THEN -1 WHEN 'released' THEN -1 ELSE 0 END;
        INSERT INTO lastseat.records (event, {RECORD})
        VALUES (row_id, show.version, fresh.kind, command->>'key', coalesce(command->>'order', ''), fresh.quantity,
            fresh.first_ticket, show.capacity - show.sold - show.held, command->>'request', fresh.buyer,
            fresh.hold_id, fresh.expires_at, fresh.cart)
        RETURNING * INTO known;
        IF fresh.kind = 'held' THEN
            INSERT INTO lastseat.open_holds (event, {HELD})
            VALUES (row_id, known.hold_id, known.version, known.quantity, known.first_ticket, known.expires_at,
                known.buyer);
        ELSIF fresh.kind IN ('confirmed', 'released') THEN
            DELETE FROM lastseat.open_holds WHERE event = row_id AND hold_id = fresh.hold_id;
        END IF;
        answers := answers || jsonb_build_array('record', {_KNOWN});
    END LOOP;
    UPDATE lastseat.events
        SET version = show.version, sold = show.sold, held = show.held, next_ticket = show.next_ticket,
            appended = show.appended
        WHERE id = row_id AND appended <> show.appended;
    RETURN jsonb_build_array(show.appended, to_jsonb(answers));
END $$;
"""
CALL = Prepared("lastseat_decide_all", "SELECT lastseat.decide_all($1, $2, $3::jsonb)::text")

_encoder = msgspec.json.Encoder()
_answers = msgspec.json.Decoder(tuple[int, list[list[Any]]])


def encoded(commands: Sequence[Command], now: datetime) -> str:
    """The commands as the function takes them. When a hold ends is computed here, as the rules do."""
    return _encoder.encode([_as_told(command, now) for command in commands]).decode()


def _as_told(command: Command, now: datetime) -> dict[str, Any]:
    told: dict[str, Any] = {"type": type(command).__name__, **msgspec.to_builtins(command)}
    if isinstance(command, Hold):
        told["expires_at"] = now + timedelta(seconds=command.seconds)
    return told


def outcomes_of(answers: str | bytes, now: datetime, opens_at: datetime | None) -> tuple[list[Outcome], int]:
    """What the function answered, as ``inventory.decide_all`` has it; and how many records the event has had."""
    appended, told = _answers.decode(answers)
    return [_outcome(what, values, now, opens_at) for what, *values in told], appended


def _outcome(what: str, values: list[Any], now: datetime, opens_at: datetime | None) -> Outcome:
    if what in {"record", "replay"}:
        record: Record = record_of(values)
        return record if what == "record" else Replay(record)
    version, remaining = values
    if what == "swept":
        return Swept(version, remaining)
    wait_s = None
    if what == "doors_closed" and opens_at is not None:
        wait_s = -((now - opens_at) // timedelta(seconds=1))  # rounded up, as by the rules
    return Refusal(what, version, remaining, retry_after_s=wait_s)
