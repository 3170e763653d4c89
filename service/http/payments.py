"""The interface to a payment provider: the address of its page for a hold, and its call-back that a hold was paid.

The office moves no money, and knows no provider. It sends the buyer to ``LASTSEAT_PAY_URL``, and is told what became of
it at ``/events/<event>/holds/<hold>/paid``. Both messages are signed (HMAC-SHA256) with a secret that the two share.
What stands before the first full stop keeps one kind of message from being taken for the other.

A payment is a confirmation of the hold, or its release, under a key made of the hold and the payment: told twice, it is
decided once. The hold's id in the key keeps others from using it up before: they do not know it.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, current_app, g, request

from service.errors import Problem
from service.http import schemas
from service.http.answers import decoded, event_id, fingerprint, json_body, office, order_answer
from service.http.described import described
from service.http.holds import released_answer
from service.rules.records import Held

blueprint = Blueprint("payments", __name__)

SIGNED_FOR_S = 300
"""How old a call-back may be. Else one that came when the places were gone, and whose money was given back, could be
sent again later and buy what somebody has given back."""
_TO_GIVE_BACK = frozenset({404, 409})
"""The statuses of what is final: the other refusals end when the provider tells it again."""


@dataclass(frozen=True, slots=True)
class Provider:
    """The payment provider of this office."""

    url: str
    secret: str = field(repr=False)

    def page(self, event: str, held: Held) -> str:
        """The address of the provider's page for a hold. ``return`` is the path to come back to: under which scheme and
        name the office is reached the provider has to know anyway, and the office behind a proxy does not."""
        named = {"event": event, "hold": held.hold}
        until = held.expires_at.isoformat()
        back = f"/?{urlencode(named | {'returned': ''})}"
        asked = urlencode(named | {"quantity": held.quantity, "until": until, "return": back})
        return f"{self.url}?{asked}&signature={self._sign(f'pay.{asked}'.encode())}"

    def check(self, sent: str, event: str, hold: str, content: bytes) -> None:
        """Errors: ``wrong_signature``. Compared in constant time."""
        instant, _, signature = sent.partition(".")
        wanted = self._sign(f"{instant}.{event}.{hold}.".encode() + content)
        if not hmac.compare_digest(signature.encode(), wanted.encode()):
            raise Problem(
                "wrong_signature",
                "The header is Last-Seat-Signature: <seconds>.<HMAC-SHA256 in hex of <seconds>.<event>.<hold>.<body>>.",
            )
        if not instant.isdecimal() or abs(time.time() - int(instant)) > SIGNED_FOR_S:
            raise Problem("wrong_signature", f"It is {SIGNED_FOR_S} s from now or more: sign each attempt by itself.")

    def _sign(self, message: bytes) -> str:
        return hmac.new(self.secret.encode(), message, hashlib.sha256).hexdigest()


class Payment(msgspec.Struct, forbid_unknown_fields=True):
    """What became of a payment."""

    payment: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]{1,100}\Z")]
    """The provider's own name of it: the same each time it is told."""
    status: Literal["paid", "refused"]
    """``refused`` is the last word: the tickets are for sale again."""


def provider() -> Provider | None:
    """The payment provider of this application; None where tickets are not paid through one."""
    found: Provider | None = current_app.extensions["payments"]
    return found


def order_of(hold: str) -> str:
    """The id of the order that a paid hold becomes. A hold becomes one at most, and who knows the hold may see it."""
    return f"o{hashlib.blake2b(hold.encode(), digest_size=8).hexdigest()}"


@blueprint.post("/events/<event>/holds/<hold>/paid")
@described(
    "Tell what became of the payment of a hold",
    tag="holds",
    body=Payment,
    answers={200: schemas.Released, 201: schemas.Sold},
    problems=("unknown_event", "unknown_hold", "not_open", "hold_expired", "buyer_limit"),
    signed=True,
    details="For the payment provider. `paid` confirms the hold, also one that has expired if its places are there; "
    "`refused` releases it. Told again, it has the same answer. A refusal with `give_back` is final: the payment buys "
    "nothing, and its money has to be given back. After any other refusal of 429 or 5xx, and after no answer, tell it "
    "again with the same `payment`. 404 `not_found` where the office has no provider.",
)
def paid(event: str, hold: str) -> Response:
    known = provider()
    if known is None:
        raise Problem("not_found", "This office has no payment provider: LASTSEAT_PAY_URL is not set.")
    sent, content = request.headers.get("Last-Seat-Signature", ""), json_body()
    g.secrets = [sent, known.secret]
    known.check(sent, event, hold, content)
    told = decoded(content, Payment)
    key = f"{told.status}:{hold}:{told.payment}"
    g.secrets += [key, told.payment]
    try:
        with office().request_scope(event_id(event)):
            if told.status == "refused":
                return released_answer(office().release(event, hold, key=key, request=fingerprint(told)))
            done = office().confirm(event, hold, key=key, request=fingerprint(told), order=order_of(hold))
            return order_answer(event, done)
    except Problem as problem:
        if told.status == "paid" and problem.kind.status in _TO_GIVE_BACK:
            problem.extra["give_back"] = True
        raise
