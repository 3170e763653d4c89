"""The table of all problems: the code, the HTTP status, whether it is definite, and the title.

*Definite* means: nothing was or will be written for this request, so it can be repeated freely.
*Indefinite* means: it may have been written; repeat it with the same ``Idempotency-Key``, which commits at most once.
"""

from __future__ import annotations

from typing import NamedTuple


class ProblemKind(NamedTuple):
    status: int
    definite: bool
    title: str


TABLE: dict[str, ProblemKind] = {
    # refused by the rules
    "sold_out": ProblemKind(409, True, "Not enough tickets are left"),
    "seat_taken": ProblemKind(409, True, "Somebody else has some of these seats"),
    "section_sold_out": ProblemKind(409, True, "Not enough seats are left in this section"),
    "not_together": ProblemKind(409, True, "There are seats, but not as many side by side"),
    "doors_closed": ProblemKind(409, True, "The sale is not open"),
    "buyer_limit": ProblemKind(409, True, "This buyer has as many tickets as one buyer may have"),
    "too_many_held": ProblemKind(
        409, True, "Too many tickets are set aside already; buy without a hold, or try again a little later"
    ),
    "hold_too_long": ProblemKind(422, True, "A hold of this event may not last that long"),
    "buyer_needed": ProblemKind(422, True, "This event is sold to buyers who give a name"),
    "over_limit": ProblemKind(422, True, "More tickets than one order may have"),
    "row_too_short": ProblemKind(422, True, "No row there has as many seats"),
    "unknown_seat": ProblemKind(422, True, "There are no such seats in this hall"),
    "hall_fixed": ProblemKind(422, True, "The hall of an event has as many seats as it was made with"),
    "too_many_sold": ProblemKind(409, True, "More tickets are sold or held than that"),
    "no_hall": ProblemKind(422, True, "This event has no hall: it sells numbers"),
    "not_open": ProblemKind(409, True, "This order or hold is not open any more"),
    "hold_expired": ProblemKind(409, True, "The hold has ended, and its places are gone"),
    "half_cart": ProblemKind(500, True, "Only some of the cart's events have this cart; nothing was written now"),
    "unknown_order": ProblemKind(404, True, "There is no such order"),
    "unknown_hold": ProblemKind(404, True, "There is no such hold"),
    "key_reused": ProblemKind(422, True, "This Idempotency-Key was used for another request"),
    # an error in the request
    "not_json": ProblemKind(400, True, "The body is not JSON"),
    "invalid_value": ProblemKind(422, True, "A value in the request is not allowed"),
    "wrong_content_type": ProblemKind(415, True, "The body must be application/json"),
    "too_large": ProblemKind(413, True, "The body is over 64 KiB"),
    "bad_request": ProblemKind(400, True, "The request cannot be understood"),
    "too_many_requests": ProblemKind(429, True, "This client sends too many requests; nothing was written"),
    "wrong_host": ProblemKind(421, True, "This service does not answer to that Host"),
    "cross_site": ProblemKind(403, True, "Another site may not change anything here"),
    "unauthorized": ProblemKind(401, True, "This call needs the admin token"),
    "forbidden": ProblemKind(403, True, "The admin token is wrong"),
    "payment_needed": ProblemKind(402, True, "These tickets are sold only to buyers who set them aside and pay"),
    "wrong_signature": ProblemKind(403, True, "The payment provider's signature is missing, wrong or too old"),
    "unknown_event": ProblemKind(404, True, "There is no such event"),
    "event_exists": ProblemKind(409, True, "There is an event of this name already"),
    "event_sold": ProblemKind(409, True, "Tickets of this event are sold or held; nothing was removed"),
    "not_found": ProblemKind(404, True, "There is nothing at this address"),
    "method_not_allowed": ProblemKind(405, True, "This address does not answer to that method"),
    "unknown_guard": ProblemKind(422, True, "There is no such guard"),
    "guard_unfit": ProblemKind(422, True, "This guard does not fit the store or the processes"),
    "not_supported": ProblemKind(501, True, "The store of this office does not support this; nothing was written"),
    # a failure of the machine or of the store
    "lock_timeout": ProblemKind(503, True, "The guard was not free in time; nothing was written"),
    "lease_lost": ProblemKind(
        503, True, "The lease ended before the write, and another holder has it; nothing was written"
    ),
    "overloaded": ProblemKind(503, True, "Too many requests are waiting already; nothing was written"),
    "contention": ProblemKind(503, True, "Other purchases wrote first at every attempt; nothing was written"),
    "scheduler_gone": ProblemKind(503, True, "The scheduler of an experiment is gone; nothing was written"),
    "stopping": ProblemKind(503, True, "This process is being stopped"),
    "switching": ProblemKind(503, True, "The guard is being switched; nothing was written"),
    "switch_timeout": ProblemKind(503, True, "Running purchases did not end in time; the guard is unchanged"),
    "storage_full": ProblemKind(507, True, "No space is left for the data; nothing was written"),
    "storage_refused": ProblemKind(503, True, "The data could not be written; nothing was changed"),
    "engine_unreachable": ProblemKind(503, True, "The store's engine cannot be reached; nothing was written"),
    "engine_refused": ProblemKind(503, True, "The store's engine refused; nothing was written"),
    "pool_exhausted": ProblemKind(
        503, True, "No connection to the store's engine was free in time; nothing was written"
    ),
    "engine_went_back": ProblemKind(500, True, "The engine shows less than was committed before; nothing was written"),
    "corrupt_document": ProblemKind(500, True, "The event's document is damaged; nothing was written"),
    "store_closed": ProblemKind(503, True, "The store is closed after a failed write to the disk"),
    "not_durable": ProblemKind(500, False, "It was written but may not survive a power cut; the store is closed now"),
    "outcome_unknown": ProblemKind(504, False, "The outcome did not come in time; it may have been written"),
    "internal": ProblemKind(500, False, "The service failed; it may have been written"),
}


class Problem(Exception):
    """A problem of ``TABLE``. ``detail`` explains this case; ``extra`` is added to the answer."""

    def __init__(self, code: str, detail: str = "", *, retry_after_s: int | None = None, **extra: object) -> None:
        self.code = code
        self.kind = TABLE[code]
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.extra = extra
        super().__init__(f"{code}: {detail or self.kind.title}")

    @property
    def sentences(self) -> str:
        """The title and the detail, for people."""
        return f"{self.kind.title}. {self.detail}".strip()

    def shown(self) -> dict[str, object]:
        """What every answer with this problem says; see ``http.schemas.ProblemShown``."""
        kind = self.kind
        return {
            "type": f"about:blank#{self.code}",
            "title": kind.title,
            "status": kind.status,
            "code": self.code,
            "definite": kind.definite,
        }


class RefusedToStart(SystemExit):
    """With these settings, or on this server, the service would not be right; the message says what to change.

    It is a ``SystemExit`` with gunicorn's own status for "this application cannot be loaded" (4), so that the master
    stops at once, instead of starting workers for ever, and without a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(4)
        self.message = message

    def __str__(self) -> str:
        return self.message
