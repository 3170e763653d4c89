"""A page on which a person is the scheduler: each click decides which buyer takes the next step in the real service.

A click is a decision of one execution. The execution runs in a thread and waits for the person where an exploration
would try the next schedule. The page is served on loopback only. Each browser has a game of its own, told apart by a
cookie, with a service of its own: a guard is switched for a whole service, and a purchase that a person holds at a gate
would keep everybody else's switch waiting.
"""

from __future__ import annotations

import contextlib
import queue
import re
import secrets
import socket
import threading
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec
from flask import Flask, Response, request
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from loadtests.lab.explore.drawing import draw
from loadtests.lab.explore.execution import ScheduleRunner, Stuck
from loadtests.lab.explore.exploration import Scenario, schedule_runner
from loadtests.lab.explore.page import HERE
from loadtests.lab.explore.schedules import Chooser, Token
from loadtests.lab.explore.trace import Step
from loadtests.lab.protocol.same_site import OF_EVERY_ANSWER, refusal
from loadtests.lab.report.pages import template
from loadtests.lab.untrusted import NOT_JSON

_SETTLE_S = 20.0
_MOST_BYTES = 999
MOST_GAMES = 8
COOKIE = "lastseat-game"

_TEXTS = tomllib.loads((HERE / "scheduler.toml").read_text(encoding="utf-8"))
WORDS: dict[str, dict[str, str]] = {lang: _TEXTS[lang] for lang in ("en", "zh")}
"""The words of the page, by language."""


def step_text(text: str, lang: str) -> str:
    """The sentence of a step in a language; what is not known there stays English."""
    for each in _TEXTS.get(f"{lang}_steps", ()):
        text = re.sub(each["found"], each["said"], text)
    return text


def _lang() -> str:
    asked = request.args.get("lang", "en")
    return asked if asked in WORDS else "en"


class _Move(msgspec.Struct):
    lock: str | None = None
    buyer: str | None = None


class _GivenUp(Exception):
    """The try was given up because another one begins, or the page ends."""


class Try:
    """One execution with a person as its chooser."""

    def __init__(self, runner: ScheduleRunner, guard: str, number: int) -> None:
        self.guard = guard
        self.number = number
        self.result: dict[str, Any] | None = None
        self._runner = runner
        self._decisions: queue.Queue[Token | None] = queue.Queue()
        self._changed = threading.Condition()
        self._enabled: list[Token] = []
        self._steps: list[Step] = []
        self._asked = 0
        self._thread = threading.Thread(target=self._execute, daemon=True)
        self._thread.start()

    def act(self, token: Token) -> bool:
        """Let a buyer continue; False if they cannot. Returns when the next decision is due, or the try has ended."""
        with self._changed:
            if token not in self._enabled:
                return False
            asked = self._asked
            self._enabled = []
            self._decisions.put(token)
            self._changed.wait_for(lambda: self._asked > asked or self.result is not None, _SETTLE_S)
        return True

    def wait_until_asked(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._enabled or self.result is not None, _SETTLE_S)

    def give_up(self) -> None:
        self._decisions.put(None)
        self._thread.join(_SETTLE_S)

    def state(self, lang: str) -> dict[str, Any]:
        """The state that the page shows, in one of its languages."""
        with self._changed:
            steps = [msgspec.structs.replace(step, text=step_text(step.text, lang)) for step in self._steps]
            result = self.result
            if result is not None and "sold_to" in result:
                words = WORDS[lang]
                title = words["drawing"].format(self.guard)
                result = result | {"svg": draw(steps, self._runner.buyers, title, words["drawn"])}
            return {
                "try": self.number,
                "guard": self.guard,
                "enabled": list(self._enabled),
                "steps": msgspec.to_builtins(steps),
                "result": result,
            }

    def _note_steps(self, steps: list[Step]) -> None:
        with self._changed:
            self._steps = list(steps)

    def _choose(self, enabled: Sequence[Token]) -> Token:
        with self._changed:
            self._enabled = list(enabled)
            self._asked += 1
            self._changed.notify_all()
        token = self._decisions.get()
        if token is None:
            raise _GivenUp
        return token

    def _execute(self) -> None:
        self._runner.on_decision = self._note_steps
        try:
            executed = self._runner.execute(Chooser(prefer=self._choose))
        except _GivenUp:
            result: dict[str, Any] = {"given_up": True}
        except Stuck as error:
            result = {"twice": False, "why": str(error)}
        else:
            sold = [line.key for line in executed.operations if line.outcome == "ok"]
            result = {
                "twice": len(sold) > self._runner.tickets,
                "sold_to": sold,
                "why": executed.verdict.why if executed.verdict else executed.stuck,
            }
            self._note_steps(executed.steps)
        with self._changed:
            self.result, self._enabled = result, []
            self._changed.notify_all()


class Session:
    """All tries of one person, on a service of their own with a lock that the page switches."""

    def __init__(self, case: Scenario) -> None:
        self._case = case
        self._runner: ScheduleRunner | None = None
        self._running = contextlib.ExitStack()
        self._mutex = threading.Lock()
        self.tries = {"off": 0, "on": 0}
        self.wins = 0
        self._try: Try | None = None

    def start(self) -> ScheduleRunner:
        """Start the service, if it does not run."""
        if self._runner is None:
            self._runner = self._running.enter_context(schedule_runner(self._case))
        return self._runner

    def new(self, lock: str, lang: str) -> dict[str, Any]:
        """Begin a try with the lock ``on`` or ``off``."""
        with self._mutex:
            self._give_up()
            state = self.start().office.office.switch(lock)
            self.tries[lock] += 1
            self._try = Try(self.start(), state.guard, sum(self.tries.values()))
            self._try.wait_until_asked()
            return self._state(lang)

    def step(self, buyer: str, lang: str) -> dict[str, Any]:
        with self._mutex:
            if self._try is not None and self._try.act(buyer) and (self._try.result or {}).get("twice"):
                self.wins += 1
            return self._state(lang)

    def state(self, lang: str) -> dict[str, Any]:
        with self._mutex:
            return self._state(lang)

    def end(self) -> None:
        """Give the try up, and stop the service."""
        with self._mutex:
            self._give_up()
            self._try = self._runner = None
            self._running.close()

    def _give_up(self) -> None:
        if self._try is not None:
            self._try.give_up()

    def _state(self, lang: str) -> dict[str, Any]:
        now = self._try.state(lang) if self._try is not None else {}
        return {**now, "tries": self.tries, "wins": self.wins, "tickets": self._case.tickets}


class Sessions:
    """The games of all browsers, by the cookie that tells them apart. Where there would be too many, the one ends that
    was not played for longest.

    Errors: ``NotReady`` where the service of the first game does not start.
    """

    def __init__(self, case: Scenario) -> None:
        self._case = case
        self._spare: Session | None = Session(case)
        self._spare.start()
        self._mutex = threading.Lock()
        self._games: dict[str, Session] = {}

    def of(self, player: str) -> Session:
        with self._mutex:
            game = self._games.pop(player, None)
            if game is None:
                game, self._spare = self._spare or Session(self._case), None
            self._games[player] = game
            oldest = self._games.pop(next(iter(self._games))) if len(self._games) > MOST_GAMES else None
        if oldest is not None:
            oldest.end()
        return game

    def end(self) -> None:
        with self._mutex:
            for game in [*self._games.values(), *([self._spare] if self._spare else [])]:
                game.end()
            self._games.clear()


def serve_page(case: Scenario, port: int) -> int:
    """Serve the page on loopback until Ctrl-C."""
    sessions = Sessions(case)
    with _server(sessions, port) as server:
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

    timeout = _SETTLE_S

    def log(self, type: str, message: str, *arguments: Any) -> None:
        pass


def _server(sessions: Sessions, port: int) -> BaseWSGIServer:
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise click.ClickException(
            f"port {port} cannot be used ({error.strerror}); name another with --port, or --port 0 for any free one"
        ) from None
    with listening:
        number, app = listening.fileno(), _application(sessions)
        return make_server("127.0.0.1", port, app, threaded=True, request_handler=_Silent, fd=number)


def _application(sessions: Sessions) -> Flask:
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
    def page() -> Response:
        lang = _lang()
        answer = Response(template("scheduler.html", HERE).render(lang=lang, words=WORDS[lang]))
        if COOKIE not in request.cookies:
            answer.set_cookie(COOKIE, secrets.token_hex(16), httponly=True, samesite="Strict")
        return answer

    def session() -> Session:
        return sessions.of(request.cookies.get(COOKIE, ""))

    @app.get("/alive")
    def alive() -> str:
        return ""

    @app.get("/state")
    def state() -> dict[str, Any]:
        return session().state(_lang())

    @app.post("/new")
    def new() -> Any:
        return _after(lambda move: session().new(move.lock, _lang()) if move.lock in ("on", "off") else None)

    @app.post("/step")
    def step() -> Any:
        return _after(lambda move: session().step(move.buyer, _lang()) if move.buyer is not None else None)

    return app


def _after(act: Callable[[_Move], dict[str, Any] | None]) -> dict[str, Any] | Response:
    """The state after the move in the request's body, or a refusal."""
    # A page of another site can make a browser post, but not with this content type.
    if request.content_type != "application/json" or not 0 < (request.content_length or 0) <= _MOST_BYTES:
        return _refused(415, "a small JSON body is expected\n")
    try:
        move = msgspec.json.decode(request.get_data(), type=_Move)
    except NOT_JSON:
        return _refused(400, "the body is no JSON of a move\n")
    state = act(move)
    return _refused(422, "that is no move\n") if state is None else state


def _refused(status: int, why: str) -> Response:
    return Response(why, status, content_type="text/plain")
