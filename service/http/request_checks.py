"""What every request passes: who may ask (Host, other sites), its name, what every answer carries and leaves behind.

The browser of somebody who can reach this service is the way in that no password closes: a page of another site makes
it send what that page likes. Two checks are against that. *Rebinding*: the other site lets its own name point to this
service; the browser then takes both for one site, but says that name as ``Host``, which is refused here. An address of
numbers cannot be such a name. *Cross-site requests*: a form of another site posts here; the browser says so
(``Sec-Fetch-Site``, ``Origin``), and nothing is changed. Programs send neither header and are not browsers.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, g, request

from service.errors import Problem
from service.runtime.logs import REQUESTS, log_request
from service.runtime.metrics import Unmeasured
from service.sales.box_office import BoxOffice, Times
from service.settings import EVENT_ID

REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
_CHANGE_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST_REMEMBERED = 100
_NO_TIMES = Times()


class Hosts:
    """The names that this service answers to."""

    def __init__(self, names: Iterable[str]) -> None:
        """``names``: exact ones, ``.example.org`` with everything below it, or ``*`` for any at all."""
        self._names = {name.lower() for name in names} | {"localhost"}
        self._fine = {""}  # HTTP/1.0 may leave it out; no browser does

    def refuse_wrong(self, host: str) -> None:
        """Errors: ``wrong_host``."""
        if host in self._fine:
            return
        if not self._answers_to(_name_of(host)):
            raise Problem("wrong_host", "LASTSEAT_HOSTS lists the names that it answers to, separated by commas.")
        if len(self._fine) < _MOST_REMEMBERED:
            self._fine.add(host)

    def _answers_to(self, name: str) -> bool:
        if "*" in self._names or name in self._names or name.endswith(".localhost") or _is_address(name):
            return True
        return any(each.startswith(".") and (name.endswith(each) or name == each[1:]) for each in self._names)


def _name_of(host: str) -> str:
    """The name without its port, in lower case."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
    return name.lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def refuse_other_sites(environ: Mapping[str, str]) -> None:
    """Errors: ``cross_site``. What the browser says about itself cannot be set by a page."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise Problem("cross_site", "This was sent by a page of another site.")
        return
    # Browsers leave Sec-Fetch-Site out where the connection is neither encrypted nor to this machine.
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and _host_of(origin) != environ.get("HTTP_HOST", "").lower():
        raise Problem("cross_site", "This was sent by a page of another site.")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # not an address at all
        return ""


def watch(app: Flask, office: BoxOffice, hosts: Hosts, metrics: Unmeasured) -> None:
    """Let every request of ``app`` pass here, before and after all else."""

    @app.before_request
    def arrive() -> None:
        environ = request.environ
        here: Any = g._get_current_object()  # once: finding it costs more than using it
        here.arrived = time.perf_counter()
        sent = environ.get("HTTP_X_REQUEST_ID")
        here.request_id = sent if sent and REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
        hosts.refuse_wrong(environ.get("HTTP_HOST", ""))
        if environ["REQUEST_METHOD"] not in _CHANGE_NOTHING:
            refuse_other_sites(environ)

    @app.after_request
    def sign(answer: Response) -> Response:
        here: Any = g._get_current_object()
        times: Times = getattr(here, "times", None) or _NO_TIMES
        epoch = office.control.epoch if times.epoch is None else times.epoch
        kind = answer.mimetype or ""
        is_page = kind == "text/html"
        # Added and not set: no route has these, and to look for them costs more than the rest.
        add = answer.headers.add
        add(
            "Server-Timing",
            f"wait;dur={times.wait_ms:.3f}, hold;dur={times.hold_ms:.3f}, store;dur={times.store_ms:.3f}",
        )
        add("Last-Seat-Worker", str(os.getpid()))
        add("Last-Seat-Epoch", str(epoch))
        add("X-Request-Id", getattr(here, "request_id", ""))
        add("X-Content-Type-Options", "nosniff")
        if not kind.endswith("json"):  # which nothing shows as a page, as long as nothing sniffs
            add("Content-Security-Policy", PAGE_POLICY if is_page else DATA_POLICY)
            add("Cross-Origin-Resource-Policy", "same-origin")
        if is_page:
            # Not "no-referrer": under that, browsers say "null" for the origin of this page's own forms.
            add("Referrer-Policy", "same-origin")
            add("X-Frame-Options", "DENY")
            add("Cross-Origin-Opener-Policy", "same-origin")
        if "Cache-Control" not in answer.headers:
            add("Cache-Control", "no-store")
        outcome = getattr(here, "outcome", None) or "ok"
        metrics.answered(request.endpoint or "none", outcome)
        if REQUESTS.isEnabledFor(logging.INFO):
            _log(answer, outcome, times, epoch)
        return answer


def _log(answer: Response, outcome: str, times: Times, epoch: int) -> None:
    """The route and not the address: an address may have the id of an order in it."""
    event = (request.view_args or {}).get("event", "")
    log_request(
        request_id=g.get("request_id"),
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        event=event if EVENT_ID.fullmatch(event) else None,
        status=answer.status_code,
        outcome=outcome,
        ms=round((time.perf_counter() - g.get("arrived", time.perf_counter())) * 1e3, 3),
        wait_ms=round(times.wait_ms, 3),
        hold_ms=round(times.hold_ms, 3),
        store_ms=round(times.store_ms, 3),
        epoch=epoch,
        worker=os.getpid(),
    )
