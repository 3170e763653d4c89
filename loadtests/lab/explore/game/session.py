"""The live game of one person: each move is a decision of one execution on a real service.

The execution runs in a thread and waits for the person where an exploration would try the next schedule. Each person
has a service of their own: a purchase that somebody holds at a gate would keep everybody else waiting.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Mapping, Sequence

import msgspec

from loadtests.lab.explore.execution import ScheduleRunner
from loadtests.lab.explore.exploration import schedule_runner
from loadtests.lab.explore.game.levels import Level
from loadtests.lab.explore.game.moves import ScheduleEnd, Shown, WatchingChooser, result_of, shown
from loadtests.lab.explore.game.sentences import chinese_of
from loadtests.lab.explore.schedules import Chooser, Token
from loadtests.lab.explore.settling import Stuck
from loadtests.lab.protocol.admin_api import OfficeError

_SETTLE_S = 20.0
MOST_GAMES = 8


class _GivenUp(Exception):
    """The try was given up because another one begins, or the page ends."""


class Try:
    """One execution with a person as its chooser."""

    def __init__(self, runner: ScheduleRunner, breaks: str) -> None:
        self.moves: list[Token] = []
        self._runner = runner
        self._breaks = breaks
        self._watch = WatchingChooser(Chooser(prefer=self._choose), runner)
        self._decisions: queue.Queue[Token | None] = queue.Queue()
        self._changed = threading.Condition()
        self._asked = 0
        self._result: ScheduleEnd | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._execute, daemon=True)
        self._thread.start()
        self._wait()

    def act(self, token: Token) -> bool:
        """Make a move; False if it cannot be made. Returns when the next is due, or the try has ended.

        Errors: ``Stuck`` and ``OfficeError`` where the service does not go on.
        """
        with self._changed:
            if self._result is not None or token not in self._watch.views[-1].could:
                return False
            self.moves.append(token)
        self._decisions.put(token)
        self._wait()
        return True

    def give_up(self) -> None:
        self._decisions.put(None)
        self._thread.join(_SETTLE_S)

    def state(self) -> Shown:
        """What the page shows, in the form that it takes from a recording."""
        with self._changed:
            views, steps, result = self._watch.views, self._watch.steps, self._result
            ends = [*(view.made for view in views[1:]), len(steps)]
            moves = [
                {"token": token, "could": view.could, "steps": shown(steps[view.made : end])}
                for token, view, end in zip(self.moves, views, ends, strict=False)
            ]
        made = {
            "moves": moves,
            "result": msgspec.to_builtins(result),
            "chinese": chinese_of(shown(steps), [result] if result else []),
        }
        if result is not None:
            return made | {"documents": result.documents}
        return made | msgspec.structs.asdict(views[-1])

    def _wait(self) -> None:
        with self._changed:
            settled = self._changed.wait_for(self._is_settled, _SETTLE_S)
        if self._error is not None or not settled:
            raise self._error or Stuck(f"the service did not come to its next step within {_SETTLE_S:g} s")

    def _is_settled(self) -> bool:
        return self._asked > len(self.moves) or self._result is not None or self._error is not None

    def _choose(self, _enabled: Sequence[Token]) -> Token:
        with self._changed:
            self._asked += 1
            self._changed.notify_all()
        token = self._decisions.get()
        if token is None:
            raise _GivenUp
        return token

    def _execute(self) -> None:
        try:
            result = result_of(self._runner.execute(self._watch), self._runner, self._breaks)
        except (_GivenUp, Stuck, OfficeError) as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
            return
        with self._changed:
            self._result = result
            self._changed.notify_all()


class Session:
    """All tries of one person, on a service of their own; it is another one for each level."""

    def __init__(self, levels: Mapping[str, Level], worker: str) -> None:
        self._levels = levels
        self._worker = worker
        self._level = ""
        self._runner: ScheduleRunner | None = None
        self._running = contextlib.ExitStack()
        self._mutex = threading.Lock()
        self._try: Try | None = None

    def play(self, level: str, moves: Sequence[Token]) -> Shown:
        """The state of a level after these moves, or after as many of them as can be made.

        Where they do not go on from the moves before, they are made anew on a fresh event.
        Errors: ``KeyError`` for a level that there is not; ``NotReady`` where its service does not start.
        """
        with self._mutex:
            runner = self.start(level)
            now = self._try
            if now is None or list(moves[: len(now.moves)]) != now.moves:
                self._give_up()
                now = self._try = Try(runner, self._levels[level].breaks)
            for token in moves[len(now.moves) :]:
                if not now.act(token):
                    break
            return now.state()

    def start(self, level: str) -> ScheduleRunner:
        """Start the service of a level, if it does not run."""
        case = self._levels[level].case(self._worker)
        if self._runner is None or level != self._level:
            self._stop()
            self._runner = self._running.enter_context(schedule_runner(case))
            self._level = level
        return self._runner

    def end(self) -> None:
        """Give the try up, and stop the service."""
        with self._mutex:
            self._stop()

    def _stop(self) -> None:
        self._give_up()
        self._runner = None
        self._running.close()

    def _give_up(self) -> None:
        if self._try is not None:
            self._try.give_up()
        self._try = None


class Sessions:
    """The games of all browsers, by the cookie that tells them apart. Where there would be too many, the one ends that
    was not played for longest.

    Errors: ``NotReady`` where the service of the first level does not start.
    """

    def __init__(self, levels: Mapping[str, Level], worker: str) -> None:
        self._levels, self._worker = levels, worker
        self._spare: Session | None = Session(levels, worker)
        self._spare.start(next(iter(levels)))
        self._mutex = threading.Lock()
        self._games: dict[str, Session] = {}

    def of(self, player: str) -> Session:
        with self._mutex:
            game = self._games.pop(player, None)
            if game is None:
                game, self._spare = self._spare or Session(self._levels, self._worker), None
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
