"""What PostgreSQL's errors mean for a buyer: definite or not, and what to do.

Before ``COMMIT`` is sent every error is definite: a transaction that was not committed leaves nothing, also when its
connection, its backend or the whole engine is gone. After it, an answer that says ERROR is definite too (the
transaction was rolled back); no answer, or one that says that the backend ends (FATAL), is not: the commit may be on
the disk.

No message repeats an address: it may hold a password.
"""

from __future__ import annotations

import psycopg
from psycopg import errors

from service.errors import Problem
from service.stores.base import Conflict, OneRefused
from service.stores.watermark import went_back

INIT = "`lastseat store init`"
STRANGE_OPTION = "unsupported startup parameter"  # in PgBouncer's words
_BY_STATEMENT = "statement pooling mode"
# The last two of PgBouncer.
_FULL = (
    "too many clients", "too many connections", "remaining connection slots", "no more connections allowed",
    "query_wait_timeout",
)  # fmt: skip
_GONE = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow, errors.DatabaseDropped)
_TOO_MUCH = "54"  # program limits: a row or an entry of an index that is too large
_RULES = ("23", "44", "P0")  # constraints, and what triggers say: rules that somebody added to the tables
_NO_SCHEMA = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction, errors.InvalidSchemaName)


class Silent(psycopg.OperationalError):
    """The engine did not answer in time, by this side's clock; the connection is closed."""


def problem_of(error: psycopg.Error) -> Exception:
    """The error of a statement before ``COMMIT`` as a definite ``Problem``, or ``Conflict`` where repeating helps."""
    state = error.sqlstate or ""
    if isinstance(error, errors.SerializationFailure | errors.DeadlockDetected):
        return Conflict(state)
    if isinstance(error, _NO_SCHEMA):
        return went_back(f"its tables are missing or of another version ({said(error)})")
    if _BY_STATEMENT in str(error):
        return Problem(
            "engine_refused",
            "A pooler before PostgreSQL keeps a connection for a single statement. Nothing was written; set its "
            "pool_mode to transaction or session.",
            retry_after_s=5,
        )
    if isinstance(error, psycopg.DataError) or state.startswith(_TOO_MUCH):
        # Also psycopg's own, which has no SQLSTATE and was never sent.
        return OneRefused("invalid_value", f"PostgreSQL cannot keep a value of it: {said(error)}. Nothing was written.")
    if not state or isinstance(error, _GONE) or state.startswith("08"):
        return unreachable(error)
    return _refused(error, state)


def problem_of_write(error: psycopg.Error) -> Exception:
    """The same, of what may be ``statements.WRITE``: a division by zero is how it says that it found another event."""
    return Conflict("22012") if isinstance(error, errors.DivisionByZero) else problem_of(error)


def _refused(error: psycopg.Error, state: str) -> Problem:
    if isinstance(error, errors.LockNotAvailable | errors.QueryCanceled):
        return Problem("lock_timeout", retry_after_s=1)
    if isinstance(error, errors.IdleInTransactionSessionTimeout):
        detail = "This purchase paused too long while it held the lock, and PostgreSQL ended its transaction."
        return Problem("lock_timeout", f"{detail} Nothing was written; try again.", retry_after_s=1)
    if isinstance(error, errors.DiskFull):
        detail = "PostgreSQL's disk is full. Nothing was written; make room there and try again."
        return Problem("storage_full", detail, retry_after_s=5)
    if isinstance(error, errors.ReadOnlySqlTransaction):
        detail = "This PostgreSQL takes no writes, as a standby does. Nothing was written; name the primary."
        return Problem("engine_refused", detail, retry_after_s=5)
    kind = OneRefused if state.startswith(_RULES) else Problem
    return kind("engine_refused", f"PostgreSQL said: {said(error)} ({state}). Nothing was written.", retry_after_s=5)


def problem_of_connecting(error: psycopg.Error) -> Problem:
    """Why there is no connection; nothing was sent."""
    text = str(error)
    state = error.sqlstate or ""
    # libpq tells the reason in words alone.
    if state in {"28P01", "28000"} or "authentication failed" in text or "no password supplied" in text:
        return Problem(
            "engine_refused",
            "PostgreSQL refused the user or the password of LASTSEAT_STORE. Nothing was written; correct the address "
            "and start the service again.",
            retry_after_s=5,
        )
    if state == "53300" or any(words in text for words in _FULL):
        return Problem(
            "pool_exhausted",
            "PostgreSQL has no connection left (max_connections). Nothing was written; lower LASTSEAT_POOL or the "
            "number of workers, or raise max_connections.",
            retry_after_s=1,
        )
    if state == "3D000" or ("database" in text and "does not exist" in text):
        return Problem(
            "engine_refused",
            f"PostgreSQL has no database of the name in LASTSEAT_STORE. Nothing was written; create it, then {INIT}.",
            retry_after_s=5,
        )
    if STRANGE_OPTION in text:
        return Problem(
            "engine_refused",
            "A pooler before PostgreSQL does not let the options in LASTSEAT_STORE pass. Nothing was written; leave "
            "them out of the address, or set them for the user: ALTER ROLE … SET ….",
            retry_after_s=5,
        )
    return unreachable(error)


def reason_of(error: BaseException | None) -> str:
    """Why there is no connection, and to which server, in libpq's words; for the log and the command line."""
    return " ".join(str(error).split())


def unreachable(error: psycopg.Error) -> Problem:
    """The engine is away, or went away before anything was committed."""
    silent = isinstance(error, Silent | errors.ConnectionTimeout)
    why = "it did not answer in time" if silent else "there is no connection"
    return Problem(
        "engine_unreachable", f"PostgreSQL cannot be reached ({why}). Nothing was written; try again.", retry_after_s=1
    )


def problem_of_commit(error: psycopg.Error, closed: bool) -> Exception:
    """The error that ``COMMIT`` met, on a connection that is ``closed`` by it or not."""
    if closed or isinstance(error, _GONE) or not error.sqlstate or error.sqlstate.startswith("08"):
        return Problem(
            "outcome_unknown",
            "The connection to PostgreSQL was lost while it committed: it may have been written. Ask again with the "
            "same Idempotency-Key.",
        )
    return problem_of(error)


def said(error: psycopg.Error) -> str:
    """PostgreSQL's own words in one line, without what was asked."""
    return error.diag.message_primary or type(error).__name__
