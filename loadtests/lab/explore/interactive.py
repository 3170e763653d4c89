"""You are the scheduler: a page on which a person decides which buyer takes the next step of the real code.

The page asks this small server what can be done; each click is a decision of one performance, which runs in a
thread and waits for the person where an exploration would try the next schedule. Loopback only; one player at a time.
"""

from __future__ import annotations

import http.server
import json
import queue
import threading
from pathlib import Path
from typing import Any

import click
import msgspec

from loadtests.lab.explore import drawing
from loadtests.lab.explore.execution import ScheduleRunner, Stuck
from loadtests.lab.explore.exploration import Case, performer
from loadtests.lab.explore.schedules import Chooser, Token
from loadtests.lab.explore.trace import Step
from loadtests.lab.protocol.same_site import OF_EVERY_ANSWER, refusal
from loadtests.lab.untrusted import NOT_JSON

_PAGE = Path(__file__).with_name("game.html")
_SETTLE_S = 20.0


class _Move(msgspec.Struct):
    lock: str | None = None
    buyer: str | None = None


class GameOver(Exception):
    """The try was given up: somebody began another one."""


class Try:
    """One performance whose chooser is a person. ``act`` decides; ``state`` is what the page shows."""

    def __init__(self, stage: ScheduleRunner, guard: str, number: int) -> None:
        self.guard = guard
        self.number = number
        self._decisions: queue.Queue[Token | None] = queue.Queue()
        self._changed = threading.Condition()
        self._enabled: list[Token] = []
        self._steps: list[Step] = []
        self._result: dict[str, Any] | None = None
        self._stage = stage
        self._asked = 0
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def act(self, token: Token) -> bool:
        """Let a buyer go on; whether he could. Returns when the next decision is due, or the try has ended."""
        with self._changed:
            if token not in self._enabled:
                return False
            asked = self._asked
            self._enabled = []
            self._decisions.put(token)
            self._changed.wait_for(lambda: self._asked > asked or self._result is not None, _SETTLE_S)
        return True

    def wait_until_asked(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._enabled or self._result is not None, _SETTLE_S)

    def give_up(self) -> None:
        self._decisions.put(None)
        self._thread.join(_SETTLE_S)

    @property
    def result(self) -> dict[str, Any] | None:
        return self._result

    def state(self) -> dict[str, Any]:
        with self._changed:
            return {
                "try": self.number,
                "guard": self.guard,
                "enabled": list(self._enabled),
                "steps": msgspec.to_builtins(self._steps),
                "result": self._result,
            }

    def _choose(self, enabled: list[Token], steps: list[Step]) -> Token:
        with self._changed:
            self._enabled, self._steps = list(enabled), list(steps)
            self._asked += 1
            self._changed.notify_all()
        token = self._decisions.get()
        if token is None:
            raise GameOver
        return token

    def _play(self) -> None:
        steps: list[Step] = []
        self._stage.on_decision = lambda now: steps.__setitem__(slice(None), now)
        chooser = _Person(self, steps)
        result: dict[str, Any]
        try:
            played = self._stage.play(chooser)
        except GameOver:
            result = {"given_up": True}
        except Stuck as error:
            result = {"twice": False, "why": str(error)}
        else:
            sold = [line.key for line in played.operations if line.outcome == "ok"]
            result = {
                "twice": len(sold) > self._stage.tickets,
                "sold_to": sold,
                "why": played.verdict.why if played.verdict else played.stuck,
                "svg": drawing.svg(played.steps, self._stage.buyers, f"Your try, guard {self.guard}"),
            }
            steps = played.steps
        with self._changed:
            self._steps, self._result, self._enabled = list(steps), result, []
            self._changed.notify_all()


class _Person(Chooser):
    """A chooser that asks a person."""

    def __init__(self, attempt: Try, steps: list[Step]) -> None:
        super().__init__()
        self._attempt = attempt
        self._seen = steps

    def choose(self, enabled: Any) -> Token:
        self._prefer = lambda able: self._attempt._choose(list(able), self._seen)
        return super().choose(enabled)


class Game:
    """All tries of one player, on one running service whose lock the page switches."""

    def __init__(self, stage: ScheduleRunner, case: Case) -> None:
        self._stage = stage
        self._mutex = threading.Lock()
        self._guard = case.guard
        self.tries = {"off": 0, "on": 0}
        self.wins = 0
        self._try: Try | None = None

    def new(self, lock: str) -> dict[str, Any]:
        """Begin a try with the lock ``on`` or ``off``."""
        with self._mutex:
            if self._try is not None:
                self._try.give_up()
            state = self._stage.office.office.switch(lock)
            self.tries[lock] += 1
            self._try = Try(self._stage, state.guard, sum(self.tries.values()))
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
        return {**now, "tries": self.tries, "wins": self.wins, "tickets": self._stage.tickets}


def serve_game(case: Case, port: int) -> int:
    """Serve the page on loopback until Ctrl-C."""
    with performer(case) as stage:
        game = Game(stage, case)
        with _server(game, port) as server:
            click.echo(f"You are the scheduler: http://127.0.0.1:{server.server_address[1]}  (Ctrl-C ends it)")
            try:
                server.serve_forever(poll_interval=0.2)
            except KeyboardInterrupt:
                click.echo("ended; nothing is left running")
            finally:
                game.end()
    return 0


def _server(game: Game, port: int) -> http.server.ThreadingHTTPServer:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _SETTLE_S

        def do_GET(self) -> None:
            if self._refuses():
                return
            if self.path == "/":
                self._answer(200, _PAGE.read_bytes(), "text/html; charset=utf-8")
            elif self.path == "/state":
                self._say(game.state())
            else:
                self._answer(404, b"there is nothing here\n", "text/plain")

        def do_POST(self) -> None:
            if self._refuses():
                return
            # A page of another site can make a browser post, but not with this content type.
            said = self.headers.get("Content-Length") or ""
            length = int(said) if said.isdecimal() and len(said) < 4 else 0
            if self.headers.get("Content-Type") != "application/json" or not length:
                self._answer(415, b"a small JSON body is expected\n", "text/plain")
                return
            try:
                move = msgspec.json.decode(self.rfile.read(length), type=_Move)
            except NOT_JSON:
                self._answer(400, b"the body is no JSON of a move\n", "text/plain")
                return
            if self.path == "/new" and move.lock in ("on", "off"):
                self._say(game.new(move.lock))
            elif self.path == "/step" and move.buyer is not None:
                self._say(game.step(move.buyer))
            else:
                self._answer(422, b"that is no move\n", "text/plain")

        def _refuses(self) -> bool:
            host, site, origin = map(self.headers.get, ("Host", "Sec-Fetch-Site", "Origin"))
            refused = refusal(self.command, host, site, origin)
            if refused is not None:
                self.close_connection = True  # a body that was sent along is not read
                self._answer(refused[0], refused[1].encode(), "text/plain")
            return refused is not None

        def _say(self, content: dict[str, Any]) -> None:
            self._answer(200, json.dumps(content).encode(), "application/json")

        def _answer(self, status: int, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            for name, value in OF_EVERY_ANSWER.items():
                self.send_header(name, value)
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing: the page is the output."""

    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise click.ClickException(
            f"port {port} cannot be used ({error.strerror}); name another with --port, or --port 0 for any free one"
        ) from None
