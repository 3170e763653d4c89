"""What routes have in common: reading a body, a key, a token; writing a record, a problem."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from typing import TypeVar

import msgspec
from flask import Response, current_app, g, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from service.errors import Problem
from service.rules.inventory import View
from service.sales.box_office import BoxOffice, Done, Times
from service.settings import EVENT_ID

T = TypeVar("T")
MAX_KEY_LENGTH = 200
MAX_BODY_BYTES = 64 * 1024
_MOST_UNREAD = 16 * MAX_BODY_BYTES


def office() -> BoxOffice:
    """The box office of this application."""
    found: BoxOffice = current_app.extensions["office"]
    return found


def json_answer(content: object, status: int = 200, *, media_type: str = "application/json") -> Response:
    return Response(msgspec.json.encode(content) + b"\n", status, content_type=media_type)


def tagged_answer(content: object) -> Response:
    """What may be read again: with an ``ETag``, and 304 without a body where the client has it already.

    The tag is made of the content, so it is right whatever the content depends on (version, epoch, guard, the event).
    """
    encoded = msgspec.json.encode(content) + b"\n"
    answer = Response(encoded, content_type="application/json")
    answer.headers["Cache-Control"] = "no-cache"  # may be kept, and is asked for again each time
    answer.set_etag(hashlib.blake2b(encoded, digest_size=12).hexdigest())
    if "If-None-Match" in request.headers:
        answer.make_conditional(request)
    return answer


def query(wanted: type[T]) -> T:
    """The validated query; what it does not name is nobody's business. Errors: ``invalid_value``."""
    given = {}
    for name in wanted.__struct_fields__:  # type: ignore[attr-defined]
        values = request.args.getlist(name)
        if len(values) > 1:
            raise Problem("invalid_value", f"{name} stands in the address {len(values)} times.")
        if values:
            given[name] = values[0]
    try:
        return msgspec.convert(given, wanted, strict=False)
    except msgspec.ValidationError as error:
        raise Problem("invalid_value", f"{error}.") from None


def problem_answer(problem: Problem) -> Response:
    """The problem as RFC 9457 has it, with the contract's ``code`` and ``definite``."""
    g.outcome = problem.code
    extra = dict(problem.extra)
    times = extra.pop("times", None)
    if isinstance(times, Times):
        g.times = times
    content = {
        "type": f"about:blank#{problem.code}",
        "title": problem.kind.title,
        "status": problem.kind.status,
        "code": problem.code,
        "definite": problem.kind.definite,
        **({"detail": problem.detail} if problem.detail else {}),
        **extra,
    }
    answer = json_answer(content, problem.kind.status, media_type="application/problem+json")
    if problem.retry_after_s is not None:
        answer.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.code == "unauthorized":
        answer.headers["WWW-Authenticate"] = 'Bearer realm="lastseat admin"'
    return answer


def body(wanted: type[T]) -> T:
    """The validated body.

    Errors: ``wrong_content_type``, ``too_large``, ``bad_request``, ``not_json``, ``invalid_value``.
    """
    if request.mimetype != "application/json":
        raise Problem("wrong_content_type", "Send the header Content-Type: application/json.")
    if request.environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise Problem("wrong_content_type", "Send the body as it is, without a Content-Encoding.")
    try:
        return msgspec.json.decode(whole_body(), type=wanted)
    except msgspec.ValidationError as error:
        raise Problem("invalid_value", f"{error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("not_json", f"{error}.") from None
    except RecursionError:
        raise Problem("not_json", "It is nested too deeply.") from None


def whole_body() -> bytes:
    """All of the body: what breaks off may be whole JSON by chance, and is not what the client wanted to send.

    A form is read from here too: Flask's own reading takes what there is. Errors: ``too_large``, ``bad_request``.
    """
    try:
        content = request.get_data()
    except RequestEntityTooLarge:
        raise _too_large() from None
    except HTTPException:
        raise
    except Exception as error:  # each server has errors of its own for chunks that are none
        raise Problem("bad_request", f"The body cannot be read ({error}).") from None
    if request.content_length is not None and len(content) != request.content_length:
        raise Problem("bad_request", "The body broke off before its Content-Length.")
    if len(content) > MAX_BODY_BYTES:  # of a chunked body no more than one byte above the limit was read
        raise _too_large()
    return content


def _too_large() -> Problem:
    """Reads on for a while: the answer is lost on a connection that is closed with something unread in it."""
    with contextlib.suppress(Exception):  # whatever is wrong with the rest, it is refused
        unread = request.environ["wsgi.input"]
        for _ in range(_MOST_UNREAD // MAX_BODY_BYTES):
            if not unread.read(MAX_BODY_BYTES):
                break
    return Problem("too_large")


def event_id(name: str) -> str:
    """An id out of an address; one that no event can have is an event that does not exist."""
    if not EVENT_ID.fullmatch(name):
        raise Problem("unknown_event", "An event's id has lower-case letters, digits, - and _, 64 at most.")
    return name


def operation_key() -> str:
    """The client's ``Idempotency-Key``, or one of our own where it sent none."""
    sent = request.headers.get("Idempotency-Key")
    return f"s{secrets.token_hex(12)}" if sent is None else checked_key(sent)


def checked_key(sent: str) -> str:
    """A key as it will be used, without the quotes that the draft has around it. Errors: ``invalid_value``."""
    key = sent.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    # An empty one is refused too: who sends it believes that a repetition is safe.
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isprintable() or not key.isascii():
        raise Problem("invalid_value", f"Idempotency-Key takes 1 to {MAX_KEY_LENGTH} printable ASCII characters.")
    return key


def fingerprint(content: object = None) -> str:
    """What makes two requests the same: method, path and validated body."""
    whole = msgspec.json.encode([request.method, request.path, content])
    return hashlib.blake2b(whole, digest_size=12).hexdigest()


def require_admin() -> None:
    """Errors: ``unauthorized`` without a token, ``forbidden`` with a wrong one. Compared in constant time."""
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise Problem(
            "unauthorized",
            "Send the header Authorization: Bearer <token>. The token is LASTSEAT_ADMIN_TOKEN, or in the file "
            "admin-token in the service's data directory.",
        )
    if not is_admin_token(token):
        raise Problem("forbidden", "The token is LASTSEAT_ADMIN_TOKEN, or in admin-token in the data directory.")


def is_admin_token(token: str) -> bool:
    return hmac.compare_digest(token.strip().encode(), current_app.extensions["admin_token"].encode())


def event_content(view: View) -> dict[str, object]:
    """An event with its counters, as the contract shows it."""
    mode = office().control.mode()
    event = view.event
    return {
        "event": event.event,
        "name": event.name,
        "capacity": event.capacity,
        "sold": view.sold,
        "held": view.held,
        "remaining": view.remaining,
        "version": view.version,
        "guard": office().acting_guard(event, mode),
        "epoch": mode.epoch,
        "lab": event.lab,
        "opens_at": event.opens_at,
        "max_per_order": event.max_per_order,
        "max_per_buyer": event.max_per_buyer,
        "max_held": event.max_held,
        "max_hold_s": event.max_hold_s,
    }


def done_answer(done: Done, content: dict[str, object], status: int) -> Response:
    """The answer to a mutation, a replayed one marked."""
    g.times = done.times
    answer = json_answer({**content, "remaining": done.record.remaining, "version": done.record.version}, status)
    if done.replayed:
        mark_replayed(answer)
    return answer


def mark_replayed(answer: Response) -> None:
    """Say that the answer is an earlier one, to its buyer and to the metrics."""
    g.outcome = "replayed"
    answer.headers["Idempotency-Replayed"] = "true"


def order_answer(event: str, done: Done) -> Response:
    """The answer to a purchase, or to a confirmation, which is one."""
    record = done.record
    content: dict[str, object] = {
        "order": record.order,
        "event": event,
        "quantity": record.quantity,
        "tickets": record.tickets,
    }
    answer = done_answer(done, content, 201)
    answer.headers["Location"] = f"/events/{event}/orders/{record.order}"
    return answer
