"""A page on which a person is the scheduler: each click decides which buyer takes the next step in the real service.

A click is a decision of one execution. The execution runs in a thread and waits for the person where an exploration
would try the next schedule. The page is served on loopback only, to one person at a time.
"""

from __future__ import annotations

import queue
import socket
import threading
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

    def state(self) -> dict[str, Any]:
        """The state that the page shows."""
        with self._changed:
            return {
                "try": self.number,
                "guard": self.guard,
                "enabled": list(self._enabled),
                "steps": msgspec.to_builtins(self._steps),
                "result": self.result,
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
                "svg": draw(executed.steps, self._runner.buyers, f"Your try, guard {self.guard}"),
            }
            self._note_steps(executed.steps)
        with self._changed:
            self.result, self._enabled = result, []
            self._changed.notify_all()


class Session:
    """All tries of one person, on one running service with a lock that the page switches."""

    def __init__(self, runner: ScheduleRunner) -> None:
        self._runner = runner
        self._mutex = threading.Lock()
        self.tries = {"off": 0, "on": 0}
        self.wins = 0
        self._try: Try | None = None

    def new(self, lock: str) -> dict[str, Any]:
        """Begin a try with the lock ``on`` or ``off``."""
        with self._mutex:
            self.end()
            state = self._runner.office.office.switch(lock)
            self.tries[lock] += 1
            self._try = Try(self._runner, state.guard, sum(self.tries.values()))
            self._try.wait_until_asked()
            return self._state()

    def step(self, buyer: str) -> dict[str, Any]:
        with self._mutex:
            if self._try is not None and self._try.act(buyer) and (self._try.result or {}).get("twice"):
                self.wins += 1
            return self._state()

    def state(self) -> dict[str, Any]:
        with self._mutex:
            return self._state()

    def end(self) -> None:
        if self._try is not None:
            self._try.give_up()

    def _state(self) -> dict[str, Any]:
        now = self._try.state() if self._try is not None else {}
        return {**now, "tries": self.tries, "wins": self.wins, "tickets": self._runner.tickets}


def serve_page(case: Scenario, port: int) -> int:
    """Serve the page on loopback until Ctrl-C."""
    with schedule_runner(case) as runner:
        session = Session(runner)
        with _server(session, port) as server:
            click.echo(f"You are the scheduler: http://127.0.0.1:{server.server_address[1]}  (Ctrl-C ends it)")
            try:
                server.serve_forever(poll_interval=0.2)  # Ctrl-C ends it without an exception
                click.echo("ended; nothing is left running")
            finally:
                session.end()
    return 0


class _Silent(WSGIRequestHandler):
    """A handler without a log, since the page is the output."""

    timeout = _SETTLE_S

    def log(self, type: str, message: str, *arguments: Any) -> None:
        pass


def _server(session: Session, port: int) -> BaseWSGIServer:
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise click.ClickException(
            f"port {port} cannot be used ({error.strerror}); name another with --port, or --port 0 for any free one"
        ) from None
    with listening:
        number, app = listening.fileno(), _application(session)
        return make_server("127.0.0.1", port, app, threaded=True, request_handler=_Silent, fd=number)


def _application(session: Session) -> Flask:
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
    def page() -> str:
        return template("scheduler.html", HERE).render()

    @app.get("/state")
    def state() -> dict[str, Any]:
        return session.state()

    @app.post("/new")
    def new() -> Any:
        return _after(lambda move: session.new(move.lock) if move.lock in ("on", "off") else None)

    @app.post("/step")
    def step() -> Any:
        return _after(lambda move: session.step(move.buyer) if move.buyer is not None else None)

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
