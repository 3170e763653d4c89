"""What routes have in common: reading a body, a key and a token; writing a record and a problem."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from flask import Request, Response, current_app, g, request

from service.errors import Problem
from service.http.schemas import EventShown, Sold
from service.rules.inventory import Record, View
from service.sales.box_office import BoxOffice, Done
from service.sales.carts import CartDone
from service.sales.command_handler import AnswerTimes
from service.settings import EVENT_ID

T = TypeVar("T")
MAX_KEY_LENGTH = 200
MAX_BODY_BYTES = 64 * 1024
_MOST_UNREAD = 16 * MAX_BODY_BYTES


class Answer(Response):
    """A response that leaves out what werkzeug does a second time for each header: it would copy and check them all."""

    whole: bytes | None = None
    """The whole body, where it is known beforehand."""
    common: Sequence[tuple[str, str]] = ()
    """Headers that are appended unchecked when the answer is sent: their values were checked or made here."""

    def get_wsgi_response(self, environ: dict[str, Any]) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        whole = self.whole
        if whole is None or environ["REQUEST_METHOD"] == "HEAD" or self.status_code == 304:
            iterable, status, headers = super().get_wsgi_response(environ)
        else:
            iterable, status, headers = [whole], self.status, self.headers.to_wsgi_list()
            headers.append(("Content-Length", str(len(whole))))
        headers += self.common
        return iterable, status, headers


def office() -> BoxOffice:
    """The box office of this application."""
    found: BoxOffice = current_app.extensions["office"]
    return found


def current_request() -> Request:
    """The request itself: Flask's ``request`` finds it again at each use, which costs more than the use."""
    found: Request = request._get_current_object()  # type: ignore[attr-defined]
    return found


def encoded_answer(encoded: bytes, status: int = 200, *, media_type: str = "application/json") -> Answer:
    answer = Answer([encoded], status, content_type=media_type)
    answer.whole = encoded
    return answer


def encode(content: object) -> bytes:
    """JSON and a line break."""
    return msgspec.json.encode(content) + b"\n"


def json_answer(content: object, status: int = 200) -> Answer:
    return encoded_answer(encode(content), status)


def tagged_answer(encoded: bytes) -> Response:
    """An answer that may be read again: with an ``ETag``, and 304 without a body where the client has it already.

    The tag is made of the content, so it is right whatever the content depends on (version, epoch, guard, the event).
    """
    answer = encoded_answer(encoded)
    answer.headers["Cache-Control"] = "no-cache"  # it may be kept, if the client asks for it again each time
    answer.set_etag(hashlib.blake2b(encoded, digest_size=12).hexdigest())
    if "If-None-Match" in request.headers:
        answer.make_conditional(request)
    return answer


def query(wanted: type[T]) -> T:
    """The validated query; names that it does not know are ignored. Errors: ``invalid_value``."""
    given = {}
    for name in wanted.__struct_fields__:  # type: ignore[attr-defined]
        values = request.args.getlist(name)
        if len(values) > 1:
            raise Problem("invalid_value", f"{name} stands in the address {len(values)} times.")
        if values:
            given[name] = values[0]
    return converted(given, wanted, strict=False)


def converted(given: object, wanted: type[T], *, strict: bool = True) -> T:
    """Errors: ``invalid_value``."""
    try:
        return msgspec.convert(given, wanted, strict=strict)
    except msgspec.ValidationError as error:
        raise Problem("invalid_value", f"{error}.") from None


def problem_answer(problem: Problem) -> Response:
    """The problem in the form of RFC 9457, with the contract's ``code`` and ``definite``."""
    g.outcome = problem.code
    extra = dict(problem.extra)
    times = extra.pop("times", None)
    if isinstance(times, AnswerTimes):
        g.times = times
    content = problem.shown() | ({"detail": problem.detail} if problem.detail else {}) | extra
    answer = encoded_answer(encode(content), problem.kind.status, media_type="application/problem+json")
    if problem.retry_after_s is not None:
        answer.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.code == "unauthorized":
        answer.headers["WWW-Authenticate"] = 'Bearer realm="lastseat admin"'
    return answer


def body(wanted: type[T]) -> T:
    """The validated body. Errors: those of ``json_body`` and of ``decoded``."""
    return decoded(json_body(), wanted)


def json_body() -> bytes:
    """The body as it was sent, as JSON. Errors: ``wrong_content_type``, ``too_large``, ``bad_request``."""
    asked = current_request()
    if asked.environ.get("CONTENT_TYPE") != "application/json" and asked.mimetype != "application/json":
        raise Problem("wrong_content_type", "Send the header Content-Type: application/json.")
    if asked.environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        raise Problem("wrong_content_type", "Send the body as it is, without a Content-Encoding.")
    return whole_body(asked)


def decoded(content: bytes, wanted: type[T]) -> T:
    """Errors: ``not_json``, ``invalid_value``."""
    try:
        return msgspec.json.decode(content, type=wanted)
    except msgspec.ValidationError as error:
        raise Problem("invalid_value", f"{error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem("not_json", f"{error}.") from None
    except RecursionError:
        raise Problem("not_json", "It is nested too deeply.") from None


def whole_body(asked: Request) -> bytes:
    """All of the body: what breaks off may be whole JSON by chance, and is not what the client wanted to send.

    Read from the server itself: Flask's own reading takes what there is. Errors: ``too_large``, ``bad_request``.
    """
    environ = asked.environ
    length = asked.content_length
    # Without a length (a chunked body) it ends where the server says so, if the server can tell.
    most = length if length is not None else MAX_BODY_BYTES + 1 if environ.get("wsgi.input_terminated") else 0
    if most <= MAX_BODY_BYTES or length is None:
        try:
            content: bytes = environ["wsgi.input"].read(most)
        except Exception as error:  # each server has errors of its own for broken chunks
            raise Problem("bad_request", f"The body cannot be read ({error}).") from None
        if length is not None and len(content) != length:
            raise Problem("bad_request", "The body broke off before its Content-Length.")
        if len(content) <= MAX_BODY_BYTES:
            return content
    _read_on(environ)
    raise Problem("too_large")


def _read_on(environ: dict[str, Any]) -> None:
    """Read the rest, up to a bound: the answer is lost on a connection that is closed with something unread in it."""
    with contextlib.suppress(Exception):  # whatever is wrong with the rest, the request is refused
        for _ in range(_MOST_UNREAD // MAX_BODY_BYTES):
            if not environ["wsgi.input"].read(MAX_BODY_BYTES):
                break


def event_id(name: str) -> str:
    """An id out of an address. Errors: ``unknown_event``, also for an id that no event can have."""
    if not EVENT_ID.fullmatch(name):
        raise Problem("unknown_event", "An event's id has lower-case letters, digits, - and _, 64 at most.")
    return name


def operation_key() -> str:
    """The client's ``Idempotency-Key``; a new one where the client sent none. Errors: ``invalid_value``."""
    sent = request.environ.get("HTTP_IDEMPOTENCY_KEY")
    return f"s{secrets.token_hex(12)}" if sent is None else checked_key(sent)


def checked_key(sent: str) -> str:
    """A key as it will be used, without the quotes of the IETF draft around it. Errors: ``invalid_value``."""
    key = sent.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    # An empty key is refused too: the client that sends it believes that a repetition is safe.
    if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isprintable() or not key.isascii():
        raise Problem("invalid_value", f"Idempotency-Key takes 1 to {MAX_KEY_LENGTH} printable ASCII characters.")
    return key


def fingerprint(content: object = None) -> str:
    """What makes two requests the same: method, path and validated body."""
    asked = current_request()
    whole = msgspec.json.encode([asked.method, asked.path, content])
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


def refuse_unpaid(*events: str) -> None:
    """In an office with a payment provider, sell events that are not the lab's to the admin alone, and else by payment.

    Errors: ``payment_needed``, ``unauthorized``, ``forbidden``, ``unknown_event``.
    """
    if current_app.extensions["payments"] is None or all(office().about(event).lab for event in events):
        return
    if "Authorization" not in request.headers:
        raise Problem("payment_needed", "Set tickets aside; the page of this office leads to the payment.")
    require_admin()


def is_admin_token(token: str) -> bool:
    return hmac.compare_digest(token.strip().encode(), current_app.extensions["admin_token"].encode())


def event_shown(view: View) -> EventShown:
    """An event with its counters, as the contract shows it."""
    mode = office().control.mode()
    about = msgspec.structs.asdict(view.event)
    del about["born"]
    return EventShown(
        **about | {"hall": view.event.hall or None},
        sold=view.sold,
        held=view.held,
        remaining=view.remaining,
        version=view.version,
        guard=office().transactions.acting_guard(view.event, mode),
        epoch=mode.epoch,
    )


def sold(event: str, record: Record) -> Sold:
    """An order as it is shown to its buyer."""
    return Sold(
        order=record.order,
        event=event,
        quantity=record.quantity,
        tickets=record.tickets,
        remaining=record.remaining,
        version=record.version,
        seats=record.seats or msgspec.UNSET,
    )


def mutation_answer(done: Done | CartDone, content: object, status: int) -> Answer:
    """The answer to a mutation. A replayed one is marked, for its buyer and for the metrics."""
    g.times = done.times
    answer = json_answer(content, status)
    if done.replayed:
        g.outcome = "replayed"
        answer.headers["Idempotency-Replayed"] = "true"
    return answer


def order_answer(event: str, done: Done) -> Answer:
    """The answer to a purchase, or to a confirmation, which is one."""
    answer = mutation_answer(done, sold(event, done.record), 201)
    answer.common = [("Location", f"/events/{event}/orders/{done.record.order}")]
    return answer
