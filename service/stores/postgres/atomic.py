"""The rules of ``inventory.decide`` in PostgreSQL's language: one function decides and writes a whole list of commands.
Another one, which it calls, chooses the best seats.

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

from service.rules.halls import Hall
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
    View,
    Wish,
)
from service.rules.records import ANY
from service.stores.postgres.records import HELD, RECORD, SEATS, record_of
from service.stores.postgres.scripts import Prepared
from service.stores.postgres.statements import BOUGHT
from service.stores.reading import More
from service.stores.seat_reading import indices

TRANSLATED: frozenset[type[Command]] = frozenset({Sell, Cancel, Hold, Confirm, Release, Sweep})

_KNOWN = ", ".join(f"known.{column}" for column in f"{RECORD}{SEATS}".split(", "))

# A place is wide enough for one ticket, or for all of them where they are wanted together.
_BEST = """
CREATE OR REPLACE FUNCTION lastseat.best_seats(
    row_id bigint, hall_name text, stretch_first integer, stretch_past integer, quantity integer, together boolean
) RETURNS integer[]
LANGUAGE plpgsql AS $$
DECLARE
    width integer := CASE WHEN together THEN quantity ELSE 1 END;
    line record;
    best integer[] := '{}';
BEGIN
    FOR line IN
        SELECT each.first, each.size
        FROM lastseat.halls h CROSS JOIN LATERAL unnest(h.firsts, h.sizes) AS each (first, size)
        WHERE h.name = hall_name AND each.first >= stretch_first AND each.first < stretch_past
            AND each.size - (
                SELECT count(DISTINCT seat) FROM lastseat.seats
                WHERE event = row_id AND seat >= each.first AND seat < each.first + each.size
            ) >= width
        ORDER BY each.first
    LOOP
        best := best || ARRAY(
            SELECT line.first + place.at + beside
            FROM (
                SELECT at FROM generate_series(0, line.size - width) AS at
                WHERE (
                    SELECT count(*) FROM lastseat.seats
                    WHERE event = row_id AND seat >= line.first + at AND seat < line.first + at + width
                ) = 0
                ORDER BY abs(2 * at + width - line.size), at
                LIMIT (quantity - cardinality(best)) / width
            ) AS place CROSS JOIN generate_series(0, width - 1) AS beside
        );
        EXIT WHEN cardinality(best) = quantity;
    END LOOP;
    RETURN CASE WHEN cardinality(best) = quantity THEN ARRAY(SELECT unnest(best) ORDER BY 1) END;
END $$;
"""

FUNCTION = f"""{_BEST}
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
    is_seated boolean;
    taken integer[];  -- of the seats that a command names
    missing text;  -- why there are not the seats that it wants the best of
BEGIN
    SELECT * INTO show FROM lastseat.events WHERE id = row_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    is_seated := show.hall <> '';
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
                    (event, version, kind, key, order_id, quantity, first_ticket, remaining, request, buyer, hold_id,
                    seats)
                VALUES (row_id, show.version, 'expired', '', '', due.quantity, due.first_ticket,
                    show.capacity - show.sold - show.held, '', due.buyer, due.hold_id, due.seats);
                IF is_seated THEN
                    DELETE FROM lastseat.seats WHERE event = row_id AND seat = ANY(due.seats);
                END IF;
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
            ELSIF is_seated AND fresh.quantity > (command->>'longest_row')::integer THEN
                refused := 'row_too_short';
            ELSIF fresh.buyer IS NULL AND show.max_per_buyer IS NOT NULL THEN
                refused := 'buyer_needed';
            ELSIF wanted = 'Hold' AND (command->>'seconds')::double precision > show.max_hold_s THEN
                refused := 'hold_too_long';
            ELSIF instant < show.opens_at OR instant >= show.closes_at THEN
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
        ELSE  -- a sweep: nothing more is wanted; or what there is not
            refused := coalesce(command->>'no_such', 'swept');
        END CASE;

        IF wanted IN ('Cancel', 'Confirm', 'Release') THEN
            fresh.quantity := before.quantity;
            fresh.first_ticket := before.first_ticket;
            fresh.buyer := before.buyer;
            fresh.seats := before.seats;
        END IF;
        IF refused IS NULL AND fresh.kind IN ('sold', 'held') THEN
            bought := NULL;
            IF show.max_per_buyer IS NOT NULL AND fresh.buyer IS NOT NULL THEN
                SELECT {BOUGHT} INTO bought
                    FROM lastseat.records WHERE event = row_id AND buyer = fresh.buyer;
            END IF;
            is_full := show.sold + show.held + fresh.quantity > show.capacity;
            IF is_seated THEN
                taken := NULL;
                missing := NULL;
                IF command ? 'named' THEN
                    fresh.seats := ARRAY(SELECT value::integer FROM jsonb_array_elements(command->'named'));
                END IF;
                IF fresh.seats IS NOT NULL THEN
                    taken := ARRAY(
                        SELECT named.seat FROM unnest(fresh.seats) WITH ORDINALITY AS named (seat, place)
                        WHERE (SELECT count(*) FROM lastseat.seats s WHERE event = row_id AND s.seat = named.seat) > 0
                        ORDER BY place);
                ELSE
                    fresh.seats := lastseat.best_seats(row_id, show.hall, (command->>'first')::integer,
                        (command->>'past')::integer, fresh.quantity, (command->>'together')::boolean);
                END IF;
                IF fresh.seats IS NULL THEN
                    SELECT CASE
                        WHEN (command->>'past')::integer - (command->>'first')::integer - count(DISTINCT seat)
                            >= fresh.quantity THEN 'not_together'
                        ELSE command->>'too_few' END
                    INTO missing FROM lastseat.seats
                    WHERE event = row_id
                        AND seat >= (command->>'first')::integer AND seat < (command->>'past')::integer;
                END IF;
            END IF;
            refused := CASE
                WHEN is_late AND is_full THEN 'hold_expired'
                WHEN is_late AND taken <> '{{}}' THEN 'hold_expired'
                WHEN bought + fresh.quantity > show.max_per_buyer THEN 'buyer_limit'
                WHEN taken <> '{{}}' THEN 'seat_taken'
                WHEN missing IS NOT NULL THEN missing
                WHEN is_full THEN 'sold_out'
                WHEN fresh.kind = 'held' AND show.held + fresh.quantity > show.max_held THEN 'too_many_held'
            END;
        END IF;
        IF refused IS NOT NULL THEN
            answers := answers || jsonb_build_array(refused, show.version, show.capacity - show.sold - show.held,
                CASE refused WHEN 'seat_taken' THEN taken END);
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
        INSERT INTO lastseat.records (event, {RECORD}{SEATS})
        VALUES (row_id, show.version, fresh.kind, command->>'key', coalesce(command->>'order', ''), fresh.quantity,
            fresh.first_ticket, show.capacity - show.sold - show.held, command->>'request', fresh.buyer,
            fresh.hold_id, fresh.expires_at, fresh.cart, command->>'more', fresh.seats)
        RETURNING * INTO known;
        IF fresh.kind = 'held' THEN
            INSERT INTO lastseat.open_holds (event, {HELD}{SEATS})
            VALUES (row_id, known.hold_id, known.version, known.quantity, known.first_ticket, known.expires_at,
                known.buyer, known.seats);
        ELSIF fresh.kind IN ('confirmed', 'released') THEN
            DELETE FROM lastseat.open_holds WHERE event = row_id AND hold_id = fresh.hold_id;
        END IF;
        IF is_seated THEN
            IF fresh.kind IN ('sold', 'held') THEN
                INSERT INTO lastseat.seats (event, seat, state)
                    SELECT row_id, seat, CASE fresh.kind WHEN 'held' THEN 1 ELSE 2 END
                    FROM unnest(fresh.seats) AS seat ORDER BY seat;
            ELSIF fresh.kind = 'confirmed' THEN
                UPDATE lastseat.seats SET state = 2 WHERE event = row_id AND seat = ANY(fresh.seats);
            ELSE
                DELETE FROM lastseat.seats WHERE event = row_id AND seat = ANY(fresh.seats);
            END IF;
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


def encoded(commands: Sequence[Command], now: datetime, hall: Hall | None) -> str:
    """The commands as the function takes them. When a hold ends is computed here, as the rules do; and so is what a
    wish means in the hall."""
    return _encoder.encode([_as_told(command, now, hall) for command in commands]).decode()


def _as_told(command: Command, now: datetime, hall: Hall | None) -> dict[str, Any]:
    told: dict[str, Any] = {"type": type(command).__name__, **msgspec.to_builtins(command)}
    if isinstance(command, Hold):
        told["expires_at"] = now + timedelta(seconds=command.seconds)
    if isinstance(command, Cancel | Release) and command.operation:
        told["more"] = _encoder.encode(More(operation=command.operation)).decode()
    if isinstance(command, Sell | Hold):
        del told["wish"]
        told.update(_wish(command.wish, hall))
    return told


def _wish(wish: Wish, hall: Hall | None) -> dict[str, Any]:
    """What is wanted: the indices of named seats, or the stretch of the best; or what there is not."""
    if hall is None:
        return {} if wish == ANY else {"type": "NoSuch", "no_such": "no_hall"}
    if not hall.has(wish.section) or hall.missing(wish.seats):
        return {"type": "NoSuch", "no_such": "unknown_seat"}
    told: dict[str, Any] = {"longest_row": hall.longest_row(wish.section)} if wish.together else {}
    if wish.seats:
        return {**told, "named": indices(hall, wish.seats)}
    first, past = hall.span(wish.section)
    too_few = "section_sold_out" if wish.section else "sold_out"
    return {**told, "first": first, "past": past, "together": wish.together, "too_few": too_few}


def outcomes_of(
    answers: str | bytes, commands: Sequence[Command], view: View, now: datetime
) -> tuple[list[Outcome], int]:
    """What the function answered, as ``inventory.decide_all`` has it; and how many records the event has had. The view
    tells the event and its hall."""
    appended, told = _answers.decode(answers)
    pairs = zip(told, commands, strict=True)
    return [_outcome(what, values, command, view, now) for (what, *values), command in pairs], appended


def _outcome(what: str, values: list[Any], command: Command, view: View, now: datetime) -> Outcome:
    if what in {"record", "replay"}:
        record: Record = record_of(values, view.hall)
        return record if what == "record" else Replay(record)
    version, remaining, *more = values
    if what == "swept":
        return Swept(version, remaining)
    seats: tuple[str, ...] = ()
    wait_s, opens_at = None, view.event.opens_at
    if what == "doors_closed" and opens_at is not None and now < opens_at:
        wait_s = -((now - opens_at) // timedelta(seconds=1))  # rounded up, as by the rules
    if view.hall is not None and isinstance(command, Sell | Hold):
        if what == "seat_taken":
            seats = tuple(map(view.hall.seat, more[0]))
        elif what == "unknown_seat":
            seats = view.hall.missing(command.wish.seats)
    return Refusal(what, version, remaining, wait_s, seats)
