"""The schema ``lastseat`` in a PostgreSQL database: how it comes to be, and its version.

No index is unique but those on the names of events and halls: without a guard two sales may have one version, one key,
one ticket, one seat, and the store keeps both. An order's tickets follow one another, so the first of them tells all.
``events.appended`` counts records and never falls, unlike the version, which sales without a guard overwrite for each
other.

A migration is one entry in ``MIGRATIONS``: its place is the version that it leads to. All that are due run in one
transaction, and only one process runs them.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors

from service.errors import RefusedToStart
from service.stores.postgres.atomic import FUNCTION
from service.stores.postgres.errors import INIT, problem_of, said

_SETTING_UP = 0x4C535431  # of an advisory lock

_FIRST = """
CREATE TABLE lastseat.control (
    guard text NOT NULL,
    epoch bigint NOT NULL,
    generation bigint NOT NULL
);
INSERT INTO lastseat.control VALUES ('', 0, 0);
CREATE TABLE lastseat.events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    about text NOT NULL,
    capacity integer NOT NULL,
    opens_at timestamptz,
    max_per_order integer NOT NULL,
    max_per_buyer integer,
    version bigint NOT NULL DEFAULT 0,
    sold integer NOT NULL DEFAULT 0,
    next_ticket bigint NOT NULL DEFAULT 1,
    records bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);  -- its rows are rewritten by every sale, on the page where they are
CREATE TABLE lastseat.records (
    id bigint GENERATED ALWAYS AS IDENTITY,
    event bigint NOT NULL,
    version bigint NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    order_id text NOT NULL,
    quantity integer NOT NULL,
    first_ticket bigint NOT NULL,
    remaining integer NOT NULL,
    request text NOT NULL,
    buyer text
);
-- A plan is made while there are few records and kept when there are many. So no index begins with the plain event:
-- with few records it looks as good as the right one, and finding one key would then read all of an event's records.
CREATE INDEX records_of_event ON lastseat.records ((event + 0), id);
CREATE INDEX records_by_key ON lastseat.records (key, event);
CREATE INDEX records_by_order ON lastseat.records (order_id, event);
CREATE INDEX records_by_buyer ON lastseat.records (buyer, event) INCLUDE (kind, quantity) WHERE buyer IS NOT NULL;
"""


def _as_the_records(table: str) -> str:
    """Every role that may use the records may use this table."""
    return f"""
DO $$
DECLARE
    allowed record;
BEGIN
    FOR allowed IN
        SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS whom, privilege_type AS what
        FROM pg_class, aclexplode(relacl) WHERE oid = 'lastseat.records'::regclass
    LOOP
        EXECUTE format('GRANT %s ON lastseat.{table} TO %s', allowed.what, allowed.whom);
    END LOOP;
END $$;
"""


# ``open_holds`` is derived from the records: the holds that are open, found by their end or their id.
#
# No sale is under way meanwhile, for each of them has a lock on ``control``. A service of the first version that still
# runs knows nothing of tickets that are held: from here on every statement of its names a column that is not there.
_HOLDS = f"""
LOCK TABLE lastseat.control IN EXCLUSIVE MODE;
ALTER TABLE lastseat.events ADD COLUMN held integer NOT NULL DEFAULT 0;
ALTER TABLE lastseat.events RENAME COLUMN records TO appended;
ALTER TABLE lastseat.records ADD COLUMN hold_id text, ADD COLUMN expires_at timestamptz, ADD COLUMN cart text;
CREATE INDEX records_by_hold ON lastseat.records (hold_id, event) WHERE hold_id IS NOT NULL;
CREATE TABLE lastseat.open_holds (
    event bigint NOT NULL,
    hold_id text NOT NULL,
    version bigint NOT NULL,
    quantity integer NOT NULL,
    first_ticket bigint NOT NULL,
    expires_at timestamptz NOT NULL,
    buyer text
);
CREATE INDEX open_holds_by_end ON lastseat.open_holds ((event + 0), expires_at, version);
CREATE INDEX open_holds_by_hold ON lastseat.open_holds (hold_id, event);
{_as_the_records("open_holds")}
"""

_LIMITS = """
ALTER TABLE lastseat.events ADD COLUMN max_held integer, ADD COLUMN max_hold_s double precision;
"""

# ``seats`` is derived from the records: a row for each seat that is held (1) or sold (2), under its index in the hall.
# Records and open holds name their seats so too. A hall is kept as it was written, and beside it the index of the first
# seat of each row and the number of its seats, for the function.
#
# ``more`` is JSON: what only few records have.
#
# A service of a version before that still runs would sell tickets of a hall without seats: from here on every view of
# its names a column that is not there.
_SEATS = f"""
LOCK TABLE lastseat.control IN EXCLUSIVE MODE;
ALTER TABLE lastseat.events ADD COLUMN hall text NOT NULL DEFAULT '';
ALTER TABLE lastseat.events RENAME COLUMN about TO made_as;
ALTER TABLE lastseat.events ADD COLUMN closes_at timestamptz;
ALTER TABLE lastseat.records ADD COLUMN seats integer[], ADD COLUMN more text;
ALTER TABLE lastseat.open_holds ADD COLUMN seats integer[];
CREATE TABLE lastseat.halls (
    name text PRIMARY KEY,
    plan text NOT NULL,
    firsts integer[] NOT NULL,
    sizes integer[] NOT NULL
);
CREATE TABLE lastseat.seats (
    event bigint NOT NULL,
    seat integer NOT NULL,
    state smallint NOT NULL
);
CREATE INDEX seats_by_place ON lastseat.seats (event, seat);
{_as_the_records("halls")}
{_as_the_records("seats")}
"""

MIGRATIONS = (_FIRST, _HOLDS, _LIMITS, _SEATS + FUNCTION)
VERSION = len(MIGRATIONS)


def set_up(connection: psycopg.Connection[Any]) -> str:
    """Let the database have the schema in this version; what was done, in words. What is sold already is kept.

    Errors: ``RefusedToStart`` where a later service's schema is there; ``Problem`` (definite): nothing was changed.
    """
    try:
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SETTING_UP,))
            found = _version(connection)
            if found > VERSION:
                raise RefusedToStart(_other_version(found))
            if found == VERSION:
                return f"the schema lastseat has version {VERSION} already; nothing was changed"
            _refuse_other_letters(connection)
            if not found:
                connection.execute("CREATE SCHEMA lastseat")
                connection.execute("CREATE TABLE lastseat.about (version integer NOT NULL)")
                connection.execute("INSERT INTO lastseat.about VALUES (0)")
            for migration in MIGRATIONS[found:]:
                connection.execute(migration)
            connection.execute("UPDATE lastseat.about SET version = %s", (VERSION,))
    except psycopg.Error as error:
        raise problem_of(error) from error
    if not found:
        return f"the schema lastseat was made, version {VERSION}"
    return f"the schema lastseat was brought from version {found} to {VERSION}"


def check(connection: psycopg.Connection[Any]) -> list[str]:
    """Raise ``RefusedToStart`` where the schema is not this version's; warnings of settings that lose sales."""
    try:
        _refuse_other_letters(connection)
        found = _version(connection)
        [settings] = connection.execute(
            "SELECT current_setting('fsync'), current_setting('synchronous_commit'), "
            "current_setting('full_page_writes'), pg_is_in_recovery()"
        ).fetchall()
    except psycopg.Error as error:
        raise RefusedToStart(f"PostgreSQL said: {said(error)}. Nothing was written.") from None
    if not found:
        raise RefusedToStart(f"PostgreSQL has no schema `lastseat` in this database. Make it: {INIT}.")
    if found != VERSION:
        raise RefusedToStart(_other_version(found))
    fsync, synchronous_commit, full_page_writes, standby = settings
    if standby:
        raise RefusedToStart("This PostgreSQL is a standby and takes no writes. Let LASTSEAT_STORE name the primary.")
    warnings = []
    if synchronous_commit == "off":
        warnings.append(
            "PostgreSQL runs with synchronous_commit=off: the sales of the last moments before a crash of its host are "
            "lost though buyers have their answers. Set it to on."
        )
    for name, value, what in (("fsync", fsync, "nothing"), ("full_page_writes", full_page_writes, "no whole page")):
        if value == "off":
            warnings.append(
                f"PostgreSQL runs with {name}=off: {what} is sure to survive a crash of its host; set it on"
            )
    return warnings


def _refuse_other_letters(connection: psycopg.Connection[Any]) -> None:
    [(encoding,)] = connection.execute("SELECT current_setting('server_encoding')").fetchall()
    if encoding != "UTF8":
        raise RefusedToStart(
            f"This database has the encoding {encoding}, which cannot keep every buyer's name. Nothing was written. "
            "Let LASTSEAT_STORE name one with UTF8: CREATE DATABASE tickets ENCODING 'UTF8' TEMPLATE template0."
        )


def _version(connection: psycopg.Connection[Any]) -> int:
    """The version of the schema there is; 0 for none."""
    [(there,)] = connection.execute("SELECT to_regclass('lastseat.about') IS NOT NULL").fetchall()
    if not there:
        return 0
    try:
        rows = connection.execute("SELECT version FROM lastseat.about").fetchall()
    except errors.InsufficientPrivilege:
        raise RefusedToStart(
            "PostgreSQL's user of LASTSEAT_STORE may not use the schema `lastseat`. Grant it."
        ) from None
    return int(rows[0][0]) if rows else 0


def _other_version(found: int) -> str:
    remedy = f"Bring it there: {INIT}." if found < VERSION else "Start the service that made it, or a later one."
    return f"PostgreSQL has the schema lastseat in version {found}, and this service needs {VERSION}. {remedy}"
