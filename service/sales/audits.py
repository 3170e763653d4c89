"""The audit of an event as JSON Lines, and the copy of it that is kept of an event that was removed."""

from __future__ import annotations

import hmac
import itertools
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from service.errors import Problem
from service.rules.halls import Hall
from service.rules.inventory import Event, Record, View
from service.runtime.files import make_directory, sync_names, write_durably

LINES_AT_ONCE = 1000
REMOVED = "removed"
"""The folder in the data directory with the audits of removed events."""
SECRETS = ("key", "order", "hold")
"""The fields of a record with which anybody may cancel, confirm, or be told the first answer again."""


def audit_lines(
    about: Event, records: Collection[Record], secret: str | None = None, hall: Hall | None = None
) -> Iterator[bytes]:
    """A header with the event, its capacity, its hall and the number of records; then the records, some at a time.

    With a ``secret`` the audit is for everybody: each key and id is replaced by an alias, the same wherever it stands,
    from which it cannot be worked out without the secret. The header says ``"aliases":true`` then.
    """
    header: dict[str, object] = {"event": about.event, "capacity": about.capacity, "versions": len(records)}
    if hall is not None:
        header["hall"] = hall.plan
    yield msgspec.json.encode(header | ({"aliases": True} if secret else {})) + b"\n"
    encoder, unread = msgspec.json.Encoder(), iter(records)
    while some := [record.audit_line() for record in itertools.islice(unread, LINES_AT_ONCE)]:
        if secret:
            some = [_with_aliases(line, secret.encode()) for line in some]
        yield encoder.encode_lines(some)


def _with_aliases(line: dict[str, object], secret: bytes) -> dict[str, object]:
    # A tilde stands in no id.
    return line | {
        name: f"~{hmac.digest(secret, str(line[name]).encode(), 'sha256').hex()[:16]}"
        for name in SECRETS
        if name in line
    }


def refuse_removal(view: View, even_if_sold: int | None) -> None:
    """Refuse to remove an event with tickets sold or held, unless ``even_if_sold`` is the number of tickets sold.

    Errors: ``event_sold`` (definite).
    """
    if even_if_sold == view.sold or (even_if_sold is None and not view.sold and not view.held):
        return
    name = view.event.event
    raise Problem(
        "event_sold",
        f"Tickets sold: {view.sold}, held: {view.held}. To remove the event with them, name the number sold: "
        f"DELETE /events/{name}?even_if_sold={view.sold}. Its audit is kept in {REMOVED}/ of the data directory then.",
        version=view.version,
        event=name,
        sold=view.sold,
        held=view.held,
    )


def keep_audit(data: Path, about: Event, records: Collection[Record], now: datetime, hall: Hall | None) -> Path:
    """Write the audit of an event into the data directory, durably, for this user alone. Returns its path.

    Errors: ``OSError``; nothing is left then.
    """
    path = data / REMOVED / f"{about.event}-{now:%Y%m%dT%H%M%S.%fZ}.jsonl"
    make_directory(path.parent)
    write_durably(path, b"".join(audit_lines(about, records, hall=hall)))
    sync_names(path.parent)
    return path
