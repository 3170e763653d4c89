"""The lab's own calls to a ticket office: make an event, read its audit, switch the guard.

Plain HTTP by the contract; nothing of the service is imported. These calls are in no history.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import msgspec

from loadtests.lab.protocol.http_calls import MOST_BYTES, HttpAnswer, NoAnswer, ask
from loadtests.lab.untrusted import NOT_JSON, printable

TOKEN_VARIABLE = "LASTSEAT_ADMIN_TOKEN"
TOKEN_FILE = "admin-token"
DEFAULT_TIMEOUT_S = 10.0
MOST_AUDIT_BYTES = 256 << 20
"""Some two million records; a longer audit is refused."""
_SERVER_ERROR = 500
_POLL_S = 0.1
_WORKERS = re.compile(rb"^lastseat_workers ([0-9]{1,9})(?:\.0*)?$", re.MULTILINE)
_SHOWN = 200


class OfficeError(Exception):
    """A call that did not do what it should. The message says what happened and what to do next."""


class Unreachable(OfficeError):
    """Nobody answered. For a call that changes something this is indefinite."""


class CallRefused(OfficeError):
    """The service answered with an error; ``code`` is the problem's."""

    def __init__(self, message: str, status: int, code: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class GuardState(msgspec.Struct):
    """``GET /guard``: the guard that is on, since which epoch, and the guards that exist."""

    guard: str
    epoch: int
    guards: list[str]


class _Problem(msgspec.Struct):
    code: str | None = None
    title: str | None = None
    detail: str | None = None


# Made here, before there are threads: msgspec 0.22 ends a process in which two threads use a type first at once.
_guard_state = msgspec.json.Decoder(GuardState)
_problem = msgspec.json.Decoder(_Problem)


def find_token(given: str | None, data: Path | str | None) -> str | None:
    """The admin token as given, or from the environment, or from the file that the service made."""
    if given or os.environ.get(TOKEN_VARIABLE):
        return given or os.environ[TOKEN_VARIABLE]
    try:
        path = Path(data or os.environ.get("LASTSEAT_DATA") or "data") / TOKEN_FILE
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


class Office:
    has_audit = True

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self.token = token

    def create_event(self, event: str, capacity: int, opens_at: float | None = None, hall: Any = None) -> None:
        """Make a fresh lab event, which unsafe guards may touch; it opens at that time of the Unix clock.

        With a ``hall``, as ``POST /events`` takes it, its seats are sold, and they are the capacity.
        """
        tickets = {"capacity": capacity} if hall is None else {"hall": hall}
        wanted: dict[str, Any] = {"event": event, "name": event, "lab": True, **tickets}
        if opens_at is not None:
            wanted["opens_at"] = datetime.fromtimestamp(opens_at, UTC)
        self._call("POST", "/events", wanted)

    def audit(self, event: str, *, timeout_s: float = 60.0) -> bytes:
        """The committed mutations of ``event`` as JSON lines, byte for byte as sent."""
        return self._call("GET", f"/events/{event}/audit", timeout_s=timeout_s, most_bytes=MOST_AUDIT_BYTES).body

    def hall(self, event: str) -> Any:
        """The hall of ``event`` in its canonical form, every row by itself."""
        return self._read(f"/events/{event}/hall", "hall")

    def event(self, event: str) -> Any:
        """What ``event`` says of itself: its capacity, what is sold, held and left, the version."""
        return self._read(f"/events/{event}", "event")

    def guard(self) -> GuardState:
        return self._state("GET")

    def switch(self, guard: str) -> GuardState:
        """Change the guard for all processes. Returns when no transaction of the old one is left."""
        return self._state("PUT", {"guard": guard}, timeout_s=60.0)

    def ready(self) -> Mapping[str, str] | None:
        """The headers of ``/readyz`` if the service says it is ready, else None."""
        try:
            return cast("Mapping[str, str]", self._call("GET", "/readyz", timeout_s=2.0).headers)
        except OfficeError:
            return None

    def workers(self) -> int | None:
        """How many processes sell here, where the service counts them. Raises ``OfficeError`` if it is silent."""
        try:
            found = _WORKERS.search(self._call("GET", "/metrics", timeout_s=2.0).body)
        except CallRefused:
            return None
        return int(found[1]) if found else None

    def _read(self, path: str, kind: str) -> Any:
        try:
            return msgspec.json.decode(self._call("GET", path).body)
        except NOT_JSON as error:
            raise OfficeError(f"GET {path} was answered by {self.url} with no {kind}: {error}") from None

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        most_bytes: int = MOST_BYTES,
    ) -> HttpAnswer:
        headers = {} if body is None else {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        content = None if body is None else msgspec.json.encode(body)
        try:
            answer = ask(method, self.url + path, content, headers, timeout_s=timeout_s, most_bytes=most_bytes)
        except NoAnswer as error:
            raise Unreachable(self._nobody_there(method, path, error)) from None
        if not answer.is_fine:
            raise self._refused(method, path, answer)
        return answer

    def _state(self, method: str, body: Any = None, **limits: Any) -> GuardState:
        try:
            return _guard_state.decode(self._call(method, "/guard", body, **limits).body)
        except NOT_JSON as error:
            raise OfficeError(f"{method} /guard was answered by {self.url} with no guard: {error}") from None

    def _refused(self, method: str, path: str, answer: HttpAnswer) -> CallRefused:
        try:
            problem = _problem.decode(answer.body)
        except NOT_JSON:
            problem = _Problem()
        what = printable((problem.detail or problem.title or answer.reason)[:_SHOWN]).rstrip(".")
        if answer.status in {401, 403}:
            wanted = "this admin token is not its own" if self.token else "it wants its admin token"
            what = (
                f"{wanted}; nothing was changed. The service keeps the token in the file {TOKEN_FILE} of its data "
                f"directory: name that directory with --data, or pass the token with --admin-token or {TOKEN_VARIABLE}"
            )
        elif 300 <= answer.status < 400:
            what = "it sends the caller elsewhere, and no redirection is followed; name the right address"
        code = printable((problem.code or "no code")[:_SHOWN])
        message = f"{method} {path} was refused by {self.url}: {what} ({answer.status}, {code})."
        return CallRefused(message, answer.status, problem.code)

    def _nobody_there(self, method: str, path: str, error: NoAnswer) -> str:
        if method == "GET" or not error.sent:
            written = "nothing was written"
        else:
            written = "it is not known whether anything was written"
        return (
            f"{method} {path}: nobody answers at {self.url} ({error}); {written}. Is the office open there? "
            "`lastseat serve` or `gunicorn service:app` opens one on http://127.0.0.1:8000."
        )


class Offices:
    """The nodes of one service, one or more. Every one must have the event, also where the nodes share no store."""

    has_audit = True
    ANSWERS_WITHIN_S = 15.0
    """How long several nodes are asked: one or an engine may be restarting."""
    ANSWERS_ALONE_WITHIN_S = 5.0
    """How long a single node is asked at which nobody answers: what keeps it from accepting may pass."""

    def __init__(self, nodes: Sequence[Office]) -> None:
        self.nodes = list(nodes)

    @property
    def url(self) -> str:
        return self.nodes[0].url

    def create_event(self, event: str, capacity: int, opens_at: float | None = None, hall: Any = None) -> None:
        self.nodes[0].create_event(event, capacity, opens_at, hall)
        for node in self.nodes[1:]:
            try:
                node.create_event(event, capacity, opens_at, hall)
            except CallRefused as refused:
                if refused.code != "event_exists":
                    raise

    def hall(self, event: str) -> Any:
        """As ``Office.hall``, of the first node: a hall is the same at every node."""
        return self.nodes[0].hall(event)

    def audit(self, event: str) -> bytes:
        """The event's audit, of the first node that answers."""
        began = time.monotonic()
        while True:
            for node in self.nodes:
                try:
                    return node.audit(event)
                except OfficeError as error:
                    if isinstance(error, CallRefused) and error.status < _SERVER_ERROR:
                        raise
                    failed = error
            alone = isinstance(failed, Unreachable) and len(self.nodes) == 1
            if time.monotonic() > began + (self.ANSWERS_ALONE_WITHIN_S if alone else self.ANSWERS_WITHIN_S):
                raise failed
            time.sleep(_POLL_S)
