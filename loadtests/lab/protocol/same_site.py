"""Refuses requests to a page of the lab that a browser makes for a page of another site.

The office has the same rule; the lab has its own because it imports nothing of the service. ``Host`` has to be a name
of this page: another site could let its own name point here, but not a numeric address. A request that changes
something has to come from the page itself, as the browser's headers say. Programs send no such headers and are allowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

OF_EVERY_ANSWER = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""No page of another site may show the lab's page in a frame, or use its answers as a script or a picture."""

WRONG_HOST, OTHER_SITE = 421, 403
_CHANGE_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})


def refusal(
    method: str, host: str | None, site: str | None, origin: str | None, names: Collection[str] = ()
) -> tuple[int, str] | None:
    """The status and the words with which a request is refused, or None where it is allowed.

    ``names`` are those of the page beside ``localhost`` and addresses. ``host``, ``site`` and ``origin`` are the
    headers Host, Sec-Fetch-Site and Origin, or None.
    """
    if host and not _is_ours(host, names):
        return WRONG_HOST, "This page does not answer to that name: use the address of numbers, or localhost.\n"
    if method in _CHANGE_NOTHING:
        return None
    # Browsers leave Sec-Fetch-Site out where the connection is neither encrypted nor to this machine.
    same = site in ("same-origin", "none") if site is not None else origin is None or _place(origin) == host
    return None if same else (OTHER_SITE, "This was sent by a page of another site; nothing was done.\n")


def _is_ours(host: str, names: Collection[str]) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in names:
        return True
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
