"""Connections of one process to a Valkey or Redis, and what each way of failing means for a buyer.

An error is *definite* when the engine said no, or when the command never reached it whole: connecting failed, or
sending did (half a command is not run). Once a command that writes has been sent, only its answer tells what became of
it; a connection that ends before it, or an answer that does not come in time, is ``outcome_unknown``. So nothing that
writes is ever sent twice from here, and redis-py's own retries are off.

At most ``pool`` connections, made when needed; who finds none free waits for one, for a bounded time. An idle one that
the engine has closed meanwhile (it was restarted) is noticed before it is used. A fork inherits none.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from redis import connection as redis_connection
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.errors import Problem, RefusedToStart
from service.stores.redis.scripts import Script

CONNECT_WITHIN_S = 2.0
LONGEST_ANSWER_S = 5.0
Connection = Any
"""A connection of redis-py, which has no types for what is used of it here."""

_KNOWN = frozenset({"connection_class", "host", "port", "path", "db", "username", "password", "client_name", "prefix"})
_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LOST = (exceptions.ConnectionError, exceptions.TimeoutError, OSError)

# How an answer begins that says no: the problem's code, and what to do. Nothing was written in any of these cases.
_REFUSALS: tuple[tuple[str, str, str], ...] = (
    ("OOM", "storage_full", "It has reached its maxmemory: give it more."),
    ("MISCONF", "storage_refused", "It cannot write to its disk: make room there, or mend it."),
    ("READONLY", "engine_refused", "It is a replica: let LASTSEAT_STORE name the primary."),
    ("NOREPLICAS", "engine_refused", "It misses the replicas that it is set to write to (min-replicas-to-write)."),
    ("NOAUTH", "engine_refused", "It wants a password, and LASTSEAT_STORE has none."),
    ("Protocol error: unauthenticated", "engine_refused", "It wants a password, and LASTSEAT_STORE has none."),
    ("WRONGPASS", "engine_refused", "It does not accept the user or the password in LASTSEAT_STORE."),
    ("ERR invalid password", "engine_refused", "It does not accept the password in LASTSEAT_STORE."),
    ("ERR AUTH", "engine_refused", "It has no password, and LASTSEAT_STORE has one."),
    ("NOPERM", "engine_refused", "Its access list does not let this user do that."),
    ("LOADING", "engine_unreachable", "It is still reading its data."),
    ("BUSY ", "engine_refused", "Another program's script keeps it busy."),
    ("ERR max number of clients", "engine_refused", "It has as many clients as it allows (maxclients)."),
    ("MOVED", "engine_refused", "It is a node of a cluster that does not have this office."),
    ("CLUSTERDOWN", "engine_refused", "Its cluster is down."),
    ("MASTERDOWN", "engine_refused", "It has lost its primary."),
)


class Engine:
    """This process's way to the engine at ``url``. Threads and greenlets share one. Built without input or output."""

    def __init__(self, url: str, pool: int, patience_s: float) -> None:
        options = _options(url)
        prefix = options.pop("prefix", "lastseat")
        if not _PREFIX.fullmatch(prefix):
            raise RefusedToStart("LASTSEAT_STORE: prefix must be letters, digits, '.', '_' and '-', at most 64.")
        self.tag = f"{{{prefix}}}"
        """What every key begins with; in braces, so that a whole office sits in one slot of a cluster."""
        self._patience_s = min(patience_s, LONGEST_ANSWER_S)
        self._class = options.pop("connection_class", redis_connection.Connection)
        self._options = options | {
            "protocol": 2,
            "socket_connect_timeout": min(CONNECT_WITHIN_S, self._patience_s),
            "socket_timeout": self._patience_s,
            "retry": Retry(NoBackoff(), 0),
        }
        self.where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        """Its address as it may be shown: without user and password."""
        self._size = pool
        self._after_fork()
        self._idle_or_refuse()

    def run(self, script: Script, keys: Sequence[str], *arguments: str | bytes) -> Any:
        """What a script answers. Errors: as of ``ask``."""
        with self.connection() as connection:
            wanted = (len(keys), *keys, *arguments)
            try:
                return self.exchange(connection, ("EVALSHA", script.sha, *wanted), writes=script.sells)
            except exceptions.NoScriptError:
                # The engine is new or was restarted: it takes the text, and knows it from now on.
                return self.exchange(connection, ("EVAL", script.text, *wanted), writes=script.sells)

    def ask(self, *command: str | bytes | int, writes: bool = False) -> Any:
        """What the engine answers to a command.

        Errors, definite: ``engine_unreachable``, ``engine_refused``, ``pool_exhausted``, ``storage_full``,
        ``storage_refused``; indefinite, of one that writes: ``outcome_unknown``.
        """
        with self.connection() as connection:
            return self.exchange(connection, command, writes=writes)

    def exchange(self, connection: Connection, command: Sequence[str | bytes | int], *, writes: bool) -> Any:
        """One command on this connection, and its answer. Errors: as of ``ask``, and ``NoScriptError``."""
        return self.exchange_all(connection, [command], writes=writes)[-1]

    def exchange_all(
        self, connection: Connection, commands: Sequence[Sequence[str | bytes | int]], *, writes: bool
    ) -> list[Any]:
        """Send several commands at once and return all answers; if any is an error, the first one is raised."""
        try:
            connection.send_packed_command([b"".join(map(_packed, commands))], check_health=False)
        except _LOST as error:
            raise self._unreachable(error) from None
        answers: list[Any] = []
        refusal: Exception | None = None
        for _ in commands:
            try:
                answers.append(connection.read_response())
            except (exceptions.RedisError, OSError) as error:
                if _is_answer(error):
                    refusal = refusal or error
                    continue
                connection.disconnect()
                if writes:
                    raise self._unknown(error) from None
                raise self._unreachable(error) from None
        if refusal is not None:
            raise self.problem(refusal) from None
        return answers

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection for this block alone. Where the block fails it is closed: nobody knows what stands in it.

        Errors: ``pool_exhausted``, ``engine_unreachable``, ``engine_refused`` (definite).
        """
        if self._pid != os.getpid():
            self._after_fork()
        free, idle = self._free, self._idle
        if not free.acquire(timeout=self._patience_s):
            raise Problem("pool_exhausted", f"All {self._size} are in use: LASTSEAT_POOL.", retry_after_s=1)
        try:
            connection = self._ready(idle)
            try:
                yield connection
            except BaseException:
                connection.disconnect()
                raise
            idle.append(connection)
        finally:
            free.release()

    def close(self) -> None:
        """Close what is idle."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().disconnect()

    def _after_fork(self) -> None:
        # What the parent has open is left alone: closing it here would end its conversations.
        self._free = threading.BoundedSemaphore(self._size)
        self._idle: list[Connection] = []
        self._pid = os.getpid()

    def _idle_or_refuse(self) -> None:
        """Build one connection, without connecting, so that an option that does not exist is refused at once."""
        try:
            self._idle.append(self._class(**self._options))
        except TypeError:
            raise RefusedToStart("LASTSEAT_STORE: the address has an option that does not exist.") from None

    def _ready(self, idle: list[Connection]) -> Connection:
        try:
            # Not "if there is one": between that look and the taking another thread may take the last.
            connection = idle.pop()
        except IndexError:
            connection = self._class(**self._options)
        try:
            if connection.is_connected and _is_over(connection):
                connection.disconnect()
            if not connection.is_connected:
                connection.connect()
                # Without a password it answers a longer command with a protocol error, or with the end of the
                # connection alone; to this one it says what is missing.
                connection.send_command("PING", check_health=False)
                connection.read_response()
        except (exceptions.RedisError, OSError) as error:
            connection.disconnect()
            raise self.problem(error) from None
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def problem(self, error: Exception) -> Exception:
        """The definite problem for a known error (nothing was written); an unknown error is returned as it is."""
        if not _is_answer(error):
            return self._unreachable(error)
        # redis-py takes the code off the message for the errors that it has a class for, and keeps it beside.
        said = f"{getattr(error, 'status_code', None) or ''} {error}"
        for begins, problem, remedy in _REFUSALS:
            if f" {begins}" in f" {said}":
                return Problem(problem, f"{self.where}: {remedy} Nothing was written.", retry_after_s=5)
        _, ours, what = said.partition("LASTSEAT ")
        if ours:
            return Problem("corrupt_document", f"{self.where}: {what}. Nothing was written.")
        return error

    def _unreachable(self, error: BaseException) -> Problem:
        why = "it did not answer in time" if isinstance(error, exceptions.TimeoutError) else "no connection"
        return Problem("engine_unreachable", f"{self.where}: {why}. Nothing was written.", retry_after_s=1)

    def _unknown(self, error: BaseException) -> Problem:
        how = "did not answer in time" if isinstance(error, exceptions.TimeoutError) else "ended the connection"
        return Problem(
            "outcome_unknown",
            f"{self.where} {how} after it was asked to write. Ask again with the same Idempotency-Key.",
            retry_after_s=1,
        )


def _packed(command: Sequence[str | bytes | int]) -> bytes:
    """A command as the engine reads it (RESP). redis-py's own takes as long as the rest of a purchase here."""
    packed = [b"*%d\r\n" % len(command)]
    for part in command:
        value = part if isinstance(part, bytes) else str(part).encode()
        packed.append(b"$%d\r\n%b\r\n" % (len(value), value))
    return b"".join(packed)


def _is_answer(error: BaseException) -> bool:
    """Whether the engine itself said it: some of its answers have a class among those of a lost connection."""
    return isinstance(error, exceptions.ResponseError) or getattr(error, "status_code", None) is not None


def _is_over(connection: Connection) -> bool:
    """Whether the engine has closed an idle connection, or something that nobody asked for stands in it."""
    try:
        return bool(connection.can_read(0))
    except _LOST:
        return True


def _options(url: str) -> dict[str, Any]:
    if not url:
        raise RefusedToStart("LASTSEAT_STORE=redis needs an address: redis://host:6379/0 or unix:///path/of.sock.")
    parse: Any = redis_connection.parse_url
    try:
        options: dict[str, Any] = parse(url)
    except ValueError as error:
        # Of a part of the address, which may be the password: what it was is not repeated.
        raise RefusedToStart(f"LASTSEAT_STORE: the address cannot be read ({type(error).__name__}).") from None
    strange = sorted(name for name in options if name not in _KNOWN and not name.startswith("ssl_"))
    if strange:
        raise RefusedToStart(f"LASTSEAT_STORE: the address has options that do not exist: {', '.join(strange)}.")
    return options
