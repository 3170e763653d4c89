"""The page of ``lastseat explore --serve``, on loopback only. Each browser has a game of its own, by its cookie."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping
from typing import Annotated, Any

import click
import msgspec
from flask import Flask, Response, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from loadtests.lab.explore.game.levels import Level
from loadtests.lab.explore.game.page import live_page
from loadtests.lab.explore.game.session import Session, Sessions
from loadtests.lab.explore.schedules import Token
from loadtests.lab.explore.settling import Stuck
from loadtests.lab.protocol.admin_api import OfficeError
from loadtests.lab.protocol.same_site import OF_EVERY_ANSWER, refusal
from loadtests.lab.servers.office import NotReady
from loadtests.lab.untrusted import NOT_JSON

_PATIENCE_S = 20.0
_MOST_BYTES = 999
_MOST_MOVES = 99
COOKIE = "lastseat-game"


class _Play(msgspec.Struct):
    level: str
    moves: Annotated[list[Token], msgspec.Meta(max_length=_MOST_MOVES)]


def serve_page(levels: Mapping[str, Level], worker: str, port: int) -> int:
    """Serve the page on loopback until Ctrl-C."""
    sessions = Sessions(levels, worker)
    with _server(sessions, live_page(levels), port) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        click.echo(f"You are the scheduler: {address}  (Ctrl-C ends it; in Chinese: {address}/?lang=zh)")
        try:
            server.serve_forever(poll_interval=0.2)  # Ctrl-C ends it without an exception
        finally:
            sessions.end()
    click.echo("ended; nothing is left running")
    return 0


class _Silent(WSGIRequestHandler):
    """A handler without a log, since the page is the output."""

    timeout = _PATIENCE_S

    def log(self, type: str, message: str, *arguments: Any) -> None:
        pass


def _server(sessions: Sessions, page: str, port: int) -> BaseWSGIServer:
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise click.ClickException(
            f"port {port} cannot be used ({error.strerror}); name another with --port, or --port 0 for any free one"
        ) from None
    with listening:
        number, app = listening.fileno(), _application(sessions, page)
        return make_server("127.0.0.1", port, app, threaded=True, request_handler=_Silent, fd=number)


def _application(sessions: Sessions, page: str) -> Flask:
    app = Flask(__name__, static_folder=None)

    @app.before_request
    def refuse() -> Response | None:
        host, site, origin = map(request.headers.get, ("Host", "Sec-Fetch-Site", "Origin"))
        refused = refusal(request.method, host, site, origin)
        return None if refused is None else _refused(*refused)

    @app.after_request
    def add_headers(answer: Response) -> Response:
        answer.headers.update({**OF_EVERY_ANSWER, "Cache-Control": "no-store"})
        return answer

    @app.errorhandler(404)
    def not_found(_error: Exception) -> Response:
        return _refused(404, "there is nothing here\n")

    @app.get("/")
    def game() -> Response:
        answer = Response(page)
        if COOKIE not in request.cookies:
            answer.set_cookie(COOKIE, secrets.token_hex(16), httponly=True, samesite="Strict")
        return answer

    @app.get("/alive")
    def alive() -> str:
        return ""

    @app.post("/play")
    def play() -> Any:
        return _played(sessions.of(request.cookies.get(COOKIE, "")))

    return app


def _played(session: Session) -> dict[str, Any] | Response:
    """The state after the moves in the request's body, or a refusal."""
    # A page of another site can make a browser post, but not with this content type.
    if request.content_type != "application/json" or not 0 < (request.content_length or 0) <= _MOST_BYTES:
        return _refused(415, "a small JSON body is expected\n")
    try:
        wanted = msgspec.json.decode(request.get_data(), type=_Play)
    except NOT_JSON:
        return _refused(400, "the body is no JSON of a level and moves\n")
    try:
        return session.play(wanted.level, wanted.moves)
    except KeyError:
        return _refused(422, "there is no such level\n")
    except (NotReady, OfficeError, Stuck) as error:
        return _refused(503, f"{error}\n")


def _refused(status: int, why: str) -> Response:
    return Response(why, status, content_type="text/plain")
