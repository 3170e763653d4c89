"""HTTP in and out; no decisions. Each module of addresses has a blueprint, and ``register`` puts all on the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException
from werkzeug.routing import MapAdapter

from service.errors import Problem
from service.http import admin, carts, events, health, holds, interface, managing, orders, page, payments, seats
from service.http.answers import MAX_BODY_BYTES, Answer, problem_answer
from service.http.middleware.request_checks import Hosts, watch
from service.runtime.metrics import Unmeasured
from service.sales.box_office import BoxOffice
from service.sales.seat_map import SeatMaps


class NoSessions(SessionInterface):
    """No request has a session, and so no answer sets a cookie."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._none


class OfficeApp(Flask):
    """Flask, with our limits and without what every request would pay for and no route here needs."""

    response_class = Answer
    session_interface = NoSessions()

    def __init__(self) -> None:
        super().__init__("service")
        # Werkzeug cuts a chunked body at its limit and does not say so: a longer one shows by this one byte.
        self.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
        self.json.sort_keys = False  # type: ignore[attr-defined]
        # /events//show is not found, instead of a redirect that a POST may not follow.
        self.url_map.merge_slashes = False

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function as it is: no route here is a coroutine, and Flask would look at each one in every request."""
        return func

    def preprocess_request(self) -> None:
        """Run the checks of the application. Flask would look for some of the blueprint too: none here has any."""
        for check in self.before_request_funcs[None]:
            check()

    def process_response(self, response: Response) -> Response:
        """Complete the answer, likewise."""
        for complete in reversed(self.after_request_funcs[None]):
            response = complete(response)
        return response

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Nothing is left to do here when an answer has been made."""

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Routes are matched by path and method. Flask would work out the name of the host again, which ``Hosts`` has
        checked: no address that this service gives out has a host in it."""
        if request is None:
            return None
        environ = request.environ
        return MapAdapter(
            self.url_map,
            server_name="localhost",
            script_name=environ.get("SCRIPT_NAME", ""),
            subdomain="",
            url_scheme=environ["wsgi.url_scheme"],
            path_info=request.path,
            default_method=request.method,
            query_args=environ.get("QUERY_STRING", ""),
        )


def register(app: Flask, office: BoxOffice, admin_token: str, hosts: Hosts, metrics: Unmeasured) -> None:
    """Put all addresses on ``app``, and what every answer carries."""
    app.extensions["office"] = office
    app.extensions["admin_token"] = admin_token
    app.extensions["metrics"] = metrics
    app.extensions["seat_maps"] = SeatMaps()
    watch(app, office, hosts, metrics)
    for module in (page, events, seats, orders, holds, payments, carts, admin, managing, health, interface):
        app.register_blueprint(module.blueprint)

    @app.errorhandler(Problem)
    def known(problem: Problem) -> Response:
        return problem_answer(problem)

    @app.errorhandler(HTTPException)
    def refused_by_flask(error: HTTPException) -> Response:
        codes = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "wrong_content_type"}
        code = codes.get(error.code or 500, "bad_request" if (error.code or 500) < 500 else "internal")
        answer = problem_answer(Problem(code))
        if error.code == 405 and getattr(error, "valid_methods", None):
            answer.headers["Allow"] = ", ".join(error.valid_methods)  # type: ignore[attr-defined]
        return answer

    @app.errorhandler(Exception)
    def unforeseen(error: Exception) -> Response:
        app.logger.exception("a request failed")
        return problem_answer(Problem("internal", "The service's log has the reason. Repeat it with the same key."))
