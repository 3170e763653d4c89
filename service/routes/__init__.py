"""HTTP in and out; no decisions. Each module registers its addresses on the application."""

from __future__ import annotations

import os

from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

from service.box_office import BoxOffice, Times
from service.errors import Problem
from service.routes import admin, events, health, orders, page
from service.routes.answers import problem_answer


def register(app: Flask, office: BoxOffice, admin_token: str) -> None:
    """Put all addresses on ``app``, and what every answer carries."""
    app.extensions["office"] = office
    app.extensions["admin_token"] = admin_token
    for module in (page, events, orders, admin, health):
        app.register_blueprint(module.blueprint)

    @app.after_request
    def sign(answer: Response) -> Response:
        times: Times = g.get("times") or Times()
        answer.headers["Server-Timing"] = (
            f"wait;dur={times.wait_ms:.3f}, hold;dur={times.hold_ms:.3f}, store;dur={times.store_ms:.3f}"
        )
        answer.headers["Last-Seat-Worker"] = str(os.getpid())
        answer.headers["Last-Seat-Epoch"] = str(office.control.epoch if times.epoch is None else times.epoch)
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

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
