"""The checks of every request (``Host``, other sites, its id), and the headers, count and log line of every answer.

No password protects against the browser of somebody who can reach this service: a page of another site can make it send
any request. Two checks prevent that. *Rebinding*: the other site lets its own name point to this service; the browser
then takes both for one site, but sends that name as ``Host``, which is refused here. A numeric address cannot be such a
name. *Cross-site requests*: a form of another site posts here; the browser says so (``Sec-Fetch-Site``, ``Origin``),
and nothing is changed. Programs that are not browsers send neither header.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import random
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from flask import Flask, Response, g, request

from service.errors import Problem
from service.runtime.logs import REQUESTS, log_request
from service.runtime.metrics import Unmeasured
from service.sales.box_office import BoxOffice
from service.sales.command_handler import AnswerTimes
from service.settings import EVENT_ID

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
_PAGE_HEADERS = [
    # Not "no-referrer": under that, browsers say "null" for the origin of this page's own forms.
    ("Referrer-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Those that change nothing."""
_MAX_REMEMBERED = 100
_NO_TIMES = AnswerTimes()


class Hosts:
    """The names that this service answers to."""

    def __init__(self, names: Iterable[str]) -> None:
        """``names``: exact ones, ``.example.org`` for it and all its subdomains, or ``*`` for any."""
        self._names = {name.lower() for name in names} | {"localhost"}
        self._accepted = {""}  # HTTP/1.0 may leave the header out; no browser does

    def refuse_wrong(self, host: str) -> None:
        """Errors: ``wrong_host``."""
        if host in self._accepted:
            return
        if not self._answers_to(_name_of(host)):
            raise Problem("wrong_host", "LASTSEAT_HOSTS lists the names that it answers to, separated by commas.")
        if len(self._accepted) < _MAX_REMEMBERED:
            self._accepted.add(host)

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
    """Errors: ``cross_site``. A page cannot set these headers of its browser."""
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        # Browsers leave Sec-Fetch-Site out where the connection is neither encrypted nor to this machine.
        is_ours = origin is None or origin.partition("://")[2].lower() == environ.get("HTTP_HOST", "").lower()
    if not is_ours:
        raise Problem("cross_site", "This was sent by a page of another site.")


def watch(app: Flask, office: BoxOffice, hosts: Hosts, metrics: Unmeasured) -> None:
    """Check every request of ``app`` before all else; add the common headers to every answer, count it and log it."""

    @app.before_request
    def check() -> None:
        environ = request.environ
        here: Any = g._get_current_object()  # once: finding it costs more than using it
        here.arrived = time.perf_counter()
        here.request_id = request_id(environ)
        hosts.refuse_wrong(environ.get("HTTP_HOST", ""))
        if environ["REQUEST_METHOD"] not in SAFE_METHODS:
            refuse_other_sites(environ)

    @app.after_request
    def complete(answer: Response) -> Response:
        here: Any = g._get_current_object()
        times: AnswerTimes = getattr(here, "times", None) or _NO_TIMES
        epoch = office.control.epoch if times.epoch is None else times.epoch
        headers = common_headers(times, epoch, getattr(here, "request_id", ""))
        own = dict(answer.headers.to_wsgi_list())
        kind = own.get("Content-Type", "").partition(";")[0]
        is_page = kind == "text/html"
        if not kind.endswith("json"):  # no browser shows JSON as a page, as long as it does not sniff
            policy = PAGE_POLICY if is_page else DATA_POLICY
            headers += [("Content-Security-Policy", policy), ("Cross-Origin-Resource-Policy", "same-origin")]
        if is_page:
            headers += _PAGE_HEADERS
        if "Cache-Control" not in own:
            headers.append(("Cache-Control", "no-store"))
        answer.common = (*answer.common, *headers)  # type: ignore[attr-defined]
        outcome = getattr(here, "outcome", None) or "ok"
        metrics.answered(request.endpoint or "none", outcome)
        if REQUESTS.isEnabledFor(logging.INFO):
            _log(answer, outcome, times, epoch)
        return answer


def request_id(environ: Mapping[str, str]) -> str:
    """The id that the client gave its request, or a new one. It is no secret, so it need not be hard to guess."""
    sent = environ.get("HTTP_X_REQUEST_ID")
    return sent if sent and _REQUEST_ID.fullmatch(sent) else f"{random.getrandbits(64):016x}"


def common_headers(times: AnswerTimes, epoch: int, of_request: str) -> list[tuple[str, str]]:
    """The headers of every answer. Each is sent as it is here, so none may have a line break in it."""
    return [
        (
            "Server-Timing",
            f"wait;dur={times.wait_ms:.3f}, hold;dur={times.hold_ms:.3f}, store;dur={times.store_ms:.3f}",
        ),
        ("Last-Seat-Worker", str(os.getpid())),
        ("Last-Seat-Epoch", str(epoch)),
        ("X-Request-Id", of_request),
        ("X-Content-Type-Options", "nosniff"),
    ]


def _log(answer: Response, outcome: str, times: AnswerTimes, epoch: int) -> None:
    """Log the route and not the address: an address may have the id of an order in it."""
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
