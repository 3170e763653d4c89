"""Which requests a page of the lab refuses: those that a browser makes for a page of another site.

It is the office's own rule, once more, for the lab imports nothing of the service: ``Host`` has to be a name of this
page, else another site could let its own name point here (an address of numbers cannot be such a name); and what
changes something has to come from the page itself, as the browser says. Programs say nothing of that and may.
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
"""No page of another site shows one of the lab's in a frame, or takes its answers for a script or a picture."""

WRONG_HOST, OTHER_SITE = 421, 403
_CHANGE_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})


def refusal(
    method: str, host: str | None, site: str | None, origin: str | None, names: Collection[str] = ()
) -> tuple[int, str] | None:
    """The status and the words with which a request is refused, or None; ``names`` the page answers to beside
    ``localhost`` and addresses. Of headers it is given Host, Sec-Fetch-Site and Origin, None where there is none.
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
